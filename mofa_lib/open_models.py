"""Readers of the face models learnt from scans that one may pass on: FLAME 2023 Open and GNM Head.

Each gives the tensors of a `MorphableModel`, in millimetres, with 0-based triangles. Neither knows
colours; `model_files` lends them those of our default model. In both files lengths are metres, x
runs to the viewer's right, y up and z toward the viewer, and components are already multiplied by
their standard deviations.

FLAME's older files have the same arrays and a licence to sign. It comes as a pickle,
`flame2023_Open.pkl`, which is read as it is, by `flame_pickle`, and nothing of it is run; an .npz
file with the arrays `v_template`, `shapedirs` and `f` does as well.
"""

from pathlib import Path

import numpy as np
from scipy.spatial import KDTree

from mofa_lib.flame_pickle import read_pickle
from mofa_lib.model_arrays import EXPRESSION, SHAPE, Arrays, cropped, reading

# Columns of FLAME's `shapedirs` before the expressions begin, by how many there are; else 300.
FLAME_IDENTITY = {150: 100}
GNM_LANDMARKS = "head_sparse_68.txt"
# GNM's face with its eyes, without what is inside the mouth and before the irises.
GNM_KEPT = ("hockey_mask", "eyes", "eye_sockets")
GNM_CUT = ("mouth_sock", "teeth", "gums", "tongue", "eye_exteriors")
GNM_EXPRESSIONS = ("left_eye_region_", "right_eye_region_", "lower_face_region_")


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """GNM Head or FLAME in its neutral pose from an .npz file.

    Raises:
        ValueError: the file is damaged, or holds something else.
    """
    with reading(path):
        file = np.load(path, allow_pickle=False)
    with file:
        arrays = Arrays(path, file)
        is_gnm = "vertex_identity_basis" in arrays or "template_vertex_positions" in arrays
        return _gnm(arrays) if is_gnm else _flame(arrays)


def read_flame_pickle(path: Path) -> dict[str, np.ndarray]:
    """FLAME in its neutral pose from the pickle that its makers give out.

    Raises:
        ValueError: the file is damaged, or holds something else.
    """
    return _flame(Arrays(path, read_pickle(path)))


def _flame(arrays: Arrays) -> dict[str, np.ndarray]:
    """v_template + shapedirs · coefficients."""
    mean = arrays.numbers("v_template", None, 3)
    vertices = len(mean)
    directions = arrays.numbers("shapedirs", vertices, 3, None)  # (V, 3, any)
    first = FLAME_IDENTITY.get(directions.shape[2], 300)
    identity, expression = directions[..., :first], directions[..., first:]
    return {
        "mean_shape": mean * 1000,
        "shape_basis": identity[..., :SHAPE] * 1000,
        "expression_basis": expression[..., :EXPRESSION] * 1000,
        "faces": arrays.triangles("f", vertices, first=0),
    }


def _gnm(arrays: Arrays) -> dict[str, np.ndarray]:
    """The face of GNM Head with its joints at rest, where the model is linear."""
    version, variant = arrays.texts("version")[0], arrays.texts("variant")[0]
    if variant != "head" or version.split(".")[0] != "3":
        raise ValueError(
            f"{arrays.path} is GNM {variant} {version}, but what is read is GNM head 3."
        )
    template = arrays.numbers("template_vertex_positions", None, 3)
    vertices = len(template)
    kept = _gnm_face(arrays, vertices)
    bases = {}
    for key, names, beginnings, most in (
        ("vertex_identity_basis", "identity_names", ("head_",), SHAPE),
        ("expression_basis", "expression_names", GNM_EXPRESSIONS, EXPRESSION),
    ):
        components = _gnm_components(arrays, key, names, beginnings, vertices)[:, kept]
        bases[key] = _largest(components, most) * 1000
    tensors = {
        "mean_shape": template[kept] * 1000,
        "shape_basis": bases["vertex_identity_basis"],
        "expression_basis": bases["expression_basis"],
        "faces": cropped(arrays.triangles("triangles", vertices, first=0), kept, vertices),
    }
    points = arrays.path.with_name(GNM_LANDMARKS)
    if points.is_file():
        marks = _gnm_landmarks(points, template)
        tensors["landmarks"] = KDTree(template[kept]).query(template[marks])[1]
    return tensors


def _gnm_face(arrays: Arrays, vertices: int) -> np.ndarray:
    """The vertices of GNM's face that are kept."""
    names = arrays.texts("vertex_group_names")
    groups = dict(zip(names, arrays.numbers("vertex_groups", len(names), vertices), strict=True))
    missing = [name for name in GNM_KEPT if name not in groups]
    if missing:
        raise ValueError(f"{arrays.path} has no vertex group {missing[0]}, so it is no GNM head.")
    wanted = np.any([groups[name] > 0.5 for name in GNM_KEPT], axis=0)
    for name in GNM_CUT:
        if name in groups:
            wanted &= groups[name] <= 0.5
    if not wanted.any():
        raise ValueError(f"In {arrays.path}, the vertex groups hold no vertex of the face.")
    return np.flatnonzero(wanted)


def _gnm_components(
    arrays: Arrays, key: str, names: str, beginnings: tuple[str, ...], vertices: int
) -> np.ndarray:
    """The components whose names begin so, (K, V, 3)."""
    found = arrays.texts(names)
    chosen = [number for number, name in enumerate(found) if name.startswith(beginnings)]
    if not chosen:
        raise ValueError(f"In {arrays.path}, no name in {names} begins with {beginnings[0]}.")
    return arrays.numbers(key, len(found), vertices, 3)[chosen]


def _largest(components: np.ndarray, most: int) -> np.ndarray:
    """(V, 3, most) from (K, V, 3), what moves most first: GNM counts by region, not by size."""
    order = np.argsort(-np.linalg.norm(components, axis=(1, 2)), kind="stable")[:most]
    return np.ascontiguousarray(components[order].transpose(1, 2, 0))


def _gnm_landmarks(path: Path, template: np.ndarray) -> np.ndarray:
    """The 68 vertices from rows of three vertices with weights, each by its largest weight."""
    with reading(path):
        rows = np.loadtxt(path, ndmin=2)  # (68, 6): i0 w0 i1 w1 i2 w2
    if rows.shape != (68, 6):
        raise ValueError(f"{path} has shape {rows.shape} instead of (68, 6): i0 w0 i1 w1 i2 w2.")
    marks = rows[np.arange(68), 2 * rows[:, 1::2].argmax(1)]  # (68,)
    if (marks != marks.round()).any() or marks.min() < 0 or marks.max() >= len(template):
        raise ValueError(f"{path} names vertices outside 0 … {len(template) - 1}.")
    marks = marks.astype(np.int64)

    # Along the jaw, x rises. An early revision has five of its points the other way round.
    if template[marks[2], 0] > template[marks[6], 0]:
        marks[2:7] = marks[6:1:-1].copy()
    return marks

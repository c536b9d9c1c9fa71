"""Reading face models from files. Used in chapter 3.

What a file is, is read off its content, whatever its name.

| file | format | read by |
|---|---|---|
| our own, also "face" | safetensors | this module |
| ICT-FaceKit Light, its folder `FaceXModel` or the neutral mesh in it | OBJ | `ict_facekit` |
| GNM Head, `gnm_head.npz`, and `head_sparse_68.txt` if it lies beside | npz | `open_models` |
| FLAME, `flame2023_Open.pkl` and its predecessors | pickle | `open_models` |
| FLAME's arrays `v_template`, `shapedirs` and `f` | npz | `open_models` |
| Basel 2009, `01_MorphableModel.mat` | MAT version 5 | `licensed_models` |
| its crop `BFM_model_front.mat` | MAT version 5 | `licensed_models` |
| Basel 2017 and 2019, full, bfm and face12, `.h5` | HDF5 | `licensed_models` |

Basel 2009 has no expressions, and those of Guo's `Exp_Pca.bin` count other vertices (53215, not
53490): such a model has zero expression parameters. ICT-FaceKit, GNM and FLAME have no colours:
they borrow the skin of the default model (`borrowed_skin`).
"""

import pickletools
import re
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from mofa_lib.artifacts import SHIPPED, digest, load_tensors
from mofa_lib.borrowed_skin import borrowed_skin
from mofa_lib.ict_facekit import NEUTRAL, read_ict
from mofa_lib.inputs import standard_torch, takes_arrays
from mofa_lib.licensed_models import read_basel_h5, read_mat
from mofa_lib.mesh import vertex_normals
from mofa_lib.morphable import MorphableModel, check
from mofa_lib.open_models import read_flame_pickle, read_npz
from mofa_lib.procrustes import best_scale, rigid_alignment
from mofa_lib.subdivision import subdivided

DEFAULT_MODEL = SHIPPED / "models" / "face.safetensors"
OFF_CENTRE = 1.0  # mm between centroid and origin that are left as they are
HDF5 = b"\x89HDF\r\n\x1a\n"
_MAT5 = (b"\x00\x01IM", b"\x01\x00MI")  # bytes 124 to 127: version and order of the bytes
_MESH = re.compile(rb"(^|\n)v [-\d]")  # a vertex of an OBJ file
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # an .npz is one


@standard_torch()
def load_morphable_model(source: str | Path = "face") -> MorphableModel:
    """A face model by name or from a file.

    Every file is brought into the conventions of the book: the centroid of the mean face at the
    origin, triangles counter-clockwise seen from outside; files of others also to millimetres.
    `BFM_model_front.mat`, ICT-FaceKit and GNM name the 68 landmarks; in the others they are
    estimated from the default model's (`place_landmarks`).

    Args:
        source: "face", the open model that comes with the library; "face-fine", the same with four
            times the triangles; or the path of a file or folder in the module's table.
    Raises:
        FileNotFoundError: there is no such name, file or folder.
        ValueError: the file is damaged, or holds something else. A pickle is read only if it asks
            for nothing but arrays, as FLAME's do (`flame_pickle`).
        ModuleNotFoundError: it is an HDF5 file, and h5py is not installed.
    Examples:
        >>> from mofa_lib import load_morphable_model
        >>> model = load_morphable_model()
        >>> model.name, len(model.mean_shape), model.sizes
        ('face', 3794, (80, 64, 80))
    """
    if str(source) == "face-fine":
        return subdivided(load_morphable_model("face"))
    path = DEFAULT_MODEL if str(source) == "face" else Path(source)
    if not path.is_file() and not (path / NEUTRAL).is_file():
        raise FileNotFoundError(
            f'There is no face model {source}: give "face", "face-fine" or a model file.'
        )

    start = _start(path)
    if start[8:9] == b"{":  # safetensors: eight bytes of length, then JSON
        tensors, name = _our_own(path)
        return MorphableModel(_in_our_axes(path, tensors), name)

    arrays = _reader(path, start)(path)
    if not arrays["expression_basis"].shape[2]:
        warnings.warn(
            f"{path} has no expressions, so the model has zero expression parameters.",
            stacklevel=3,  # the line that calls; `standard_torch` stands between
        )
    tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
    model = MorphableModel(_in_our_axes(path, tensors), path.stem)
    if "mean_appearance" not in tensors:
        # What is computed differs in its last bits between processors; what files say does not.
        said = {"source": tensors["source"]} if "source" in tensors else tensors
        model.digest = digest({**said, "skin": load_morphable_model().appearance_basis})
    return model


def _start(path: Path) -> bytes:
    """The first bytes of a file, or of the neutral mesh in a folder."""
    with (path / NEUTRAL if path.is_dir() else path).open("rb") as file:
        return file.read(1 << 16)


def _our_own(path: Path) -> tuple[dict[str, Tensor], str]:
    """A file of our own, whose numbers may be stored in half the bits, and the model's name."""
    tensors, metadata = load_tensors(path)
    widened = {}
    for key, value in tensors.items():
        widened[key] = value.float() if value.is_floating_point() else value.long()
    name = metadata.get("name", path.stem)
    check(widened, name)
    return widened, name


def _reader(path: Path, start: bytes) -> Callable[[Path], dict[str, np.ndarray]]:
    """The function that reads a file of others, by its first bytes."""
    if not start:
        raise ValueError(f"{path} is empty.")
    if start.startswith(b"MATLAB 7.3"):
        raise ValueError(
            f"{path} is a MAT file of version 7.3: save it again in MATLAB with the option -v7."
        )
    if start[124:128] in _MAT5:
        return read_mat
    if start.startswith(HDF5):
        return read_basel_h5
    if start.startswith(_ZIP):
        return read_npz
    if _MESH.search(start):
        return read_ict
    if _is_pickle(start):
        return read_flame_pickle
    raise ValueError(
        f"{path} is no face model: "
        "it is neither safetensors nor HDF5, MAT version 5, npz, OBJ or FLAME's pickle."
    )


def _is_pickle(start: bytes) -> bool:
    """Whether a file starts as a pickle of any protocol; its operations are listed, never run."""
    try:
        for _ in islice(pickletools.genops(start), 20):
            pass
    except ValueError:
        return start.startswith(b"\x80")  # protocol 2 or later, with a first value longer than that
    return True


def _in_our_axes(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Units checked, centroid to the origin, triangles outward; landmarks and skin, if missing."""
    mean, triangles = tensors["mean_shape"], tensors["faces"]
    height = float(mean[:, 1].max() - mean[:, 1].min())
    if not 100 < height < 500:
        raise ValueError(
            f"The mean face of {path} would be {height:.3g} mm high: its unit must be another."
        )
    centroid = mean.double().mean(0)
    if centroid.norm() > OFF_CENTRE:
        mean = (mean - centroid).float()

    # Six times the volume between the surface and the centroid; negative if triangles look inward.
    if torch.linalg.det(mean.double()[triangles]).sum() < 0:
        triangles = triangles.flip(1)

    turned = {**tensors, "mean_shape": mean, "faces": triangles.contiguous()}
    if "landmarks" not in turned:
        turned["landmarks"] = place_landmarks(mean, turned["faces"])
    if "mean_appearance" not in turned:
        ours = load_morphable_model()
        turned |= borrowed_skin(ours, mean, turned["faces"], turned["landmarks"])
    colours = turned["mean_appearance"]
    if not -0.05 < colours.min() <= colours.max() < 1.05:
        raise ValueError(
            f"The colours of {path} would go from {colours.min():.3g} to {colours.max():.3g}, "
            "but they must lie in [0, 1]."
        )
    return turned


@standard_torch()
@takes_arrays
def place_landmarks(
    mean_shape: Float[Tensor, "V 3"], triangles: Int[Tensor, "F 3"]
) -> Int[Tensor, "68"]:
    """An estimate of the 68 iBUG points of another model's mean face.

    They are the vertices that lie where ours has them. Brows, eyes, nose and mouth of our mean face
    are laid on the other, tip of the nose on tip of the nose, then moved, turned and scaled to the
    nearest vertices again and again. How the two faces still differ is the error: some millimetres
    at eyes, nose and mouth, more along the brows and the jaw.

    Args:
        mean_shape: mm, y up, z toward the viewer; with or without ears, neck and the back of the
            head.
        triangles: counter-clockwise seen from outside.
    Source: Besl and McKay 1992, iterated closest points.
    """
    ours = load_morphable_model()
    mean_shape = mean_shape.float()
    marks = ours.mean_shape[ours.landmarks]  # (68, 3)
    our_normals = vertex_normals(ours.mean_shape[None], ours.faces)[0]

    # Our vertices at most 20 mm from a landmark other than the jaw's 17, where they look forward.
    inner = torch.cdist(ours.mean_shape, marks[17:]).amin(1) < 20
    points = ours.mean_shape[inner & (our_normals[:, 2] > 0.2)]  # (N, 3)

    # The tip of the nose is the foremost vertex.
    scale, rotation = 1.0, torch.eye(3)
    shift = mean_shape[mean_shape[:, 2].argmax()] - ours.mean_shape[ours.mean_shape[:, 2].argmax()]
    tree = KDTree(mean_shape.numpy())
    for _ in range(60):
        placed = scale * points @ rotation.T + shift  # (N, 3)
        nearest = mean_shape[tree.query(placed.numpy())[1]]  # (N, 3)
        rotation, _ = rigid_alignment(points, nearest)
        turned = (points - points.mean(0)) @ rotation.T
        goal = nearest - nearest.mean(0)
        scale = float(best_scale(turned, goal))
        shift = nearest.mean(0) - scale * points.mean(0) @ rotation.T

    away = torch.cdist(scale * marks @ rotation.T + shift, mean_shape)  # (68, V), mm
    their_normals = vertex_normals(mean_shape[None], triangles)[0]  # (V, 3)
    facing = our_normals[ours.landmarks] @ rotation.T @ their_normals.T  # (68, V): −1 … 1
    return (away - 10 * facing).argmin(1)  # a vertex that faces away counts as 20 mm farther

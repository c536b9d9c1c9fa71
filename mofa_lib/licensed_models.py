"""Readers of the face models that others publish under licences of their own: Basel and FLAME.

Each gives the tensors of a `MorphableModel` by the file's own formula, in millimetres and colours
in [0, 1], with 0-based triangles. `model_files` finds out which reader is due, and does the rest.
In all of these files x runs to the viewer's right, y up and z toward the viewer, as in the book.

FLAME comes as a pickle, `generic_model.pkl` or `flame2023.pkl`. It is read as it is, by
`flame_pickle`, which runs nothing of it; an .npz file with the arrays `v_template`, `shapedirs` and
`f` does as well.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import scipy.io

from mofa_lib.flame_pickle import read_pickle

# The columns that are kept: the paper's 80, 64 and 80.
SHAPE, EXPRESSION, APPEARANCE = 80, 64, 80
FLAME_IDENTITY = 300  # columns of FLAME's `shapedirs` before the expressions begin
FLAME_ALBEDO = (0.6, 0.5, 0.45)  # FLAME has no colours: a greyish skin

BASEL_2009 = ("shapeMU", "shapePC", "shapeEV", "texMU", "texPC", "texEV", "tl")
BASEL_FRONT = ("meanshape", "meantex", "idBase", "exBase", "texBase", "tri", "keypoints")


def read_mat(path: Path) -> dict[str, np.ndarray]:
    """Basel 2009, or its crop for deep face reconstruction, from a MAT file of version 5.

    Raises:
        ValueError: the file is damaged, or holds something else.
    """
    names = (*BASEL_2009, *BASEL_FRONT)
    with _reading(path):
        content = scipy.io.loadmat(str(path), appendmat=False, variable_names=names)
    if "shapeMU" in content:
        return _basel_2009(_Arrays(path, content))
    if "meanshape" in content:
        return _basel_front(_Arrays(path, content))
    raise ValueError(
        f"{path} is a MAT file, but no face model: it holds neither shapeMU nor meanshape."
    )


def _basel_2009(arrays: "_Arrays") -> dict[str, np.ndarray]:
    """MU + PC · (EV ∘ coefficients) in micrometres, colours to 255.

    EV are *standard deviations*. There are no expressions.
    """
    mean = arrays.points("shapeMU")
    vertices = len(mean)
    shape_deviations = arrays.spread("shapeEV")
    shape_basis = arrays.basis("shapePC", vertices, SHAPE, 1 / 1000, shape_deviations)
    mean_appearance = arrays.points("texMU", vertices) / 255
    colour_deviations = arrays.spread("texEV")
    appearance_basis = arrays.basis("texPC", vertices, APPEARANCE, 1 / 255, colour_deviations)
    return {
        "mean_shape": mean / 1000,
        "shape_basis": shape_basis,
        "expression_basis": _no_columns(vertices),
        "mean_appearance": mean_appearance,
        "appearance_basis": appearance_basis,
        "faces": arrays.triangles("tl", vertices, first=1),
    }


def _basel_front(arrays: "_Arrays") -> dict[str, np.ndarray]:
    """Mean + Base · coefficients in decimetres, colours to 255.

    The only file that names the 68 landmarks.
    """
    mean = arrays.points("meanshape")
    vertices = len(mean)
    return {
        "mean_shape": mean * 100,
        "shape_basis": arrays.basis("idBase", vertices, SHAPE, 100),
        "expression_basis": arrays.basis("exBase", vertices, EXPRESSION, 100),
        "mean_appearance": arrays.points("meantex", vertices) / 255,
        "appearance_basis": arrays.basis("texBase", vertices, APPEARANCE, 1 / 255),
        "faces": arrays.triangles("tri", vertices, first=1),
        "landmarks": arrays.vertex_numbers("keypoints", vertices, first=1).reshape(-1),
    }


def read_basel_h5(path: Path) -> dict[str, np.ndarray]:
    """Basel 2017 or 2019, of any size, from an HDF5 file as statismo writes it.

    Shape and expression add up, in millimetres; each is mean + pcaBasis · (√pcaVariance ∘
    coefficients).

    Raises:
        ModuleNotFoundError: h5py is not installed.
        ValueError: the file is damaged, or holds something else.
    """
    try:
        import h5py
    except ImportError:
        raise ModuleNotFoundError(
            f"{path} is an HDF5 file, which h5py reads: pip install h5py"
        ) from None

    with _reading(path):
        file = h5py.File(path, "r")
    with file:
        arrays = _Arrays(path, file)
        mean = arrays.points("shape/model/mean")
        vertices = len(mean)

        def basis(group: str, most: int) -> np.ndarray:
            deviations = np.sqrt(arrays.spread(f"{group}/model/pcaVariance"))
            return arrays.basis(f"{group}/model/pcaBasis", vertices, most, 1, deviations)

        expression_basis = _no_columns(vertices)  # Basel 2009 in this layout
        if "expression" in arrays:
            mean = mean + arrays.points("expression/model/mean", vertices)
            expression_basis = basis("expression", EXPRESSION)

        cells = "shape/representer/cells" if "shape/representer" in arrays else "representer/cells"
        return {
            "mean_shape": mean,
            "shape_basis": basis("shape", SHAPE),
            "expression_basis": expression_basis,
            "mean_appearance": arrays.points("color/model/mean", vertices),
            "appearance_basis": basis("color", APPEARANCE),
            "faces": arrays.triangles(cells, vertices, first=0),
        }


def read_flame(path: Path) -> dict[str, np.ndarray]:
    """FLAME in its neutral pose from an .npz file.

    Raises:
        ValueError: the file is damaged, or holds something else.
    """
    with _reading(path):
        file = np.load(path, allow_pickle=False)
    with file:
        return _flame(_Arrays(path, file))


def read_flame_pickle(path: Path) -> dict[str, np.ndarray]:
    """FLAME in its neutral pose from the pickle that its makers give out.

    Raises:
        ValueError: the file is damaged, or holds something else.
    """
    return _flame(_Arrays(path, read_pickle(path)))


def _flame(arrays: "_Arrays") -> dict[str, np.ndarray]:
    """v_template + shapedirs · coefficients, in metres.

    FLAME has no colours: the appearance is one constant, with no parameters.
    """
    mean = arrays.numbers("v_template", None, 3)
    vertices = len(mean)
    directions = arrays.numbers("shapedirs", vertices, 3, None)  # (V, 3, any)
    identity, expression = directions[..., :FLAME_IDENTITY], directions[..., FLAME_IDENTITY:]
    return {
        "mean_shape": mean * 1000,
        "shape_basis": identity[..., :SHAPE] * 1000,
        "expression_basis": expression[..., :EXPRESSION] * 1000,
        "mean_appearance": np.full((vertices, 3), FLAME_ALBEDO, np.float32),
        "appearance_basis": _no_columns(vertices),
        "faces": arrays.triangles("f", vertices, first=0),
    }


def _no_columns(vertices: int) -> np.ndarray:
    return np.zeros((vertices, 3, 0), np.float32)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """One sentence for a damaged file.

    What scipy, h5py, numpy or zlib raise depends on where the damage is.
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is damaged, or holds something else ({reason}).") from None


class _Arrays:
    """The arrays of one file, each checked as it is read.

    Each must be there, numeric, finite, and of the right shape.
    """

    def __init__(self, path: Path, content: Mapping):
        self.path, self.content = path, content

    def __contains__(self, key: str) -> bool:
        with _reading(self.path):
            return key in self.content

    def numbers(self, key: str, *shape: int | None, most: int | None = None) -> np.ndarray:
        """An array as float32, of which the first `most` columns are read.

        In `shape`, None fits any size but 0.
        """
        value = self._find(key)
        if not _fits(value.shape, shape):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise ValueError(
                f"In {self.path}, {key} has shape {tuple(value.shape)} instead of ({wanted})."
            )
        return self._read(key, value, (..., slice(most)))

    def row(self, key: str) -> np.ndarray:
        """A vector, which MATLAB stores as one row or one column."""
        value = self._find(key)
        if not value.size or value.size != max(value.shape, default=0):
            raise ValueError(
                f"In {self.path}, {key} has shape {tuple(value.shape)}, but should be one vector."
            )
        return self._read(key, value, ...).reshape(-1)

    def points(self, key: str, vertices: int | None = None) -> np.ndarray:
        """(V, 3) from a vector x1, y1, z1, x2, …"""
        row = self.row(key)
        wanted = 3 * (vertices or len(row) // 3)
        if len(row) != wanted:
            raise ValueError(
                f"In {self.path}, {key} has {len(row)} values instead of {wanted}, "
                "three for each vertex."
            )
        return row.reshape(-1, 3)

    def spread(self, key: str) -> np.ndarray:
        """Standard deviations or variances: a vector that cannot be negative."""
        row = self.row(key)
        if row.min() < 0:
            raise ValueError(
                f"In {self.path}, {key} has a negative value, which no spread of data can have."
            )
        return row

    def basis(
        self, key: str, vertices: int, most: int, unit: float, deviations: np.ndarray | None = None
    ) -> np.ndarray:
        """(V, 3, K) from the first `most` columns of (3V, any).

        Each column comes times the unit and, if given, its deviation.
        """
        columns = None if deviations is None else len(deviations)
        basis = self.numbers(key, 3 * vertices, columns, most=most)  # (3V, K)
        basis *= unit if deviations is None else unit * deviations[:most]
        return basis.reshape(vertices, 3, -1)

    def vertex_numbers(self, key: str, vertices: int, first: int) -> np.ndarray:
        """0-based vertices from whole numbers that start to count at `first`.

        They may be stored as floats.
        """
        numbers = self._read(key, self._find(key), ...)
        if not numbers.size or (numbers != numbers.round()).any():
            raise ValueError(
                f"In {self.path}, {key} should hold whole numbers, but has fractions or nothing."
            )
        if numbers.min() < first or numbers.max() >= first + vertices:
            raise ValueError(
                f"In {self.path}, {key} names vertices outside {first} … {first + vertices - 1}."
            )
        return numbers.astype(np.int64) - first

    def triangles(self, key: str, vertices: int, first: int) -> np.ndarray:
        """(F, 3) from (F, 3) or (3, F)."""
        cells = self.vertex_numbers(key, vertices, first)
        if cells.ndim != 2 or 3 not in cells.shape:
            raise ValueError(
                f"In {self.path}, {key} has shape {cells.shape} instead of (any, 3) or (3, any)."
            )
        return cells if cells.shape[1] == 3 else cells.T

    def _find(self, key: str):
        """The array of a name, of which an HDF5 file has read nothing yet; `_read` does."""
        if key not in self:
            raise ValueError(
                f"{self.path} lacks {key}, so it is no face model, or only a part of one."
            )
        with _reading(self.path):
            value = self.content[key]
            numeric = getattr(value, "shape", None) is not None and value.dtype.kind in "fiu"
        if not numeric:
            raise ValueError(f"In {self.path}, {key} should be an array of numbers.")
        return value

    def _read(self, key: str, value, selection) -> np.ndarray:
        """A selection of an array as float32; a number too large for that is not finite."""
        with _reading(self.path), np.errstate(over="ignore"):
            numbers = np.ascontiguousarray(value[selection], np.float32)
        if not np.isfinite(numbers).all():
            raise ValueError(f"In {self.path}, {key} has values that are not finite.")
        return numbers


def _fits(sizes: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Whether an array has the shape wanted, in which None stands for any size but 0."""
    if len(sizes) != len(wanted):
        return False
    return all(size and want in (None, size) for size, want in zip(sizes, wanted, strict=True))

"""The arrays of a face model's file, each checked as it is read. Used by the readers of models."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

# The columns that are kept: the paper's 80, 64 and 80.
SHAPE, EXPRESSION, APPEARANCE = 80, 64, 80


def no_columns(vertices: int) -> np.ndarray:
    """The basis of what a model does not vary, (V, 3, 0)."""
    return np.zeros((vertices, 3, 0), np.float32)


def cropped(triangles: np.ndarray, kept: np.ndarray, vertices: int) -> np.ndarray:
    """The triangles with all corners among the vertices kept, which are counted anew, (F, 3)."""
    number = np.full(vertices, -1)
    number[kept] = np.arange(len(kept))
    triangles = number[triangles]
    return triangles[(triangles >= 0).all(1)]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """One sentence for a damaged file.

    What scipy, h5py, numpy or zlib raise depends on where the damage is.
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is damaged, or holds something else ({reason}).") from None


class Arrays:
    """The arrays of one file, each checked as it is read.

    Each must be there, numeric, finite, and of the right shape.
    """

    def __init__(self, path: Path, content: Mapping):
        self.path, self.content = path, content

    def __contains__(self, key: str) -> bool:
        with reading(self.path):
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

    def texts(self, key: str) -> list[str]:
        """Names, or a single one."""
        value = self._named(key)
        if getattr(value, "dtype", np.dtype(float)).kind not in "US" or not value.size:
            raise ValueError(f"In {self.path}, {key} should be text.")
        return [str(text) for text in value.astype(str).reshape(-1)]

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

    def _named(self, key: str):
        """What has a name, of which an HDF5 file has read nothing yet; `_read` does."""
        if key not in self:
            raise ValueError(
                f"{self.path} lacks {key}, so it is no face model, or only a part of one."
            )
        with reading(self.path):
            return self.content[key]

    def _find(self, key: str):
        """The array of numbers of a name."""
        value = self._named(key)
        with reading(self.path):
            numeric = getattr(value, "shape", None) is not None and value.dtype.kind in "fiu"
        if not numeric:
            raise ValueError(f"In {self.path}, {key} should be an array of numbers.")
        return value

    def _read(self, key: str, value, selection) -> np.ndarray:
        """A selection of an array as float32; a number too large for that is not finite."""
        with reading(self.path), np.errstate(over="ignore"):
            numbers = np.ascontiguousarray(value[selection], np.float32)
        if not np.isfinite(numbers).all():
            raise ValueError(f"In {self.path}, {key} has values that are not finite.")
        return numbers


def _fits(sizes: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Whether an array has the shape wanted, in which None stands for any size but 0."""
    if len(sizes) != len(wanted):
        return False
    return all(size and want in (None, size) for size, want in zip(sizes, wanted, strict=True))

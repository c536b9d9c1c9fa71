"""FLAME's pickles, read without running them.

A pickle is a small program: it names functions of Python, and opening it calls them. The published
files of FLAME need only a few: those that build NumPy's arrays, SciPy's sparse matrices, and arrays
inside the wrapper of the package chumpy, which installs on no supported Python. Here exactly these
can be called; at any other name the reading stops, before anything is done.
"""

import pickle
from pathlib import Path

import numpy as np
from numpy._core import multiarray, numeric


class _Held:
    """Stands for an object of chumpy or SciPy: it has no methods, and keeps what was stored."""

    state: object = None  # nothing may have been stored

    def __setstate__(self, state: object) -> None:
        self.state = state


def _blank(kind: type, base: type, state: object) -> object:
    """What old pickles call to get an empty object."""
    return kind()


def _bytes(text: str, encoding: str) -> bytes:
    """What pickles of protocol 2 call to get bytes."""
    return text.encode("latin1")


# Python 2 and 3, and the versions of NumPy and SciPy, call the same things by different names.
ALLOWED = {
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("chumpy.ch", "Ch"): _Held,
    ("scipy.sparse.csc", "csc_matrix"): _Held,
    ("scipy.sparse._csc", "csc_matrix"): _Held,
    ("_codecs", "encode"): _bytes,
}
for _core in ("numpy.core", "numpy._core"):
    ALLOWED[f"{_core}.multiarray", "_reconstruct"] = multiarray._reconstruct
    ALLOWED[f"{_core}.multiarray", "scalar"] = multiarray.scalar
    ALLOWED[f"{_core}.numeric", "_frombuffer"] = numeric._frombuffer
for _builtins in ("__builtin__", "builtins"):
    ALLOWED[_builtins, "object"] = object
    ALLOWED[_builtins, "set"] = set
for _copying in ("copy_reg", "copyreg"):
    ALLOWED[_copying, "_reconstructor"] = _blank


class _NotAllowed(Exception):
    """A pickle has named something else."""


class _Reader(pickle.Unpickler):
    """Reads a pickle that names nothing but what is allowed."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in ALLOWED:
            raise _NotAllowed(f"{module}.{name}")
        return ALLOWED[module, name]


def read_pickle(path: Path) -> dict[str, object]:
    """The entries of a FLAME pickle, those of chumpy as plain arrays.

    Raises:
        ValueError: the file asks for anything that FLAME's do not, is damaged, or holds no names.
    """
    with path.open("rb") as file:
        try:
            content = _Reader(file, encoding="latin1").load()
        except _NotAllowed as error:
            raise ValueError(
                f"{path} is a pickle that asks for {error}, which no FLAME file does and which "
                "could run any code: nothing of it was run."
            ) from None
        except Exception as error:  # what it is depends on where the damage is
            reason = " ".join(str(error).split())
            raise ValueError(f"{path} is damaged, or holds something else ({reason}).") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is a pickle of a {type(content).__name__}, and no face model.")
    return {key: _array_in(value) for key, value in content.items()}


def _array_in(value: object) -> object:
    """The array that an object of chumpy holds; anything else as it is."""
    if isinstance(value, _Held) and isinstance(value.state, dict):
        return value.state.get("x", value)
    return value

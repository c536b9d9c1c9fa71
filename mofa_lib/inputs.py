"""What people give, as the library knows it: whole numbers, indices, arrays, 8-bit colours.

Each kind has one place here, where it becomes what is meant or is refused in one sentence.
"""

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce, wraps

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def whole(name: str, value: object, least: int) -> int:
    """A size, count, seed or index as Python's integer.

    Args:
        name: what the message calls it.
        value: an integer of Python, NumPy or torch.
        least: the smallest that is allowed.
    Raises:
        TypeError: it is no whole number; 4.0 is none either.
        ValueError: it is smaller.
    """
    sentence = f"A whole number {name} ≥ {least} is needed, got {value!r}."
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(sentence) from None
    if number < least:
        raise ValueError(sentence)
    return number


Indices = int | Sequence[int] | Sequence[bool] | range | slice | np.ndarray | Tensor


def place(index: object, count: int) -> int:
    """The index of one of `count` faces.

    Raises:
        TypeError: it is no whole number.
        IndexError: there is no such face; a negative index does not count from the end.
    """
    try:
        number = operator.index(index)
    except TypeError:
        raise TypeError(
            f"One face has a whole number, got {index!r}; `batch` takes several."
        ) from None
    if not 0 <= number < count:
        raise IndexError(f"There are {count} faces; there is no face {number}.")
    return number


def rows(indices: Indices, count: int) -> Int[Tensor, " B"]:
    """The rows of a table that indices mean, counted from 0.

    Args:
        indices: whole numbers in a list, tuple, range, array or tensor, negative ones from the end;
            a slice; a mask of `count` truth values; or one number, which means one row.
        count: of the table's rows.
    Raises:
        TypeError: the indices are something else.
        IndexError: there is no such row, or the mask has another length.
    """
    every = torch.arange(count)
    if isinstance(indices, slice):
        return every[indices]
    try:
        given = indices.cpu() if isinstance(indices, Tensor) else torch.as_tensor(np.array(indices))
    except (TypeError, ValueError):  # of other things, of lists in lists
        given = torch.empty(0, 0)  # refused below
    if given.ndim == 1 and not len(given):
        return every[:0]
    if given.ndim > 1 or given.is_floating_point() or given.is_complex():
        raise TypeError(f"Indices are whole numbers, a slice or a mask, got {indices!r}.")
    if given.dtype == torch.bool:
        if given.shape != every.shape:
            raise IndexError(f"A mask needs {count} truth values, got {given.numel()}.")
        return every[given]

    given = given.reshape(-1).long()
    beyond = given[(given < -count) | (given >= count)]
    if len(beyond):
        raise IndexError(f"There are {count} faces; there is no face {int(beyond[0])}.")
    return given % count


def as_colours(values: Tensor | np.ndarray) -> Float[Tensor, "..."]:
    """Pictures or colours on the CPU as float32, without a graph; 8-bit ones are divided by 255.

    Raises:
        TypeError: they are no tensor and no array, or whole numbers of another type than uint8.
        ValueError: some are not finite.
    """
    values = _tensor(values)
    if not isinstance(values, Tensor):
        raise TypeError(f"Colours are a tensor or an array, got {type(values).__name__}.")
    if not values.is_floating_point() and values.dtype not in (torch.uint8, torch.bool):
        raise TypeError(
            f"Colours are floats, or 8-bit numbers as uint8, got {values.dtype}: what is white?"
        )
    values = values.detach().cpu()
    values = values.float() / 255 if values.dtype == torch.uint8 else values.float()
    check_finite("Colours", values)
    return values


def check_finite(name: str, values: Tensor) -> None:
    """Refuse NaN and infinity, of which nothing is drawn and nobody knows why.

    Args:
        name: what the message calls the values, in the plural.
        values: floats of any shape.
    Raises:
        ValueError: one of them is not finite.
    """
    values = values.detach()
    # A graph, or a tensor that only stands for one, has no values to look at.
    if torch.compiler.is_exporting() or type(values) is not Tensor or not values.numel():
        return
    low, high = (float(value) for value in values.aminmax())
    if not -math.inf < low <= high < math.inf:  # also catches NaN
        raise ValueError(f"{name} must be finite, got values from {low} to {high}.")


def takes_arrays(function: Callable) -> Callable:
    """A function of tensors that also takes NumPy's arrays, and floats of different precision.

    Arrays become tensors; floating-point tensors become the most precise type among them.
    """

    @wraps(function)
    def taking(*given, **named):
        given = [_tensor(value) for value in given]
        named = {name: _tensor(value) for name, value in named.items()}
        kinds = {value.dtype for value in (*given, *named.values()) if _is_float(value)}
        if len(kinds) > 1:
            kind = reduce(torch.promote_types, kinds)
            given = [value.to(kind) if _is_float(value) else value for value in given]
            named = {
                name: value.to(kind) if _is_float(value) else value for name, value in named.items()
            }
        return function(*given, **named)

    return taking


def _tensor(value: object) -> object:
    """An array as a tensor of its own memory; anything else as it is."""
    if not isinstance(value, np.ndarray):
        return value
    wide = value.dtype.kind == "u" and value.dtype.itemsize > 1  # torch does not index by these
    kind = np.int64 if wide else value.dtype.newbyteorder("=")
    return torch.from_numpy(np.array(value, kind, order="C"))


def _is_float(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


@contextmanager
def standard_torch() -> Iterator[None]:
    """Torch as the library expects it, whatever its user has set; also a decorator.

    New tensors are float32, and none is an inference tensor, which no gradient can pass later.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False):
            yield
    finally:
        torch.set_default_dtype(before)

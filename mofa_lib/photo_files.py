"""Photographs on disk, and the table of their five points: all that people's files can be.

Used in chapter 6.
"""

import csv
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

CROSSED = 0.2  # of the distance from eyes to mouth: a pair that crosses by more is exchanged
LYING = (5, 6, 7, 8)  # EXIF's orientations that exchange width and height


def open_photo(file: Path) -> Image.Image:
    """A photograph, read to its end, as `as_rgb` gives it.

    Raises:
        ValueError: it is missing, damaged, too large, or cannot be shown; the message names it.
    """
    with _file(file), Image.open(file) as photo:
        photo.load()  # all of it: a file that ends too early is noticed here
    with _named(file):
        return as_rgb(photo)


def as_rgb(photo: Image.Image) -> Image.Image:
    """A photograph as viewers show it: in 8 bits, upright, and over white where one sees through.

    Where its camera noted how it was held (EXIF), it is turned. Grey levels of 16 bits are brought
    to 8, and so are floating-point ones in [0, 1].

    Raises:
        TypeError: it is no PIL image.
        ValueError: its grey levels are of another range, or its EXIF cannot be read.
    """
    if not isinstance(photo, Image.Image):
        kind = type(photo).__name__
        raise TypeError(f"A photograph is a PIL image, got {kind}; Image.fromarray makes one.")
    with _exif():
        photo = ImageOps.exif_transpose(photo)
    if photo.mode == "F" or photo.mode.startswith("I"):
        return _in_8_bits(np.asarray(photo)).convert("RGB")
    if photo.mode.endswith(("A", "a")) or "transparency" in photo.info:
        white = Image.new("RGBA", photo.size, "white")
        photo = Image.alpha_composite(white, photo.convert("RGBA"))
    return photo.convert("RGB")


def _in_8_bits(grey: np.ndarray) -> Image.Image:
    """A picture of deep grey levels: floats in [0, 1], or whole numbers of 8 or 16 bits."""
    lowest, highest = float(grey.min()), float(grey.max())
    if grey.dtype.kind == "f":
        white = 1
    else:  # PIL reads 16 bits also as 32
        white = 255 if grey.dtype.itemsize > 2 and highest < 256 else 65535
    if not 0 <= lowest <= highest <= white:  # also catches NaN
        raise ValueError(
            f"The grey levels go from {lowest:.3g} to {highest:.3g}, but should lie "
            f"between 0 and {white}; save the photograph in 8 bits."
        )
    return Image.fromarray(np.rint(grey * (255 / white)).astype(np.uint8))


def read_points(table: Path, files: list[Path]) -> Float[Tensor, "N 5 2"]:
    """The five points of the photographs, from the table that `PhotoFolder` describes.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: its rows do not fit the photographs, or points cannot be those of a face in its
            picture.
    """
    if not table.is_file():
        raise FileNotFoundError(f"There is no table {table}.")
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
        rows = [row for row in csv.reader(lines) if row]
    if rows and rows[0][0].strip().lower() == "file":  # the names of the columns
        rows = rows[1:]

    missing = {_composed(file.name): file for file in files}
    points: dict[Path, Tensor] = {}
    for name, *numbers in rows:
        if len(numbers) != 10:
            raise ValueError(
                f"{table} needs 11 columns, a file and x, y of five points; "
                f"a row has {1 + len(numbers)}."
            )
        file = missing.pop(_composed(name), None)
        if file is None:
            raise ValueError(
                f"{table} must have one row for each photograph; remove that of {name!r}."
            )
        points[file] = _numbers(numbers)
        wrong = _fault(points[file], file)
        if wrong:
            raise ValueError(f"{table}: the points of {name} {wrong}.")

    if missing:
        raise ValueError(
            f"{table} must have one row for each photograph; add one for {min(missing)!r}."
        )
    return torch.stack([points[file] for file in files])


def _composed(name: str) -> str:
    """A file's name in one spelling: some systems store é as e and an accent."""
    return unicodedata.normalize("NFC", name)


def _numbers(numbers: list[str]) -> Float[Tensor, "5 2"]:
    """The points of a row; NaN where they are no numbers."""
    try:
        return torch.tensor([float(number) for number in numbers]).view(5, 2)
    except ValueError:
        return torch.full((5, 2), torch.nan)


def _fault(points: Float[Tensor, "5 2"], file: Path) -> str | None:
    """What is wrong with the points of a photograph, as the end of a sentence."""
    if not points.isfinite().all():
        return "must be numbers"
    if (points - points[0]).abs().max() == 0:
        return "are all the same"
    if points.min() >= 0 and points.max() <= 1:
        return "seem to be shares of the picture: multiply them by its width and height"
    width, height = _size(file)
    if (points < 0).any() or (points > torch.tensor([width, height])).any():
        return f"lie outside the picture, which has {width} × {height} pixels"

    # Seen along each pair, from left to right, the face goes down the picture, on the right hand.
    left_eye, right_eye, _, left_mouth, right_mouth = points
    down = (left_mouth + right_mouth - left_eye - right_eye) / 2
    for across in (right_eye - left_eye, right_mouth - left_mouth):
        # In a profile a pair may lie in one line with the face, or cross it a little.
        if across[0] * down[1] - across[1] * down[0] < -CROSSED * down.square().sum():
            return (
                "have left and right exchanged: "
                "first comes what is left in the image when the face is upright"
            )
    return None


@contextmanager
def _file(file: Path) -> Iterator[None]:
    """One sentence for a file that PIL does not read."""
    try:
        yield
    except Image.DecompressionBombError:
        raise ValueError(
            f"The photograph {file} has more than {2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} million "
            "pixels, the most that is read; shrink it."
        ) from None
    except (OSError, SyntaxError, ValueError):
        raise ValueError(f"The photograph {file} is missing or damaged; copy it anew.") from None


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """The name of the photograph in front of what is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


@contextmanager
def _exif() -> Iterator[None]:
    """One sentence for EXIF that PIL does not read."""
    try:
        yield
    except Exception:  # what it is depends on what is broken
        raise ValueError(
            "The note of how the camera was held (EXIF) is broken; save the photograph without it."
        ) from None


def _size(file: Path) -> tuple[int, int]:
    """Width and height of a photograph as viewers show it, without reading its pixels."""
    with _file(file):
        photo = Image.open(file)
    with photo, _named(file), _exif():
        lies = photo.getexif().get(ExifTags.Base.Orientation) in LYING
        return photo.size[::-1] if lies else photo.size

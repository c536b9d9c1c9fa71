"""The file of looks: painted skins, and the sheets with strands on them that hair is made of.

All of it was made by the MakeHuman community; `mofa_lib.studio.build.looks` packs it.
"""

import io
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from mofa_lib.artifacts import SHIPPED, load_tensors

LOOKS = SHIPPED / "models" / "looks.safetensors"

# The part of MakeHuman's texture that shows the head, in shares of its side: left, top, right,
# bottom. And the part of the atlas where brows are, rows and columns.
SKIN_WINDOW = (0.60, 0.10, 1.0, 0.90)
BROW_WINDOW = slice(160, 360), slice(340, 684)


@dataclass(frozen=True)
class Sheet:
    """A bent sheet with a picture of strands on it, as it hangs on MakeHuman's base head.

    Attributes:
        points: mm, where MakeHuman puts them.
        triangles: one side.
        places: of their corners in the picture, in [0, 1] to the right and down.
        strands: lightness and opacity, in [0, 1].
    """

    points: Float[np.ndarray, "A 3"]
    triangles: Int[Tensor, "T 3"]
    places: Float[Tensor, "T 3 2"]
    strands: Float[Tensor, "2 R S"]


@dataclass(frozen=True)
class Looks:
    """What people can look like, by name.

    Attributes:
        skins: of heads, sRGB; a name says age, tone and sex, such as old_darkskinned_female.
        brows: their opacity in `BROW_WINDOW` of the atlas.
        hair, lashes: sheets.
    """

    skins: dict[str, Float[Tensor, "3 H W"]]
    brows: dict[str, Float[Tensor, "R S"]]
    hair: dict[str, Sheet]
    lashes: dict[str, Sheet]


def load_looks() -> Looks:
    """The looks that the library ships.

    Raises:
        FileNotFoundError, ValueError: the file is missing or damaged.
    """
    tensors, about = load_tensors(LOOKS)

    def sheet(name: str) -> Sheet:
        return Sheet(
            points=tensors[f"{name}.points"].float().numpy(),
            triangles=tensors[f"{name}.triangles"].long(),
            places=tensors[f"{name}.places"].float(),
            strands=unpacked(tensors[f"{name}.strands"]),
        )

    return Looks(
        skins={name: unpacked(tensors[name]) for name in about["skins"]},
        brows={name: unpacked(tensors[name])[0] for name in about["brows"]},
        hair={name: sheet(name) for name in about["hair"]},
        lashes={name: sheet(name) for name in about["lashes"]},
    )


def packed(pixels: np.ndarray) -> Tensor:
    """A picture of 8 bits as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)


def unpacked(file: Tensor) -> Float[Tensor, "C H W"]:
    """The picture in the bytes of a PNG file, in [0, 1]."""
    pixels = np.array(Image.open(io.BytesIO(file.numpy().tobytes())))
    return torch.from_numpy(np.atleast_3d(pixels)).float().movedim(-1, 0) / 255

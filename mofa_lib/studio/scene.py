"""What surrounds a face in a photograph: a place out of focus, a camera's faults.

Used in chapter 6 by the studio.
"""

import io

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

CELLS = 56  # rows and columns of a background before it is blurred

# Walls, wood, leaves, skies, streets: linear mixtures of these are what one sees behind people.
PLACES = np.array(
    [
        [0.88, 0.87, 0.84], [0.62, 0.62, 0.62], [0.30, 0.31, 0.33], [0.10, 0.10, 0.11],
        [0.55, 0.42, 0.30], [0.33, 0.24, 0.17], [0.35, 0.42, 0.25], [0.20, 0.27, 0.15],
        [0.62, 0.72, 0.84], [0.40, 0.50, 0.62], [0.72, 0.62, 0.52], [0.60, 0.36, 0.30],
    ]
)  # fmt: skip


def background(size: int, rng: np.random.Generator) -> Float[Tensor, "3 H W"]:
    """A place out of focus: a wall, a room, or leaves and lights."""
    down, right = np.mgrid[0:CELLS, 0:CELLS] / CELLS
    kind = rng.choice(["wall", "room", "outdoors"], p=[0.3, 0.35, 0.35])
    picture = _tone(rng)[:, None, None] * (
        1 + rng.normal(0, 0.25) * (right - 0.5) + rng.normal(0, 0.25) * (down - 0.5)
    )
    if kind == "room":
        for _ in range(rng.integers(2, 8)):
            left, top = rng.uniform(-0.2, 1, 2)
            wide, high = rng.uniform(0.05, 0.6, 2)
            inside = (np.abs(right - left) < wide / 2) & (np.abs(down - top) < high)
            picture = np.where(inside, _tone(rng)[:, None, None], picture)
    if kind == "outdoors":
        for _ in range(rng.integers(15, 60)):
            x, y = rng.uniform(0, 1, 2)
            disc = np.hypot(right - x, down - y) < rng.uniform(0.02, 0.14)
            share = rng.uniform(0.3, 0.9)
            picture = np.where(
                disc, picture + share * (_tone(rng)[:, None, None] - picture), picture
            )
    picture = torch.from_numpy(picture).float()[None]
    focus = int(rng.integers(6, 26 if kind != "wall" else 10))
    picture = F.interpolate(picture, focus, mode="area")
    return F.interpolate(picture, size, mode="bicubic")[0].clamp(0, 1)


def _tone(rng: np.random.Generator) -> np.ndarray:
    """A colour of a place, sRGB."""
    share = rng.dirichlet([0.25] * len(PLACES))
    return (share @ PLACES) * np.exp(rng.normal(0, 0.15))


def camera_faults(
    picture: Float[Tensor, "3 H W"], rng: np.random.Generator
) -> UInt8[Tensor, "3 H W"]:
    """Tint, saturation, contrast, a soft lens, sensor noise, eight bits, and mostly JPEG."""
    grey = picture.mean(0, keepdim=True)  # (1, H, W)
    saturation = 0.0 if rng.random() < 0.03 else float(rng.uniform(0.75, 1.1))
    tint = torch.from_numpy(np.exp(rng.normal(0, 0.02, 3))).float()[:, None, None]
    picture = (grey + (picture - grey) * saturation) * tint
    contrast, brightness = float(rng.uniform(0.88, 1.12)), float(rng.normal(0, 0.025))
    picture = 0.5 + (picture - 0.5) * contrast + brightness
    if rng.random() < 0.6:
        sigma = float(rng.uniform(0.3, 0.8)) * picture.shape[2] / 224
        picture = _blur(picture, max(sigma, 0.2))
    noise = torch.from_numpy(rng.standard_normal(tuple(picture.shape), np.float32))
    picture = (picture + noise * float(0.014 * rng.beta(1, 2))).clamp(0, 1)
    pixels = (255 * picture).round().to(torch.uint8)
    if rng.random() < 0.6:
        pixels = _jpeg(pixels, quality=int(rng.integers(60, 97)))
    return pixels


def _blur(picture: Float[Tensor, "3 H W"], sigma: float) -> Float[Tensor, "3 H W"]:
    """A Gaussian, one direction after the other; the border repeats."""
    reach = max(1, round(2.5 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum())[None, None]  # (1, 1, 2 · reach + 1)
    padded = F.pad(picture[None], [reach] * 4, mode="replicate")[0][:, None]  # (3, 1, …, …)
    return F.conv2d(F.conv2d(padded, kernel[..., None, :]), kernel[..., None])[:, 0]


def _jpeg(pixels: UInt8[Tensor, "3 H W"], quality: int) -> UInt8[Tensor, "3 H W"]:
    """What a JPEG file keeps of a picture."""
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)

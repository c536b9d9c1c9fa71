"""What can stand in the place of a detector's autoencoder and knows nothing of faces.

A detector that works as well with one of these does not work because its autoencoder knows faces.
Used in chapters 11 and 12.
"""

import io
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.functional import gaussian_blur

from mofa_lib.faces import check_images


def jpeg(images: Float[Tensor, "B 3 H W"], quality: int) -> Float[Tensor, "B 3 H W"]:
    """Pictures that were rounded to 8 bits, saved as JPEG files, and read again.

    Args:
        images: RGB in [0, 1].
        quality: from 1 to 100.
    """
    check_images(images)
    pixels = (255 * images).round().clamp(0, 255).to("cpu", torch.uint8)
    found = torch.empty_like(pixels)
    for row, picture in zip(found, pixels, strict=True):
        file = io.BytesIO()
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        row.copy_(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1))
    return found.to(images) / 255


def block_means(images: Float[Tensor, "B 3 H W"], side: int) -> Float[Tensor, "B 3 H W"]:
    """The mean colours of squares of side × side pixels, enlarged again by bicubic interpolation.

    With a side of 4 it is the linear autoencoder of chapter 8 without its components.

    Raises:
        ValueError: the pictures are not made of such squares.
    """
    check_images(images)
    if any(length % side for length in images.shape[2:]):
        raise ValueError(
            f"Height and width must be multiples of {side}, got {tuple(images.shape[2:])}."
        )
    means = F.avg_pool2d(images, side)  # (B, 3, H / side, W / side)
    return F.interpolate(means, images.shape[2:], mode="bicubic").clamp(0, 1)


def blurred(images: Float[Tensor, "B 3 H W"], sigma: float) -> Float[Tensor, "B 3 H W"]:
    """Pictures out of focus: a Gaussian blur, which mirrors the picture at its edges.

    Args:
        images: RGB in [0, 1].
        sigma: standard deviation in pixels.
    """
    check_images(images)
    return gaussian_blur(images, 2 * math.ceil(3 * sigma) + 1, sigma)


def median(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Each value replaced by the median of the 3 × 3 around it; edges are continued."""
    check_images(images)
    around = F.pad(images, (1, 1, 1, 1), mode="replicate").unfold(2, 3, 1).unfold(3, 3, 1)
    return around.flatten(4).median(4).values


def fewer_bits(images: Float[Tensor, "B 3 H W"], bits: int) -> Float[Tensor, "B 3 H W"]:
    """Each channel rounded to so many bits."""
    check_images(images)
    highest = 2**bits - 1
    return (highest * images).round() / highest


NULL_MODELS: dict[str, Callable[[Tensor], Tensor]] = {
    "JPEG 75": partial(jpeg, quality=75),
    "JPEG 50": partial(jpeg, quality=50),
    "JPEG 20": partial(jpeg, quality=20),
    "mean over 2 × 2": partial(block_means, side=2),
    "mean over 4 × 4": partial(block_means, side=4),
    "blur, σ = 1": partial(blurred, sigma=1.0),
    "median of 3 × 3": median,
    "4 bits": partial(fewer_bits, bits=4),
}

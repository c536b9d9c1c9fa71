"""Light from all around, in nine numbers a channel. Derived in chapter 4.

And how a screen encodes light.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mofa_lib.inputs import standard_torch, takes_arrays, whole

# Factors that make the harmonics orthonormal over the sphere.
_C0 = math.sqrt(1 / (4 * math.pi))
_C1 = math.sqrt(3 / (4 * math.pi))
_C2 = math.sqrt(15 / (4 * math.pi))
_C20 = math.sqrt(5 / (16 * math.pi))
_C22 = math.sqrt(15 / (16 * math.pi))


@takes_arrays
def spherical_harmonics(normals: Float[Tensor, "... 3"]) -> Float[Tensor, "... 9"]:
    """The real spherical harmonics up to degree 2 at unit directions.

    Their order is Y00, Y1−1, Y10, Y11, Y2−2, Y2−1, Y20, Y21, Y22.

    Source: Ramamoorthi and Hanrahan 2001; derived in chapter 4.
    """
    x, y, z = normals.unbind(-1)
    harmonics = [
        torch.full_like(x, _C0),  # Y00: the same from everywhere
        _C1 * y,  # Y1−1: from above
        _C1 * z,  # Y10: from the viewer
        _C1 * x,  # Y11: from the right
        _C2 * x * y,
        _C2 * y * z,
        _C20 * (3 * z * z - 1),
        _C2 * x * z,
        _C22 * (x * x - y * y),
    ]
    return torch.stack(harmonics).movedim(0, -1)  # (..., 9)


@takes_arrays
def irradiance(
    normals: Float[Tensor, "B V 3"], illumination: Float[Tensor, "B 3 9"]
) -> Float[Tensor, "B V 3"]:
    """Irradiance at each vertex: white ambient light plus nine coefficients a channel.

    The ambient light is 1, and the coefficients are those of the spherical harmonics.

    Args:
        normals: unit length, camera frame.
        illumination: order Y00, Y1−1 … Y22; axis 1 is RGB. Lambert's factors are folded into the
            coefficients.
    Returns:
        Linear RGB irradiance, not clamped.
    Raises:
        ValueError: the last axis of `illumination` is not 9.
    Source: Ramamoorthi and Hanrahan 2001; derived in chapter 4.
    """
    if illumination.shape[-1] != 9:
        shape = tuple(illumination.shape)
        raise ValueError(f"Illumination needs nine coefficients a channel, (B, 3, 9); got {shape}.")
    harmonics = spherical_harmonics(normals)  # (B, V, 9)
    return 1 + harmonics @ illumination.mT  # (B, V, 3)


def project_irradiance(light: Callable[[Tensor], Tensor]) -> Float[Tensor, "B 3 9"]:
    """The nine coefficients a channel that come nearest to any light.

    Nearest is meant in the least-squares sense over the sphere.

    Args:
        light: maps unit normals (N, 3) to irradiance (B, N, 3).
    """
    normals = sphere_points(1000)  # (N, 3)
    to_coefficients = torch.linalg.pinv(spherical_harmonics(normals))  # (9, N)
    return (to_coefficients @ (light(normals) - 1)).mT  # (B, 3, 9)


@standard_torch()
def sphere_points(count: int) -> Float[Tensor, "N 3"]:
    """Unit vectors spread evenly over the sphere, on a spiral."""
    k = torch.arange(whole("count", count, 1)) + 0.5  # (N,)
    turn = math.pi * (1 + math.sqrt(5)) * k  # by the golden angle from one to the next
    z = 1 - 2 * k / count  # equal steps of height cut off equal areas
    across = (1 - z * z).sqrt()
    return torch.stack([across * turn.cos(), across * turn.sin(), z], 1)  # (N, 3)


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB pixel values (IEC 61966-2-1)."""
    bright = 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    return np.where(linear < 0.0031308, 12.92 * linear, bright)


def decode_srgb(pixels: np.ndarray) -> np.ndarray:
    """sRGB pixel values to linear light (IEC 61966-2-1)."""
    return np.where(pixels < 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)

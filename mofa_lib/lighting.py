"""Light from all around, in nine numbers a channel. Derived in chapter 4."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_C0 = math.sqrt(1 / (4 * math.pi))
_C1 = math.sqrt(3 / (4 * math.pi))
_C2 = math.sqrt(15 / (4 * math.pi))
_C20 = math.sqrt(5 / (16 * math.pi))
_C22 = math.sqrt(15 / (16 * math.pi))


def spherical_harmonics(normals: Float[Tensor, "... 3"]) -> Float[Tensor, "... 9"]:
    """The real spherical harmonics Y00, Y1−1, Y10, Y11, Y2−2, Y2−1, Y20, Y21, Y22 at unit directions.

    Source: Ramamoorthi and Hanrahan 2001; derived in chapter 4.
    """
    x, y, z = normals.unbind(-1)
    return torch.stack(
        [
            torch.full_like(x, _C0),
            _C1 * y,
            _C1 * z,
            _C1 * x,
            _C2 * x * y,
            _C2 * y * z,
            _C20 * (3 * z * z - 1),
            _C2 * x * z,
            _C22 * (x * x - y * y),
        ],
        -1,
    )


def irradiance(normals: Float[Tensor, "B V 3"], illumination: Float[Tensor, "B 3 9"]) -> Float[Tensor, "B V 3"]:
    """Irradiance at each vertex: white ambient light of 1 plus nine spherical-harmonic coefficients a channel.

    Args:
        normals: unit length, camera frame.
        illumination: order Y00, Y1−1 … Y22; axis 1 is RGB. Lambert's factors are folded into the coefficients.
    Returns:
        Linear RGB irradiance, not clamped.
    Raises:
        ValueError: the last axis of `illumination` is not 9.
    Source: Ramamoorthi and Hanrahan 2001; derived in chapter 4.
    """
    if illumination.shape[-1] != 9:
        raise ValueError(f"Illumination needs nine coefficients a channel, (B, 3, 9); got {tuple(illumination.shape)}.")
    return 1 + spherical_harmonics(normals) @ illumination.transpose(1, 2)


def vertex_normals(vertices: Float[Tensor, "B V 3"], faces: Tensor) -> Float[Tensor, "B V 3"]:
    """Unit normals: the area-weighted mean of the triangles around each vertex.

    Counter-clockwise triangles, seen from outside, have outward normals.
    """
    a, b, c = (vertices.index_select(1, faces[:, k]) for k in range(3))
    around = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for k in range(3):
        total = total.index_add(1, faces[:, k], around)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-12)

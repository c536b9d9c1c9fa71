"""Light from all around, in nine numbers a channel. Derived in chapter 4."""

import math
from collections.abc import Callable

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
    harmonics = [
        torch.full_like(x, _C0),
        _C1 * y,
        _C1 * z,
        _C1 * x,
        _C2 * x * y,
        _C2 * y * z,
        _C20 * (3 * z * z - 1),
        _C2 * x * z,
        _C22 * (x * x - y * y),
    ]
    return torch.stack(harmonics).movedim(0, -1)


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
    return 1 + (illumination @ spherical_harmonics(normals).transpose(1, 2)).transpose(1, 2)


def project_irradiance(light: Callable[[Tensor], Tensor]) -> Float[Tensor, "B 3 9"]:
    """The nine coefficients a channel that come nearest to any light, in the least-squares sense over the sphere.

    Args:
        light: maps unit normals (N, 3) to irradiance (B, N, 3).
    """
    normals = sphere_points(1000)
    return (torch.linalg.pinv(spherical_harmonics(normals)) @ (light(normals) - 1)).transpose(1, 2)


def sphere_points(count: int) -> Float[Tensor, "N 3"]:
    """Unit vectors spread evenly over the sphere, on a spiral."""
    k = torch.arange(count) + 0.5
    turn, z = math.pi * (1 + math.sqrt(5)) * k, 1 - 2 * k / count
    across = (1 - z * z).sqrt()
    return torch.stack([across * turn.cos(), across * turn.sin(), z], 1)


def vertex_normals(vertices: Float[Tensor, "B V 3"], faces: Tensor) -> Float[Tensor, "B V 3"]:
    """Unit normals: the area-weighted mean of the triangles around each vertex.

    Counter-clockwise triangles, seen from outside, have outward normals.
    """
    batch, count, _ = vertices.shape
    planes, corners = vertices.transpose(1, 2).reshape(3 * batch, count), faces.T.contiguous()
    a, b, c = (planes.index_select(1, corner).view(batch, 3, -1) for corner in corners)
    (ux, uy, uz), (vx, vy, vz) = (b - a).unbind(1), (c - a).unbind(1)
    cross = torch.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], 1).flatten(0, 1)
    around = torch.zeros_like(planes)
    for corner in corners:
        around.index_add_(1, corner, cross)
    x, y, z = around.view(batch, 3, count).unbind(1)
    length = (x * x + y * y + z * z + 1e-24).sqrt()
    return torch.stack([x / length, y / length, z / length]).movedim(0, -1)

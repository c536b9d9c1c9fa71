"""Pose and perspective. Derived in chapter 4.

Right-handed axes: x to the viewer's right, y up, z toward the viewer; millimetres.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Camera:
    """A pinhole on the z axis that looks at the origin.

    Attributes:
        focal: focal length in half image widths.
        distance: millimetres between the pinhole and the origin.
    """

    focal: float = 8.0
    distance: float = 1000.0

    def project(self, points: Float[Tensor, "B N 3"], size: int) -> Float[Tensor, "B N 3"]:
        """Pixel x, pixel y (origin top left, pixel centres at +0.5) and depth in mm of points in the camera frame."""
        x, y, z = points.unbind(-1)
        depth = self.distance - z
        scale = self.focal / depth
        return torch.stack([(1 + scale * x) * (size / 2), (1 - scale * y) * (size / 2), depth]).movedim(0, -1)


def rotation_matrix(angles: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """R = Rz(roll) · Ry(yaw) · Rx(pitch), acting on column vectors.

    Args:
        angles: pitch, yaw, roll in radians. Positive pitch looks down, positive yaw turns the nose to the viewer's
            right, positive roll tips the head's top to the viewer's left.
    Source: derived in chapter 4.
    """
    if angles.ndim != 2 or angles.shape[1] != 3:
        raise ValueError(f"Rotations are (pitch, yaw, roll) with shape (B, 3), got {tuple(angles.shape)}.")
    (cx, cy, cz), (sx, sy, sz) = torch.cos(angles).unbind(1), torch.sin(angles).unbind(1)
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def pose(
    points: Float[Tensor, "B N 3"], rotation: Float[Tensor, "B 3"], translation: Float[Tensor, "B 3"]
) -> Float[Tensor, "B N 3"]:
    """Rotate about the origin, then translate (mm)."""
    return (rotation_matrix(rotation) @ points.transpose(1, 2) + translation[:, :, None]).transpose(1, 2)

"""Pose and perspective. Derived in chapter 4.

Right-handed axes: x to the viewer's right, y up, z toward the viewer; millimetres.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mofa_lib.inputs import takes_arrays


@dataclass(frozen=True)
class Camera:
    """A pinhole on the z axis that looks at the origin.

    Attributes:
        focal: focal length in half image widths.
        distance: millimetres between the pinhole and the origin.
    Raises:
        ValueError: one of them is not positive.
    """

    focal: float = 8.0
    distance: float = 1000.0

    def __post_init__(self):
        if not (0 < self.focal < math.inf and 0 < self.distance < math.inf):
            raise ValueError(
                "A camera needs a positive focal length and distance, "
                f"got {self.focal} and {self.distance}."
            )

    @takes_arrays
    def project(self, points: Float[Tensor, "B N 3"], size: int) -> Float[Tensor, "B N 3"]:
        """Places on the screen, and depths, of points in the camera frame.

        Args:
            points: mm.
            size: image side in pixels.
        Returns:
            Pixel x, pixel y (origin top left, pixel centres at +0.5) and depth in mm.
        """
        x, y, z = points.unbind(-1)  # (B, N) each
        depth = self.distance - z
        scale = self.focal / depth
        column = (1 + scale * x) * (size / 2)
        row = (1 - scale * y) * (size / 2)  # y runs up, rows run down
        return torch.stack([column, row, depth]).movedim(0, -1)  # (B, N, 3)


@takes_arrays
def rotation_matrix(angles: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """R = Rz(roll) · Ry(yaw) · Rx(pitch), acting on column vectors.

    Args:
        angles: pitch, yaw, roll in radians. Positive pitch looks down, positive yaw turns the nose
            to the viewer's right, positive roll tips the head's top to the viewer's left.
    Raises:
        ValueError: `angles` are not three a row.
    Source: derived in chapter 4.
    """
    if angles.ndim != 2 or angles.shape[1] != 3:
        raise ValueError(
            f"Rotations are (pitch, yaw, roll) with shape (B, 3), got {tuple(angles.shape)}."
        )
    cx, cy, cz = torch.cos(angles).unbind(1)  # (B,) each
    sx, sy, sz = torch.sin(angles).unbind(1)
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)  # (B, 3, 3)


@takes_arrays
def pose(
    points: Float[Tensor, "B N 3"],
    rotation: Float[Tensor, "B 3"],
    translation: Float[Tensor, "B 3"],
) -> Float[Tensor, "B N 3"]:
    """Rotate about the origin, then translate (mm)."""
    turned = rotation_matrix(rotation) @ points.transpose(1, 2)  # (B, 3, N)
    moved = turned + translation[:, :, None]
    return moved.transpose(1, 2)  # (B, N, 3)

"""One place for every face: alignment of pictures by five points. Derived in chapter 6.

Every picture, rendered or photographed, is moved so that its five points come nearest to one
template, about where `Camera()` sees the five points of a frontal mean face.
"""

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mofa_lib.faces import TEMPLATE
from mofa_lib.inputs import takes_arrays, whole
from mofa_lib.photo_files import as_rgb
from mofa_lib.procrustes import similarity


def five_point_template(size: int) -> Float[Tensor, "5 2"]:
    """Where the five points of every aligned picture lie, in pixels."""
    return (whole("size", size, 1) * TEMPLATE).float()


@takes_arrays
def align_points(points: Float[Tensor, "N 5 2"], size: int) -> Float[Tensor, "N 5 2"]:
    """Where the five points of photographs lie in the pictures of `align_photo`, in pixels."""
    to_template = torch.vmap(similarity, in_dims=(0, None))
    points = points.float()
    if not len(points):  # of which vmap makes nothing
        return points
    turn, shift = to_template(points, five_point_template(size))  # (N, 2, 2), (N, 2)
    return points @ turn.mT + shift[:, None]


def align_photo(
    photo: Image.Image, points: Float[Tensor, "5 2"], size: int
) -> Float[Tensor, "3 H W"]:
    """Cut a face out of a photograph so that its five points lie on the template.

    Args:
        photo: any PIL image, see `as_rgb`.
        points: eyes, nose tip, mouth corners in pixels of the photo, left in the image first.
        size: side of the result in pixels.
    Returns:
        RGB in [0, 1], on the 8-bit grid.
    Raises:
        TypeError, ValueError: the photograph cannot be shown (`as_rgb`), or the points are not five
            different ones.
    """
    points = torch.as_tensor(points, dtype=torch.float32)
    if points.shape != (5, 2):
        raise ValueError(
            f"Alignment needs five points (x, y), shape (5, 2); got {tuple(points.shape)}."
        )
    if not points.isfinite().all() or points.eq(points[0]).all():
        raise ValueError(f"Alignment needs five different points, got {points.tolist()}.")
    photo = as_rgb(photo)

    # PIL asks for the map from the result to the photo.
    turn, shift = similarity(five_point_template(size), points)

    # Drawn as finely as the photo is, then averaged. The root is the scale of the map.
    finer = int(turn.det().sqrt().ceil().clamp(1, 16))
    (a, b), (c, d) = (turn / finer).tolist()
    x, y = shift.tolist()
    side = finer * size
    drawn = photo.transform(
        (side, side), Image.Transform.AFFINE, [a, b, x, c, d, y], Image.Resampling.BICUBIC
    )
    drawn = drawn.resize((size, size), Image.Resampling.BOX)
    return torch.from_numpy(np.array(drawn)).permute(2, 0, 1).float() / 255  # (3, H, W)

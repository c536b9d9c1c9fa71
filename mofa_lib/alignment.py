"""One place for every face: alignment of pictures by five points. Derived in chapter 6.

Every picture, rendered or photographed, is moved so that its five points come nearest to one template: the five points
of the default model's mean face, frontal, as `Camera()` sees it.
"""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from mofa_lib.camera import Camera
from mofa_lib.model_files import load_morphable_model


def five_points(landmarks: Float[Tensor, "*B 68 2"]) -> Float[Tensor, "*B 5 2"]:
    """Centres of the eyes, tip of the nose and corners of the mouth from the 68 points, left in the image first."""
    eyes = [landmarks[..., first : first + 6, :].mean(-2) for first in (36, 42)]
    return torch.stack([*eyes, *(landmarks[..., one, :] for one in (30, 48, 54))], -2)


@cache
def five_point_template(size: int) -> Float[Tensor, "5 2"]:
    """Where the five points of every aligned picture lie, in pixels: the default model's mean face in `Camera()`."""
    model = load_morphable_model()
    return five_points(Camera().project(model.mean_shape[None, model.landmarks], size)[0, :, :2])


def similarity(source: Float[Tensor, "N 2"], target: Float[Tensor, "N 2"]) -> tuple[Tensor, Tensor]:
    """Scaled rotation A (2, 2) and shift b with A·source + b nearest to target in the least-squares sense.

    Source: Umeyama 1991, without reflection; derived in chapter 6.
    """
    a, b = source - source.mean(0), target - target.mean(0)
    along, across = (a * b).sum(), (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
    turn = torch.stack([torch.stack([along, -across]), torch.stack([across, along])]) / (a * a).sum()
    return turn, target.mean(0) - turn @ source.mean(0)


def align_points(points: Float[Tensor, "N 5 2"], size: int) -> Float[Tensor, "N 5 2"]:
    """Where the five points of photographs come to lie in the aligned pictures, in pixels; see `align_photo`."""
    turn, shift = torch.vmap(similarity, in_dims=(0, None))(points, five_point_template(size))
    return points @ turn.mT + shift[:, None]


def align_photo(photo: Image.Image, points: Float[Tensor, "5 2"], size: int) -> Float[Tensor, "3 H W"]:
    """Cut a face out of a photograph so that its five points lie on the template.

    Args:
        photo: any PIL image; where its camera noted how it was held (EXIF), it is turned first, as viewers do.
        points: eyes, nose tip, mouth corners in pixels of the photo, left in the image first.
        size: side of the result in pixels.
    Returns:
        RGB in [0, 1], on the 8-bit grid.
    Raises:
        ValueError: the points do not have the shape (5, 2).
    """
    points = torch.as_tensor(points, dtype=torch.float32)
    if points.shape != (5, 2):
        raise ValueError(f"Alignment needs five points (x, y), shape (5, 2); got {tuple(points.shape)}.")
    photo = ImageOps.exif_transpose(photo).convert("RGB")
    turn, shift = similarity(five_point_template(size), points)
    # PIL asks for the map from the result to the photo. Drawn as finely as the photo is, then averaged.
    finer = int(turn.det().sqrt().ceil().clamp(1, 16))
    (a, b), (c, d) = (turn / finer).tolist()
    x, y = shift.tolist()
    fine = (finer * size, finer * size)
    drawn = photo.transform(fine, Image.Transform.AFFINE, [a, b, x, c, d, y], Image.Resampling.BICUBIC)
    drawn = drawn.resize((size, size), Image.Resampling.BOX)
    return torch.from_numpy(np.array(drawn)).permute(2, 0, 1).float() / 255

"""What an attack is given: pictures, and for each where it should come. Used in chapter 7."""

import torch
from torch import Tensor

from mofa_lib.attack.gradient_sign import precise
from mofa_lib.face_code import FaceCode
from mofa_lib.faces import check_images


def checked(images: Tensor, targets: Tensor | FaceCode | None) -> Tensor:
    """The pictures, if they and their targets are in order, as a copy that gradients can pass."""
    check_images(images)
    _check_targets(images, targets)
    with torch.inference_mode(False):
        return precise(images)


def _check_targets(images: Tensor, targets: Tensor | FaceCode | None) -> None:
    """Refuse targets that do not belong to the pictures."""
    if targets is None:
        return
    if are_pictures(targets):
        fits = targets.shape == images.shape
        given = tuple(targets.shape)
    else:
        fits = len(targets) == len(images)
        given = f"{len(targets)} codes"
    if not fits:
        raise ValueError(f"Each picture needs its target, got {tuple(images.shape)} and {given}.")


def split_targets(targets: Tensor | FaceCode, batch: int) -> list[Tensor | FaceCode]:
    """Targets in the batches of their pictures; no targets are one empty batch."""
    return [targets[first : first + batch] for first in range(0, len(targets) or 1, batch)]


def are_pictures(targets: Tensor | FaceCode) -> bool:
    """Whether targets are pictures; codes have other axes."""
    return isinstance(targets, Tensor) and targets.ndim == 4

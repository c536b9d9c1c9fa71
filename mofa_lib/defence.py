"""What one can do to a picture before the encoder sees it. Derived in chapter 9.

Reforming is `detector.reconstruct`, the autoencoder of chapter 8 itself.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mofa_lib.face_code import GROUPS, FaceCode
from mofa_lib.faces import check_images


def gaussian_noise(
    images: Float[Tensor, "B 3 H W"], alpha: float, generator: torch.Generator
) -> Float[Tensor, "B 3 H W"]:
    """Eq. 7: clip(I + α · N(0, 1)) to [0, 1].

    Args:
        images: RGB in [0, 1].
        alpha: standard deviation of the noise on the same scale.
        generator: on the CPU, so that a seed means the same noise on every device.
    Raises:
        TypeError, ValueError: the images are no batch of pictures in [0, 1], or α is negative.
    Source: Teng 2021, Eq. 7; derived in chapter 9.
    """
    check_images(images)
    if not alpha >= 0:  # also NaN
        raise ValueError(f"The noise needs α ≥ 0, got {alpha}.")
    noise = torch.randn(images.shape, generator=generator).to(images)
    return (images + alpha * noise).clamp(0, 1)  # Eq. 7


def recovery(
    clean: FaceCode, attacked: FaceCode, defended: FaceCode
) -> dict[str, Float[Tensor, " B"]]:
    """How much of the attack on each group of the code a defence undoes.

    For each picture it is 1 − ‖z_def − z‖₁ / ‖z_att − z‖₁: 1 is a full return to the clean code,
    0 no help, negative harm.

    Args:
        clean: z, the codes of the pictures.
        attacked: z_att, of the attacked pictures.
        defended: z_def, of the attacked pictures behind the defence.
    Returns:
        By group, a number for each picture: NaN where the attack has not moved the group, or the
        model has no such group.
    """
    undone = {}
    for group in GROUPS:
        truth = getattr(clean, group)
        before = (getattr(attacked, group) - truth).abs().sum(1)
        after = (getattr(defended, group) - truth).abs().sum(1)
        undone[group] = 1 - after / before.where(before > 0, torch.nan)
    return undone

"""What MoFA minimises: photometric, landmark and statistical terms. Derived in chapter 6."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mofa_lib.face_code import FaceCode
from mofa_lib.faces import five_points
from mofa_lib.renderer import Rendering

FLOOR = 1e-8  # below the roots: at 0 a root has no derivative


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; the statistical one has a weight for each group of the model.

    Examples:
        >>> from mofa_lib.losses import LossWeights
        >>> without_landmarks = LossWeights(landmark=0.0)
        >>> without_landmarks.photometric, without_landmarks.shape
        (1.0, 0.01)
    """

    photometric: float = 1.0
    landmark: float = 6.0
    shape: float = 1e-2
    expression: float = 3e-3
    appearance: float = 3e-3
    recognition: float = 0.0  # 0.05 for a judge that takes part


def photometric(
    rendering: Rendering,
    images: Float[Tensor, "B 3 H W"],
    skin: Float[Tensor, "B H W"] | None = None,
) -> Float[Tensor, " B"]:
    """Mean over the visible pixels of the Euclidean distance between the two colours.

    Which pixels count has no gradient, so that moving the face off its mask gains nothing that
    training could follow.

    Args:
        rendering: what was drawn.
        images: what should have been.
        skin: 1 where a picture shows the bare face, 0 where something hides it; by default 1
            everywhere.
    Source: Tewari et al. 2017, the dense photometric term with its robust ℓ2,1 norm.
    """
    mask = rendering.mask[:, 0]  # (B, H, W)
    if skin is not None:
        mask = mask * skin
    squares = (rendering.image - images).square().sum(1)  # (B, H, W)
    distance = (squares + FLOOR).sqrt()
    count = mask.sum((1, 2)).clamp(min=1)  # (B,), where all is hidden the mean is 0
    return (distance * mask).sum((1, 2)) / count


def landmark(
    found: Float[Tensor, "B M 2"], true: Float[Tensor, "B N 2"], size: int
) -> Float[Tensor, " B"]:
    """Mean distance between projected and true landmarks, in image widths.

    Args:
        found: pixels.
        true: pixels; where only five points are known, as in photographs, they are compared with
            those of the found 68.
        size: image side in pixels.
    """
    if found.shape[1] == 68 and true.shape[1] == 5:
        found = five_points(found)  # (B, 5, 2)
    squares = (found - true).square().sum(2)  # (B, N)
    return (squares + FLOOR).sqrt().mean(1) / size


def statistical(code: FaceCode, weights: LossWeights) -> Float[Tensor, " B"]:
    """How improbable the code is under the model.

    The weighted mean squares of the coefficients, in standard deviations.

    Args:
        code: shape, expression and appearance count; pose and light are free.
        weights: one for each of the three groups.
    """
    total = torch.zeros_like(code.rotation[:, 0])  # (B,)
    for group in ("shape", "expression", "appearance"):
        coefficients = getattr(code, group)
        if coefficients.shape[1]:  # else the model has no such group
            total = total + getattr(weights, group) * coefficients.square().mean(1)
    return total

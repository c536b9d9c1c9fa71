"""Auto-PGD: steps up the sign of a gradient that choose their own length. Used in chapter 13."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mofa_lib.attack.gradient_sign import anywhere, prepared
from mofa_lib.inputs import whole

MOMENTUM = 0.75  # α: the share of the new step; the rest is the last one's
RISES = 0.75  # ρ: the share of the steps that must raise the loss, or the step is too long


@torch.inference_mode(False)  # also where its caller wants no gradients
def apgd(
    loss: Callable[[Tensor], Float[Tensor, " B"]],
    images: Float[Tensor, "B 3 H W"],
    epsilon: float,
    steps: int = 100,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B 3 H W"]:
    """`pgd` with momentum, whose step begins at 2ε and is halved picture by picture.

    At checkpoints, which come closer and closer, a picture whose loss has risen too seldom, or
    whose best has stayed while its step has, goes on from its best with half the step.

    Args:
        loss: maps images to (B,); it is increased. To approach a target, give minus a distance.
        images: RGB in [0, 1].
        epsilon: L∞ bound of the perturbation, on the scale [0, 1].
        steps: iterations; the loss is asked once more.
        generator: draws the start from the box; None starts at the pictures.
    Returns:
        The best iterate of each picture, the start included.
    Raises:
        TypeError: the images are no floating-point tensor.
        ValueError: ε is outside [0, 1], there is no step, or the images are no batch of pictures.
    Examples:
        >>> import torch
        >>> from mofa_lib import apgd
        >>> def greyness(images):
        ...     return -(images - 0.47).abs().mean((1, 2, 3))
        >>> images = torch.full((1, 3, 2, 2), 0.5)
        >>> apgd(greyness, images, epsilon=0.1).unique()
        tensor([0.4700])

    Source: Croce and Hein 2020, Algorithm 1.
    """
    images, low, high = prepared(images, epsilon)
    steps = whole("steps", steps, 1)
    current = images if generator is None else anywhere(low, high, generator)
    value, gradient = _value_and_gradient(loss, current)
    best, best_value, best_gradient = current, value, gradient
    previous = current  # so the first step has no momentum

    rate = torch.full_like(value, 2 * epsilon)  # (B,)
    rises = torch.zeros_like(value)  # since the last checkpoint
    halved = torch.zeros_like(value, dtype=torch.bool)  # at the last checkpoint
    value_there, last = value, 0
    checkpoints = _checkpoints(steps)

    for step in range(1, steps + 1):
        ahead = (current + _wide(rate) * gradient.sign()).clamp(low, high)
        share = MOMENTUM if step > 1 else 1.0
        moved = current + share * (ahead - current) + (1 - share) * (current - previous)
        previous, current = current, moved.clamp(low, high)

        before = value
        value, gradient = _value_and_gradient(loss, current)
        rises += value > before
        better = value > best_value
        best_value = torch.where(better, value, best_value)
        best = torch.where(_wide(better), current, best)
        best_gradient = torch.where(_wide(better), gradient, best_gradient)

        if step in checkpoints:
            too_few = rises < RISES * (step - last)  # condition 1
            stuck = ~halved & (best_value == value_there)  # condition 2
            halved = too_few | stuck
            rate = torch.where(halved, rate / 2, rate)
            current = torch.where(_wide(halved), best, current)
            value = torch.where(halved, best_value, value)
            gradient = torch.where(_wide(halved), best_gradient, gradient)
            rises, value_there, last = torch.zeros_like(rises), best_value, step
    return best


def _checkpoints(steps: int) -> set[int]:
    """The iterations after which the length of the step is looked at."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    # Rounded first: 0.22 + 0.19 is a little more than 0.41.
    return {math.ceil(round(share * steps, 6)) for share in shares[1:]}


def _value_and_gradient(loss: Callable[[Tensor], Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of each picture, and its gradient there."""
    images = images.detach().requires_grad_()
    value = loss(images)
    (gradient,) = torch.autograd.grad(value.sum(), images)
    return value.detach(), gradient


def _wide(values: Tensor) -> Tensor:
    """One value for each picture, (B,), as (B, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)

"""One perturbation for all pictures. Used in chapter 13."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mofa_lib.attack.gradient_sign import anywhere, check_epsilon, precise
from mofa_lib.faces import check_images
from mofa_lib.inputs import whole

MOMENTUM = 0.9  # of the gradient: its sign is that of a mean over some ten batches


@torch.inference_mode(False)  # also where its caller wants no gradients
def universal(
    loss: Callable[[Tensor, Int[Tensor, " b"]], Float[Tensor, " b"]],
    images: Float[Tensor, "N 3 H W"],
    epsilon: float,
    steps: int,
    batch: int,
    generator: torch.Generator,
    rate: float | None = None,
) -> Float[Tensor, "1 3 H W"]:
    """Steps up the sign of the mean gradient of random batches, projected to the box of size ε.

    Args:
        loss: maps attacked pictures, and their rows in `images`, to (b,); its mean is increased.
            The rows tell which target, or which code of its own, belongs to a picture; where all
            have the same target they are not needed.
        images: RGB in [0, 1], all of the same height and width.
        epsilon: L∞ bound of the perturbation, on the scale [0, 1].
        steps: iterations.
        batch: pictures of an iteration, drawn anew each time; all of them, if there are no more.
        generator: draws the start from the box, and the batches; on the CPU, so that a seed means
            the same ones on every device.
        rate: length of a step; by default 2.5 ε / steps.
    Returns:
        δ, to be added to any picture, and the sum to be clamped to [0, 1].
    Raises:
        TypeError: the images are no floating-point tensor.
        ValueError: ε is outside [0, 1], there is no step or an empty batch, or the images are no
            batch of pictures.
    Source: Moosavi-Dezfooli et al. 2017; by projected gradients, Shafahi et al. 2020; the momentum
        is of Dong et al. 2018.
    """
    check_epsilon(epsilon)
    steps = whole("steps", steps, 1)
    batch = whole("batch", batch, 1)
    check_images(images)
    if rate is None:
        rate = 2.5 * epsilon / steps

    images = precise(images)
    # Farther than where the last picture is black or white no gradient would lead back.
    low = (-images.amax(0, keepdim=True)).clamp(min=-epsilon)  # (1, 3, H, W)
    high = (1 - images.amin(0, keepdim=True)).clamp(max=epsilon)
    delta = anywhere(low, high, generator)
    mean = torch.zeros_like(low)

    for _ in range(steps):
        rows = torch.randperm(len(images), generator=generator)[:batch].to(images.device)
        delta.requires_grad_()
        value = loss((images[rows] + delta).clamp(0, 1), rows).mean()
        (gradient,) = torch.autograd.grad(value, delta)
        mean = MOMENTUM * mean + gradient
        delta = (delta.detach() + rate * mean.sign()).clamp(low, high)
    return delta

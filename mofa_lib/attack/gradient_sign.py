"""Attacks on any loss by the sign of its gradient, and the control that points nowhere.

Derived in chapter 2.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mofa_lib.faces import check_floats, check_images
from mofa_lib.inputs import whole


@torch.inference_mode(False)  # also where its caller wants no gradients
def pgd(
    loss: Callable[[Tensor], Float[Tensor, " B"]],
    images: Float[Tensor, "B 3 H W"],
    epsilon: float,
    steps: int = 10,
    rate: float | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B 3 H W"]:
    """Steps up the sign of the gradient of a loss, projected to the box of size ε and to [0, 1].

    The picture is in the middle of the box.

    Args:
        loss: maps images to (B,); it is increased. To approach a target, give minus a distance.
        images: RGB in [0, 1].
        epsilon: L∞ bound of the perturbation, on the scale [0, 1].
        steps: iterations.
        rate: length of a step; by default 2.5 ε / steps, with which every corner of the box can be
            reached.
        generator: draws the start from the box; None starts at the pictures.
    Returns:
        The last iterate. A loss that is flat at the pictures, as a distance to their own codes is,
            needs a generator.
    Raises:
        TypeError: the images are no floating-point tensor.
        ValueError: ε is outside [0, 1], there is no step, or the images are no batch of pictures.
    Source: Madry et al. 2018; derived in chapter 2.
    """
    images, low, high = prepared(images, epsilon)
    steps = whole("steps", steps, 1)
    if rate is None:
        rate = 2.5 * epsilon / steps
    attacked = images if generator is None else anywhere(low, high, generator)

    for _ in range(steps):
        attacked = attacked.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(attacked).sum(), attacked)
        attacked = (attacked.detach() + rate * gradient.sign()).clamp(low, high)
    return attacked


def fgsm(
    loss: Callable[[Tensor], Float[Tensor, " B"]], images: Float[Tensor, "B 3 H W"], epsilon: float
) -> Float[Tensor, "B 3 H W"]:
    """One step of length ε up the sign of the gradient of a loss, clamped to [0, 1].

    Arguments and errors are those of `pgd`.

    Examples:
        >>> import torch
        >>> from mofa_lib import fgsm
        >>> def brightness(images):
        ...     return images.mean((1, 2, 3))
        >>> images = torch.full((1, 3, 2, 2), 0.5)
        >>> fgsm(brightness, images, epsilon=0.1).unique()
        tensor([0.6000])

    Source: Goodfellow et al. 2014; derived in chapter 2.
    """
    return pgd(loss, images, epsilon, steps=1, rate=epsilon)


def quantize(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Round to the 256 grey levels that a saved picture has."""
    check_floats(images)
    return (255 * images).round() / 255


def check_epsilon(epsilon: float) -> None:
    """Refuse an ε that is no share of the pixel values' range.

    Raises:
        ValueError: it is outside [0, 1].
    """
    if not 0 <= epsilon <= 1:  # also NaN
        raise ValueError(
            f"ε lies in [0, 1], as the pixel values do, got {epsilon}; 8 grey levels are 8 / 255."
        )


def prepared(
    images: Float[Tensor, "B 3 H W"], epsilon: float
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 3 H W"], Float[Tensor, "B 3 H W"]]:
    """What `pgd`, `apgd`, `square` and `nes` begin with: a copy of the pictures and its `box`.

    Raises:
        TypeError: the images are no floating-point tensor.
        ValueError: ε is outside [0, 1], or the images are no batch of pictures.
    """
    check_epsilon(epsilon)
    check_images(images)
    images = precise(images)
    return images, *box(images, epsilon)


def box(
    images: Float[Tensor, "B 3 H W"], epsilon: float
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 3 H W"]]:
    """The least and the largest value that an attack may give each pixel: within ε and [0, 1]."""
    return (images - epsilon).clamp(min=0), (images + epsilon).clamp(max=1)


def anywhere(
    low: Float[Tensor, "B 3 H W"], high: Float[Tensor, "B 3 H W"], generator: torch.Generator
) -> Float[Tensor, "B 3 H W"]:
    """Pictures drawn evenly from a box."""
    drawn = torch.rand(low.shape, generator=generator, device=generator.device).to(low)
    return torch.lerp(low, high, drawn)


def precise(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """A copy in at least 32 bits, without a graph: in 16 an optimiser's steps come to nothing."""
    return images.detach().to(torch.promote_types(images.dtype, torch.float32), copy=True)


def random_signs(
    images: Float[Tensor, "B 3 H W"], epsilon: float, generator: torch.Generator
) -> Float[Tensor, "B 3 H W"]:
    """The control beside every attack: +ε or −ε at random on every value, clamped to [0, 1].

    It is as large as an attack that uses its whole bound, and points nowhere. Used in chapter 2.

    Args:
        images: RGB in [0, 1].
        epsilon: size of the change of each value, on the scale [0, 1].
        generator: on the CPU, so that a seed means the same signs on every device.
    """
    check_epsilon(epsilon)
    check_images(images)
    signs = 2 * torch.randint(0, 2, images.shape, generator=generator) - 1  # −1 or 1
    return (images + epsilon * signs.to(images)).clamp(0, 1)

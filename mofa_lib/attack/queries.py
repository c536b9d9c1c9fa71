"""Attackers who may only ask: they see the loss of the pictures that they send, and no gradient.

Used in chapter 13.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mofa_lib.attack.best import Best
from mofa_lib.attack.gradient_sign import prepared
from mofa_lib.inputs import whole

# The shares of the queries at which the area of the square is halved.
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


class Asked(NamedTuple):
    """What an attacker who may only ask has found.

    Attributes:
        images: of all pictures that were sent, those of the highest loss.
        course: the highest loss after each query.
    """

    images: Float[Tensor, "B 3 H W"]
    course: Float[Tensor, "Q B"]


@torch.no_grad()
def square(
    loss: Callable[[Tensor], Float[Tensor, " B"]],
    images: Float[Tensor, "B 3 H W"],
    epsilon: float,
    queries: int,
    generator: torch.Generator,
    area: float = 0.8,
) -> Asked:
    """Square Attack: random squares of +ε or −ε, of which those stay that raise the loss.

    The first query is of vertical stripes of ±ε. Then a square anywhere in the picture gets one
    sign for each colour channel; its area shrinks.

    Args:
        loss: maps images to (B,); it is increased, and may be computed in any way.
        images: RGB in [0, 1].
        epsilon: L∞ bound of the perturbation, on the scale [0, 1].
        queries: how often the loss of each picture is asked for.
        generator: on the CPU, so that a seed means the same squares on every device.
        area: of the first square, as a share of the picture.
    Raises:
        TypeError: the images are no floating-point tensor.
        ValueError: ε is outside [0, 1], there is no query, or the images are no batch of pictures.
    Source: Andriushchenko et al. 2020, Algorithms 1 and 2; the schedule is that of its code.
    """
    images, low, high = prepared(images, epsilon)
    queries = whole("queries", queries, 1)
    count, _, height, width = images.shape
    best = Best.start(images)
    stripes = _coins((count, 3, 1, width), generator).to(images.device)
    _ask(loss, torch.where(stripes, high, low), best)

    for query in range(1, queries):
        halvings = sum(query > share * queries for share in HALVINGS)
        side = round(math.sqrt(area / 2**halvings * height * width))
        side = min(max(side, 1), height, width)
        window = _windows((count, height, width), side, generator).to(images.device)
        colour = _coins((count, 3, 1, 1), generator).to(images.device)
        _ask(loss, torch.where(window, torch.where(colour, high, low), best.images), best)
    return _asked(best)


@torch.no_grad()
def nes(
    loss: Callable[[Tensor], Float[Tensor, " B"]],
    images: Float[Tensor, "B 3 H W"],
    epsilon: float,
    queries: int,
    generator: torch.Generator,
    pairs: int = 25,
    sigma: float = 0.001,
    rate: float | None = None,
) -> Asked:
    """`pgd` with a gradient that is estimated from pairs of queries in opposite directions.

    Args:
        loss: maps images to (B,); it is increased, and may be computed in any way.
        images: RGB in [0, 1].
        epsilon: L∞ bound of the perturbation, on the scale [0, 1].
        queries: how often the loss of each picture is asked for; the last is for where the last
            step has led.
        generator: on the CPU, so that a seed means the same directions on every device.
        pairs: of queries for one step; the last step may have fewer.
        sigma: standard deviation of the directions, on the scale [0, 1].
        rate: length of a step; by default 2.5 ε / steps, as `pgd`'s.
    Raises:
        TypeError: the images are no floating-point tensor.
        ValueError: ε is outside [0, 1], there is no query or no pair, σ is not positive, or the
            images are no batch of pictures.
    Source: Ilyas et al. 2018, Algorithm 1.
    """
    images, low, high = prepared(images, epsilon)
    queries = whole("queries", queries, 1)
    pairs = whole("pairs", pairs, 1)
    if not sigma > 0:  # also NaN
        raise ValueError(f"Directions need a positive σ, got {sigma}.")

    best = Best.start(images)
    current = images
    if queries % 2 == 0:  # pairs, and one query for the end: one is left
        _ask(loss, current, best)
    in_all = (queries - 1) // 2
    if rate is None:
        rate = 2.5 * epsilon / max(1, math.ceil(in_all / pairs))

    for first in range(0, in_all, pairs):
        gradient = torch.zeros_like(images)  # but for a factor, which its sign does not need
        for _ in range(min(pairs, in_all - first)):
            direction = torch.randn(images.shape, generator=generator).to(images)
            # Within the box, so that each is a result. At its edge one of the two stays short, and
            # the expected sign is the same.
            there = _ask(loss, (current + sigma * direction).clamp(low, high), best)
            back = _ask(loss, (current - sigma * direction).clamp(low, high), best)
            gradient += (there - back).to(images).view(-1, 1, 1, 1) * direction
        current = (current + rate * gradient.sign()).clamp(low, high)
    _ask(loss, current, best)
    return _asked(best)


def _ask(loss: Callable[[Tensor], Tensor], candidates: Tensor, best: Best) -> Tensor:
    """One query for each picture; `best` takes over what is better."""
    value = loss(candidates)
    best.keep(candidates, -value)
    return value


def _asked(best: Best) -> Asked:
    return Asked(best.images, -torch.stack(best.course))


def _coins(shape: tuple[int, ...], generator: torch.Generator) -> Bool[Tensor, "..."]:
    """True or false, each as likely."""
    return torch.randint(0, 2, shape, generator=generator).bool()


def _windows(
    shape: tuple[int, int, int], side: int, generator: torch.Generator
) -> Bool[Tensor, "B 1 H W"]:
    """A square somewhere in each picture."""
    count, height, width = shape
    top = torch.randint(0, height - side + 1, (count, 1), generator=generator)
    left = torch.randint(0, width - side + 1, (count, 1), generator=generator)
    rows, columns = torch.arange(height), torch.arange(width)
    in_rows = (rows >= top) & (rows < top + side)  # (B, H)
    in_columns = (columns >= left) & (columns < left + side)  # (B, W)
    return (in_rows[:, :, None] & in_columns[:, None, :]).unsqueeze(1)

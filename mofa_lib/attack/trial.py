"""An attack with what it is tried on, for the checks of `check_attack`. Used in chapter 13."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from mofa_lib.attack.precision import Code
from mofa_lib.attack.result import Attacked

# Made by make(epsilon=…, steps=…).
Attack = Callable[[Tensor, Tensor], Attacked | Tensor]


@dataclass(frozen=True)
class Trial:
    """An attack, the encoder, and pictures with their targets.

    Attributes:
        make: makes the attack from epsilon and steps.
        encode: maps images to codes.
        distance: maps two batches of codes to (B,).
        images: RGB in [0, 1].
        targets: as many pictures.
        epsilon: L∞ bound of the perturbation, on the scale [0, 1].
        steps: iterations of the attack.
        recovered: share of the distance to a planted target that must go.
        queries: of the black-box attack.
    """

    make: Callable[..., Attack]
    encode: Callable[[Tensor], Code]
    distance: Callable[[Code, Code], Tensor]
    images: Float[Tensor, "B 3 H W"]
    targets: Float[Tensor, "B 3 H W"]
    epsilon: float
    steps: int
    recovered: float
    queries: int

    def run(self, epsilon: float, steps: int) -> Float[Tensor, "B 3 H W"]:
        """The attacked pictures under another bound or with other steps."""
        found = self.make(epsilon=epsilon, steps=steps)(self.images, self.targets)
        return (found.images if isinstance(found, Attacked) else found).detach()

    @cached_property
    def found(self) -> Float[Tensor, "B 3 H W"]:
        """The attacked pictures."""
        return self.run(self.epsilon, self.steps)

    @cached_property
    @torch.no_grad()
    def goal(self) -> Code:
        """The targets' codes."""
        return self.encode(self.targets)

    def loss(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
        """What the attack increases: minus the distance to the targets.

        If the encoder detaches, its gradient is zero, and no error.
        """
        return 0 * images.sum((1, 2, 3)) - self.distance(self.encode(images), self.goal)

    @cached_property
    @torch.no_grad()
    def before(self) -> Float[Tensor, " B"]:
        """The distance of the original pictures."""
        return -self.loss(self.images)

    @torch.no_grad()
    def removed(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
        """The share of the distance that is gone; NaN where there was none."""
        left = -self.loss(images) / self.before
        return torch.where(self.before > 0, 1 - left, torch.nan)

    @cached_property
    def gradient(self) -> Float[Tensor, "B 3 H W"]:
        """The gradient of the loss at the original pictures."""
        images = self.images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(self.loss(images).sum(), images)
        return gradient

"""The best that an attack has seen while it runs. Used in chapter 7."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass
class Best:
    """The best iterate of each picture so far, while an attack runs.

    Attributes:
        images: the pictures, clamped to [0, 1].
        objective: theirs, which decides what is best.
        reached: which pictures are content: they stay as they are.
        course: the objective after each step.
    """

    images: Float[Tensor, "B 3 H W"]
    objective: Float[Tensor, " B"]
    reached: Bool[Tensor, " B"]
    course: list[Float[Tensor, " B"]]

    @classmethod
    def start(cls, images: Float[Tensor, "B 3 H W"]) -> "Best":
        """Nothing has been tried."""
        infinite = torch.full_like(images[:, 0, 0, 0], torch.inf)  # (B,)
        return cls(
            images=images.clone(),
            objective=infinite,
            reached=torch.zeros_like(infinite, dtype=torch.bool),
            course=[],
        )

    def keep(self, images: Tensor, objective: Tensor) -> None:
        """Take over the iterates that are better than all before."""
        objective = objective.detach()
        better = (objective < self.objective) & ~self.reached
        self.objective = torch.where(better, objective, self.objective)
        self.images[better] = images.detach()[better].clamp(0, 1)
        self.course.append(self.objective)

"""Who a head belongs to: sex, age, build and ancestry, and the weights of blend shapes for them.

Each of MakeHuman's blend shapes was sculpted for one corner of the space of people, such as old,
female, heavy. Its weight is a product: how near somebody is to each property of the corner.
"""

from dataclasses import astuple, dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

YOUNG, OLD = 25.0, 90.0  # years of MakeHuman's young and old


@dataclass(frozen=True)
class Phenotype:
    """A person in the terms of the blend shapes; all but the years lie in [0, 1].

    Attributes:
        gender: 0 female, 1 male.
        years: of age, from 18.
        african, asian, caucasian: shares that add up to 1.
    """

    gender: float = 0.5
    years: float = YOUNG
    muscle: float = 0.5
    weight: float = 0.5
    height: float = 0.5
    proportions: float = 0.5
    african: float = 1 / 3
    asian: float = 1 / 3
    caucasian: float = 1 / 3

    @property
    def male(self) -> bool:
        """Whether the person lives as a man: shaves or has a beard, wears no make-up."""
        return self.gender > 0.5

    @property
    def old(self) -> float:
        """0 up to 25 years, 1 from 80."""
        return float(np.clip((self.years - YOUNG) / 55, 0, 1))

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Phenotype":
        """An adult of any age, build and ancestry."""
        male = bool(rng.random() < 0.5)
        apart = rng.beta(1, 14)  # few heads are of neither sex
        african, asian, caucasian = rng.dirichlet([0.3, 0.3, 0.3])
        return cls(
            gender=float(1 - apart if male else apart),
            years=float(rng.uniform(18, 80)),
            muscle=float(rng.uniform(0.2, 0.7) + 0.2 * male),
            weight=float(rng.beta(1.6, 1.6)),
            height=float(rng.uniform(0.3, 0.7)),
            proportions=float(rng.uniform(0.2, 1)),
            african=float(african),
            asian=float(asian),
            caucasian=float(caucasian),
        )


def closeness(people: list[Phenotype]) -> Float[Tensor, "N 26"]:
    """How near each person is to each property of a corner, in [0, 1].

    In the order of `anny`: three ancestries; male, female; newborn, baby, child, young, old; least,
    average, most muscle; the same of weight; small, tall; ideal, uncommon proportions; and three
    each of two properties that no head shows.
    """
    numbers = torch.tensor([astuple(person) for person in people], dtype=torch.float32)
    gender, years, muscle, weight, height, proportions, *ancestry = numbers.T
    # On the line of ages young stands at 2/3 and old at 1.
    grown = 2 / 3 + (years - YOUNG) / (OLD - YOUNG) / 3
    age = torch.where(years < YOUNG, 2 / 3 - (YOUNG - years) / 100, grown)
    half = torch.full_like(age, 0.5)
    columns = [
        torch.stack(ancestry, 1),
        _near(1 - gender, 0, 2),
        _near(age, -1 / 3, 5),
        _near(muscle, 0, 3),
        _near(weight, 0, 3),
        _near(height, 0, 2),
        _near(proportions, 0, 2),
        _near(half, 0, 3),
        _near(half, 0, 3),
    ]
    return torch.cat(columns, 1)


def _near(value: Float[Tensor, " N"], low: float, count: int) -> Float[Tensor, "N C"]:
    """Weights of `count` even points from `low` to 1: shared by the two that a value is between."""
    place = (value - low) / (1 - low) * (count - 1)
    return (1 - (place[:, None] - torch.arange(count)).abs()).clamp(min=0)

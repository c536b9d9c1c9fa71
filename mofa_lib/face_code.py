"""The semantic vector z of a face, with a name for each part. Derived in chapter 6."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from mofa_lib.morphable import MorphableModel

GROUPS = ("shape", "expression", "appearance", "rotation", "translation", "illumination")
SYMBOLS = {"shape": "α", "expression": "δ", "appearance": "β", "rotation": "T", "translation": "t", "illumination": "γ"}


@dataclass(frozen=True)
class FaceCode:
    """z = (α, δ, β, T, t, γ), batched. With the default model z ∈ R^257, as in the paper.

    Attributes:
        shape: α, standard deviations.
        expression: δ, standard deviations.
        appearance: β, standard deviations.
        rotation: T, (pitch, yaw, roll) in radians.
        translation: t, mm.
        illumination: γ, 3 × 9 spherical-harmonic coefficients, RGB-major, added to white ambient light.
    Source: Teng 2021, section 3.1.
    """

    shape: Float[Tensor, "B A"]
    expression: Float[Tensor, "B D"]
    appearance: Float[Tensor, "B B2"]
    rotation: Float[Tensor, "B 3"]
    translation: Float[Tensor, "B 3"]
    illumination: Float[Tensor, "B 27"]

    @classmethod
    def from_vector(cls, z: Float[Tensor, "B N"], model: MorphableModel) -> "FaceCode":
        """Cut a batch of vectors into named parts.

        Raises:
            ValueError: the vectors' length does not fit the model.
        """
        sizes = group_sizes(model)
        if z.ndim != 2 or z.shape[1] != sum(sizes):
            raise ValueError(
                f"A code for {model!r} is a batch of vectors of length {sum(sizes)}, got {tuple(z.shape)}."
            )
        return cls(*z.split(sizes, 1))

    @classmethod
    def mean(cls, model: MorphableModel, batch: int = 1) -> "FaceCode":
        """z = 0: the mean face, frontal, at the camera's distance, in white ambient light."""
        return cls.from_vector(model.mean_shape.new_zeros(batch, sum(group_sizes(model))), model)

    def to_vector(self) -> Float[Tensor, "B N"]:
        """All parts in order, one row a face."""
        return torch.cat([getattr(self, group) for group in GROUPS], 1)

    def __getitem__(self, index) -> "FaceCode":
        """The same parts for some faces of the batch; an integer keeps the batch axis."""
        if isinstance(index, int) and not -len(self) <= index < len(self):
            raise IndexError(f"There are {len(self)} faces; there is no face {index}.")
        rows = slice(index, index + 1 or None) if isinstance(index, int) else index
        return FaceCode(*(getattr(self, field.name)[rows] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.shape)

    def _repr_html_(self) -> str:
        from mofa_lib.displays import of_code  # which knows this class

        return of_code(self)

    def with_parts(self, **parts: Tensor) -> "FaceCode":
        """A copy in which the named parts are replaced."""
        return replace(self, **parts)

    def detach(self) -> "FaceCode":
        """The same values, cut from the graph."""
        return FaceCode(*(getattr(self, field.name).detach() for field in fields(self)))


def group_sizes(model: MorphableModel) -> list[int]:
    """Lengths of the six parts for a model, in the order of GROUPS."""
    return [*model.sizes, 3, 3, 27]

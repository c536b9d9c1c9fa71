"""The semantic vector z of a face, with a name for each part. Derived in chapter 6."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from mofa_lib.displays import counted, html_table, norms
from mofa_lib.inputs import Indices, rows, takes_arrays, whole
from mofa_lib.morphable import MorphableModel

GROUPS = ("shape", "expression", "appearance", "rotation", "translation", "illumination")
SYMBOLS = {
    "shape": "α",
    "expression": "δ",
    "appearance": "β",
    "rotation": "T",
    "translation": "t",
    "illumination": "γ",
}
UNITS = {
    "shape": "σ",
    "expression": "σ",
    "appearance": "σ",
    "rotation": "rad",
    "translation": "mm",
    "illumination": "",
}


@dataclass(frozen=True)
class FaceCode:
    """z = (α, δ, β, T, t, γ), batched. With the default model z ∈ R^257, as in the paper.

    Attributes:
        shape: α, standard deviations.
        expression: δ, standard deviations.
        appearance: β, standard deviations.
        rotation: T, (pitch, yaw, roll) in radians.
        translation: t, mm.
        illumination: γ, 3 × 9 spherical-harmonic coefficients, RGB-major, added to white ambient
            light.
    Examples:
        >>> from mofa_lib import FaceCode, load_morphable_model
        >>> code = FaceCode.mean(load_morphable_model())
        >>> code.to_vector().shape
        torch.Size([1, 257])

    Source: Teng 2021, section 3.1.
    """

    shape: Float[Tensor, "B A"]
    expression: Float[Tensor, "B D"]
    appearance: Float[Tensor, "B B2"]
    rotation: Float[Tensor, "B 3"]
    translation: Float[Tensor, "B 3"]
    illumination: Float[Tensor, "B 27"]

    @classmethod
    @takes_arrays
    def from_vector(cls, z: Float[Tensor, "B N"], model: MorphableModel) -> "FaceCode":
        """Cut a batch of vectors into named parts, at least as precise as the model.

        Raises:
            ValueError: the vectors' length does not fit the model.
        """
        sizes = group_sizes(model)
        length = sum(sizes)
        if z.ndim != 2 or z.shape[1] != length:
            raise ValueError(
                f"A code for {model!r} is a batch of vectors of length {length}, "
                f"got {tuple(z.shape)}."
            )
        z = z.to(torch.promote_types(z.dtype, model.mean_shape.dtype))
        parts = dict(zip(GROUPS, z.split(sizes, 1), strict=True))
        return cls(**parts)

    @classmethod
    def mean(cls, model: MorphableModel, batch: int = 1) -> "FaceCode":
        """z = 0: the mean face, frontal, at the camera's distance, in white ambient light."""
        batch = whole("batch", batch, 0)
        zeros = model.mean_shape.new_zeros(batch, sum(group_sizes(model)))  # (B, N)
        return cls.from_vector(zeros, model)

    @property
    def parts(self) -> dict[str, Float[Tensor, "B _"]]:
        """The six parts by the names of their groups, in the order of GROUPS."""
        return {group: getattr(self, group) for group in GROUPS}

    def to_vector(self) -> Float[Tensor, "B N"]:
        """All parts in order, one row a face."""
        return torch.cat(list(self.parts.values()), 1)

    def __getitem__(self, indices: Indices) -> "FaceCode":
        """The same parts for some faces of the batch; an integer keeps the batch axis."""
        if not isinstance(indices, slice):
            indices = rows(indices, len(self)).to(self.shape.device)
        return FaceCode(**{group: part[indices] for group, part in self.parts.items()})

    def __len__(self) -> int:
        return len(self.shape)

    def with_parts(self, **parts: Tensor) -> "FaceCode":
        """A copy in which the named parts are replaced."""
        return replace(self, **parts)

    def detach(self) -> "FaceCode":
        """The same values, cut from the graph."""
        return FaceCode(**{group: part.detach() for group, part in self.parts.items()})

    def _repr_html_(self) -> str:
        """The groups: symbol, shape, and Euclidean norm, as a mean over the faces and its range."""
        lines = []
        for group, part in self.parts.items():
            norm = f"{norms(part)} {UNITS[group]}"
            lines.append([group, SYMBOLS[group], str(tuple(part.shape)), norm])
        caption = f"FaceCode: {counted(len(self), 'face')}"
        return html_table(caption, lines, heads=("group", "symbol", "shape", "norm"))


def group_sizes(model: MorphableModel) -> list[int]:
    """Lengths of the six parts for a model, in the order of GROUPS."""
    return [*model.sizes, 3, 3, 27]  # then three angles, three mm, nine numbers a channel of light

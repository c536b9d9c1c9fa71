"""Eq. 1's distance between two codes. Derived in chapter 7."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from mofa_lib.face_code import GROUPS, FaceCode
from mofa_lib.morphable import MorphableModel

# λ of Eq. 1 (Teng 2021, section 4.1). The paper has no term for the translation: a weight for it
# can be given.
WEIGHTS = {
    "shape": 0.01,
    "expression": 0.01,
    "appearance": 1.0,
    "rotation": 0.05,
    "illumination": 1.5,
}


class CodeDistance:
    """Δ of Eq. 1: weighted mean absolute differences of the groups of two codes.

    Each group's term is λ · mean(σᵢ |Δᵢ|); σ is the column norm of the model's basis for shape,
    expression and appearance, and 1 for pose and light. Groups that the model does not have are
    skipped.

    Args:
        model: the face model behind the codes.
        weights: λ by group name; groups that are not named do not count.
        sigma: False sets every σ to 1 (an ablation).
    Raises:
        ValueError: a weight is negative or names no group, or there is none.
    Examples:
        >>> from dataclasses import replace
        >>> from mofa_lib import CodeDistance, FaceCode, load_morphable_model
        >>> model = load_morphable_model()
        >>> code = FaceCode.mean(model)
        >>> brighter = replace(code, illumination=code.illumination + 0.1)
        >>> CodeDistance(model)(code, brighter)  # 0.1 in every coefficient, λ = 1.5
        tensor([0.1500])

    Source: Teng 2021, Eq. 1; derived in chapter 7.
    """

    @torch.inference_mode(False)  # gradients pass σ later
    def __init__(
        self, model: MorphableModel, weights: Mapping[str, float] = WEIGHTS, sigma: bool = True
    ):
        if not weights or not all(weight >= 0 for weight in weights.values()):  # also NaN
            raise ValueError(f"Eq. 1 needs weights, none of them negative, got {dict(weights)}.")
        unknown = set(weights) - set(GROUPS)
        if unknown:
            raise ValueError(
                f"No group of the code is called {sorted(unknown)[0]!r}: "
                f"choose from {', '.join(GROUPS)}."
            )
        self.weights = dict(weights)
        self.sigma = {}  # by group; a group that is missing has σ = 1
        if sigma:
            for group in ("shape", "expression", "appearance"):
                self.sigma[group] = getattr(model, f"{group}_sigma")

    def by_group(self, code: FaceCode) -> dict[str, Float[Tensor, "B _"]]:
        """λ · σ · code / n for each group: coordinates in which Δ is an L1 distance."""
        scaled = {}
        for group, weight in self.weights.items():
            part = getattr(code, group)  # (B, n)
            count = part.shape[1]
            if not count:  # the model has no such group
                continue
            if group in self.sigma:
                part = part * self.sigma[group].to(part)
            scaled[group] = (weight / count) * part
        return scaled

    def coordinates(self, code: FaceCode) -> Float[Tensor, "B N"]:
        """The same of all groups, one after the other."""
        return torch.cat(list(self.by_group(code).values()), 1)

    def terms(self, a: FaceCode, b: FaceCode) -> dict[str, Float[Tensor, " B"]]:
        """The weighted terms of Δ by group."""
        a, b = self.by_group(a), self.by_group(b)
        return {group: (a[group] - b[group]).abs().sum(1) for group in a}

    def __call__(self, a: FaceCode, b: FaceCode) -> Float[Tensor, " B"]:
        """The sum of the terms."""
        return sum(self.terms(a, b).values())  # Eq. 1, Δ

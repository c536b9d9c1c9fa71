"""The attack of one who knows the detector. Derived in chapter 13."""

from collections.abc import Callable, Iterator, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mofa_lib.attack.best import Best
from mofa_lib.attack.gradient_sign import quantize
from mofa_lib.attack.latent import LatentAttack
from mofa_lib.attack.precision import Code, in_bfloat16
from mofa_lib.face_code import FaceCode
from mofa_lib.inputs import whole

FLAGGED = 1e6  # no distance is as large: whatever passes is better than whatever is flagged
SLACK = 0.02  # share of a threshold that stays free, so that the detector may compute otherwise
WIDER = 10.0  # factor between two values of c while one side of the search is open


class AdaptiveAttack(LatentAttack):
    """Toward a target and past a detector: Adam on Δ + c · (how far the scores are too high).

    The second term is Σ max(0, s / t − 1 + slack) over the scores s with thresholds t. Each picture
    has its own c, found by searches one after the other, as Carlini and Wagner do: ten times
    larger or smaller, then between the two, depending on whether the last iterate is flagged. What
    is kept is the nearest iterate of all searches that no score flags; where there is none, the one
    that is flagged least. An iterate that looks better than the best so far is judged as a file
    keeps it, with 8 bits and without bfloat16, before it is taken. The
    course of the result has steps + 1 rows for each search, and a million and more where nothing
    has passed yet.

    Args:
        encode, distance, epsilon, steps, rate, batch, precision: as `LatentAttack`'s; the steps are
            those of each search.
        scores: maps pictures and their codes to scores by name, as `Detector.scores`; the higher,
            the more suspicious. It may be the attacker's own copy of what it must pass.
        thresholds: by name; the scores that have one must all stay below it.
        weight: c of the first search.
        searches: values of c that are tried.
        slack: share of a threshold that stays free; more of it for a detector that is not the
            one that `scores` computes.
    Raises:
        ValueError: an argument is out of range.
    Source: Carlini and Wagner 2017 (arXiv:1705.07263); derived in chapter 13.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Code],
        distance: Callable[[Code, Code], Tensor],
        scores: Callable[[Tensor, Code], Mapping[str, Tensor]],
        thresholds: Mapping[str, float],
        epsilon: float = 0.05,
        steps: int = 50,
        rate: float = 0.1,
        *,
        weight: float = 0.1,
        searches: int = 4,
        slack: float = SLACK,
        batch: int = 50,
        precision: str = "auto",
    ):
        super().__init__(encode, distance, epsilon, steps, rate, batch=batch, precision=precision)
        if not thresholds or not all(threshold > 0 for threshold in thresholds.values()):
            raise ValueError(
                f"A detector is passed below thresholds, all above 0, got {dict(thresholds)}."
            )
        if not weight > 0 or not 0 <= slack < 1:
            raise ValueError(f"c is positive and slack in [0, 1), got {weight} and {slack}.")
        self.scores = scores
        self.thresholds = dict(thresholds)
        self.weight = weight
        self.searches = whole("searches", searches, 1)
        self.slack = slack

    def _iterates(
        self,
        images: Tensor,
        targets: Tensor | FaceCode | None,
        precision: str,
        begin: Tensor | None = None,
    ) -> Iterator[tuple[Best, Code]]:
        """All searches on one batch: the best so far, always the same object, and the target."""
        encode, scores = self.encode, self.scores
        if precision == "bfloat16":
            encode, scores = in_bfloat16(encode), in_bfloat16(scores)
        low, high = self._box(images)
        start, target, sign = self._start(images, targets, begin)
        best = Best.start(images)
        c = _Weights(torch.full_like(images[:, 0, 0, 0], self.weight))

        for _ in range(self.searches):
            u = start.clamp(low, high).requires_grad_()  # (B, 3, H, W)
            optimizer = torch.optim.Adam([u], lr=self.rate)
            for step in range(self.steps + 1):
                attacked = images + self.bound * u
                code = encode(attacked)
                distance = sign * self.distance(code, target)  # (B,)
                excess = self._excess(scores(attacked, code))  # (B,)
                is_flagged = excess > 0
                seems = _objective(distance, excess)
                best.keep(attacked, self._judged(attacked, target, sign, seems < best.objective))
                yield best, target
                if step == self.steps:
                    break
                (u.grad,) = torch.autograd.grad((distance + c.now * excess).sum(), u)
                self._warn_of_nothing(u.grad, step)
                optimizer.step()
                u.data = u.data.clamp(low, high)
            c.search(is_flagged)

    @torch.no_grad()
    def _judged(
        self, attacked: Tensor, target: Code, sign: int, asked: Bool[Tensor, " B"]
    ) -> Float[Tensor, " B"]:
        """What is best of the pictures as a file keeps them; infinite where nobody asks."""
        objective = torch.full_like(attacked[:, 0, 0, 0], torch.inf)
        if asked.any():
            (rows,) = asked.nonzero(as_tuple=True)
            saved = quantize(attacked[rows].clamp(0, 1))
            code = self.encode(saved)
            distance = sign * self.distance(code, target[rows])
            excess = self._excess(self.scores(saved, code))
            objective[rows] = _objective(distance, excess)
        return objective

    def _excess(self, scores: Mapping[str, Tensor]) -> Float[Tensor, " B"]:
        """Σ max(0, s / t − 1 + slack): 0 where no score comes near its threshold."""
        return sum(
            (scores[name] / threshold - 1 + self.slack).clamp(min=0)
            for name, threshold in self.thresholds.items()
        )


def _objective(distance: Float[Tensor, " B"], excess: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """The distance of what passes; of what is flagged, its excess, behind all distances.

    A factor, since 10⁶ + 0.01 and 10⁶ + 0.03 are the same number in float32.
    """
    return torch.where(excess > 0, FLAGGED * (1 + excess), distance)


class _Weights:
    """c of each picture, between the largest that was too small and the smallest that was enough.

    Args:
        first: what is tried first.
    """

    def __init__(self, first: Float[Tensor, " B"]):
        self.now = first
        self.low = torch.zeros_like(first)
        self.high = torch.full_like(first, torch.inf)

    def search(self, is_flagged: Bool[Tensor, " B"]) -> None:
        """Go on from a search whose last iterate was flagged, or was not."""
        self.low = torch.where(is_flagged, self.now, self.low)
        self.high = torch.where(is_flagged, self.high, self.now)
        between = (self.low * self.high).sqrt()
        smaller = torch.where(self.low > 0, between, self.high / WIDER)
        self.now = torch.where(self.high.isfinite(), smaller, self.low * WIDER)

"""One step of the attack of one who knows the detector, as a module that needs no autograd."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mofa_lib.attack.adaptive import SLACK
from mofa_lib.autoencoder import MoFA
from mofa_lib.detector import Detector
from mofa_lib.identity import IdentityClassifier
from mofa_lib.linear_autoencoder import SIDE, LinearAutoencoder
from mofa_lib.web.steps import AttackStep

SCORES = ("l1", "l2", "linf", "js", "cosine")  # outputs of the scores' graph, in this order
LEAST = 1e-12  # in a logarithm, as `kullback_leibler` has it


class KnowingStep(AttackStep):
    """One step on Δ + c · Σ max(0, s / t − 1 + slack), as `AdaptiveAttack` takes it with one c.

    To `AttackStep`'s inputs come c, (1,), and the thresholds t in the order of `SCORES`, (5,); to
    its outputs the scores s, (5,), and their sum above the thresholds, (1,).

    Args:
        mofa: as `AttackStep`'s.
        detector: with a `LinearAutoencoder`, and a classifier of codes; in eval mode.
    Source: Carlini and Wagner 2017 (arXiv:1705.07263); derived in chapter 13.
    """

    def __init__(self, mofa: MoFA, detector: Detector):
        super().__init__(mofa)
        self.detector = detector
        self.opinion = _Opinion(detector.classifier, detector.temperature)
        self.reform = _Reformed(detector.reconstruct)

    def _loss(
        self, attacked: Tensor, target: Tensor, weights: Tensor, c: Tensor, thresholds: Tensor
    ) -> tuple[Tensor, ...]:
        """As `AttackStep`'s; then the scores, and how far they are too high."""
        code, kept = self._encode(attacked)
        terms, by_code = self._distance(code, target, weights)
        drawn = self.reform(attacked)
        after, kept_after = self._encode(drawn)

        found = self.detector.compare(attacked, drawn, code, after)
        scores = torch.cat([found[name] for name in SCORES])  # (5,)
        over = scores / thresholds - 1 + SLACK
        shares = (over > 0) / thresholds  # slope of the second term at each score
        by_pixel = _slope_of_norms(attacked - drawn, *shares[:3])
        by_before, by_after = self.opinion.slopes(code, after, *shares[3:])

        by_drawn = self._back(by_after, kept_after) - by_pixel
        slope = self._back(by_code + c * by_before, kept)
        slope = slope + c * (by_pixel + self.reform.back(by_drawn, drawn))
        return slope, terms, code, scores, over.clamp(min=0).sum()[None]


class _Reformed(nn.Module):
    """The linear autoencoder, and what it does to a slope going back."""

    def __init__(self, autoencoder: LinearAutoencoder):
        super().__init__()
        self.autoencoder = autoencoder
        side = autoencoder.size
        enlarged = F.interpolate(torch.eye(SIDE)[None, None], (side, SIDE), mode="bicubic")
        self.register_buffer("enlarge", enlarged[0, 0])  # (H, 56), for rows and columns alike

    def forward(self, images: Tensor) -> Tensor:
        return self.autoencoder(images)

    def back(self, slope: Tensor, drawn: Tensor) -> Tensor:
        """From a slope at what was drawn, flat where it was clipped, to one at the picture."""
        slope = slope * ((drawn > 0) & (drawn < 1))
        small = self.enlarge.T @ slope @ self.enlarge  # (1, 3, 56, 56)
        components = self.autoencoder.components
        small = (small.flatten(1) @ components.T @ components).view_as(small)
        times = self.autoencoder.size // SIDE  # the mean of so many pixels a side
        return F.interpolate(small / times**2, scale_factor=float(times), mode="nearest")


class _Read(NamedTuple):
    """What the classifier has computed on its way.

    Attributes:
        inner: its hidden layer, behind the ReLU.
        features: before theirs.
        shares: of the identities, the softmax.
    """

    inner: Tensor
    features: Tensor
    shares: Tensor


class _Opinion(nn.Module):
    """f on codes, and the slopes of the two scores that compare its opinions."""

    def __init__(self, classifier: IdentityClassifier, temperature: float):
        super().__init__()
        self.classifier = classifier
        self.temperature = temperature

    def slopes(self, before: Tensor, after: Tensor, js, cosine) -> tuple[Tensor, Tensor]:
        """Of js · JS + cosine · (1 − cosine similarity), at the codes before and after, (1, Z)."""
        one, other = self._read(before), self._read(after)
        middle = (one.shares + other.shares) / 2
        slopes = []
        for this, that in ((one, other), (other, one)):
            ratio = this.shares.clamp(min=LEAST) / middle.clamp(min=LEAST)
            by_shares = js * ratio.log() / 2
            by_features = -cosine * _slope_of_cosine(this.features, that.features)
            slopes.append(self._back(by_features, by_shares, this))
        return tuple(slopes)

    def _read(self, code: Tensor) -> _Read:
        trunk = self.classifier.trunk
        first, _, _, second = trunk.layers
        inner = first((code - trunk.mean) / trunk.deviation).relu()
        features = second(inner)
        logits = self.classifier.last(features.relu())
        return _Read(inner, features, F.softmax(logits / self.temperature, 1))

    def _back(self, by_features: Tensor, by_shares: Tensor, read: _Read) -> Tensor:
        """From slopes at features and softmax to one at the code."""
        trunk = self.classifier.trunk
        first, _, _, second = trunk.layers
        shares = read.shares
        by_logits = shares * (by_shares - (shares * by_shares).sum(1, keepdim=True))
        by_relu = by_logits / self.temperature @ self.classifier.last.weight
        by_features = by_features + by_relu * (read.features > 0)
        by_inner = by_features @ second.weight * (read.inner > 0)
        return by_inner @ first.weight / trunk.deviation


def _slope_of_norms(difference: Tensor, l1: Tensor, l2: Tensor, linf: Tensor) -> Tensor:
    """Of l1 · ‖d‖₁ + l2 · ‖d‖₂ + linf · ‖d‖∞ at the difference d."""
    size, sign = difference.abs(), difference.sign()
    largest = (size == size.max()).to(size.dtype)
    norm = difference.square().sum().sqrt()
    return l1 * sign + l2 * difference / norm + linf * sign * largest / largest.sum()


def _slope_of_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Of the cosine similarity of (1, N) and (1, N), at the first."""
    a_norm, b_norm = (x.square().sum().sqrt() for x in (a, b))
    unit, other = a / a_norm, b / b_norm
    return (other - (unit * other).sum() * unit) / a_norm

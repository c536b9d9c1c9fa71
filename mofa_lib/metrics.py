"""Errors with units, and rates with intervals. Used in chapters 6 and 10 to 12."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

from mofa_lib.faces import check_floats
from mofa_lib.inputs import standard_torch, takes_arrays, whole
from mofa_lib.lighting import irradiance, sphere_points
from mofa_lib.mesh import vertex_normals
from mofa_lib.procrustes import best_scale, rigid_alignment


@takes_arrays
def vertex_errors(
    found: Float[Tensor, "B W 3"], true: Float[Tensor, "B V 3"], scale: bool = False
) -> Float[Tensor, "B V"]:
    """Distance of each vertex from its true place after the best rigid motion, mm.

    Args:
        found: may come from a fine model (`subdivided`), whose first vertices are those of the
            coarse one.
        scale: also find the best size, because one picture does not show how large a head is.
    Raises:
        ValueError: `found` has fewer vertices than `true`.
    """
    if found.shape[1] < true.shape[1]:
        raise ValueError(
            f"The faces have {found.shape[1]} vertices and the true ones {true.shape[1]}."
        )
    errors = true.new_empty(true.shape[:2])  # (B, V)
    for row, a, b in zip(errors, found[:, : true.shape[1]], true, strict=True):
        rotation, _ = rigid_alignment(a, b)
        a, b = (a - a.mean(0)) @ rotation.T, b - b.mean(0)
        if scale:
            a = best_scale(a, b) * a
        row.copy_((a - b).norm(dim=1))
    return errors


@takes_arrays
def geometric_error(
    found: Float[Tensor, "B W 3"], true: Float[Tensor, "B V 3"], scale: bool = False
) -> Float[Tensor, " B"]:
    """The mean of `vertex_errors` over the vertices, mm; arguments as there."""
    return vertex_errors(found, true, scale).mean(1)


@takes_arrays
def normal_error(
    found: Float[Tensor, "B W 3"], true: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "B V"]:
    """Angle between corresponding surface normals after the best rigid motion, degrees.

    Args:
        found: may come from a fine model (`subdivided`), whose first vertices are those of the
            coarse one.
        faces: triangles of the coarse model.
    """
    found = found[:, : true.shape[1]]
    turned = torch.empty_like(found)
    for row, a, b in zip(turned, found, true, strict=True):
        row.copy_(a @ rigid_alignment(a, b)[0].T)
    cosine = (vertex_normals(turned, faces) * vertex_normals(true, faces)).sum(2)
    return torch.rad2deg(cosine.clamp(-1, 1).acos())


@standard_torch()
@takes_arrays
def light_error(found: Float[Tensor, "B 3 9"], true: Float[Tensor, "B 3 9"]) -> Float[Tensor, " B"]:
    """Root mean square difference of the light on all surfaces that face the camera.

    It is in parts of the true light. Before, the light found is scaled by the best factor for each
    channel: a picture does not tell bright skin in dim light from dark skin in bright light.
    """
    facing = sphere_points(2000)
    facing = facing[facing[:, 2] > 0].to(found)[None].expand(len(found), -1, -1)
    a, b = irradiance(facing, found), irradiance(facing, true)
    scale = (a * b).sum(1, keepdim=True) / a.square().sum(1, keepdim=True)
    return ((scale * a - b).square().mean((1, 2)) / b.square().mean((1, 2))).sqrt()


@takes_arrays
def landmark_error(
    found: Float[Tensor, "B N 2"], true: Float[Tensor, "B N 2"]
) -> Float[Tensor, " B"]:
    """Mean distance of corresponding landmarks, pixels."""
    return (found - true).norm(dim=2).mean(1)


@takes_arrays
def linf(perturbation: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Largest change of a pixel value, in grey levels (1/255)."""
    check_floats(perturbation)
    return 255 * perturbation.flatten(1).abs().amax(1)


@takes_arrays
def psnr(images: Float[Tensor, "B 3 H W"], others: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Peak signal-to-noise ratio, dB; infinite for equal pictures."""
    check_floats(images)
    check_floats(others)
    return -10 * (images - others).square().flatten(1).mean(1).log10()


def rate(hits: Tensor, confidence: float = 0.95) -> tuple[float, float, float]:
    """Share of true values with its Wilson interval.

    Raises:
        ValueError: there is no value, or one is NaN, which is neither true nor false.
    """
    values = _array(hits)
    count = np.count_nonzero(values)
    interval = stats.binomtest(count, len(values)).proportion_ci(confidence, method="wilson")
    return float(count / len(values)), float(interval.low), float(interval.high)


def rate_difference(
    hits: Bool[Tensor, " N"], others: Bool[Tensor, " N"]
) -> tuple[float, float, float]:
    """A share minus another one of the same pairs, with an interval.

    It reaches from the ends of Wilson's 95 % intervals of the pairs that are won and of those that
    are lost. So it is wider than Newcombe's (1998), which adds the squares of these distances, and
    no point where no pair differs.
    """
    won, low, high = rate(hits & ~others)
    lost, least, most = rate(others & ~hits)
    return won - lost, low - most, high - least


def mean_interval(
    values: Float[Tensor, " N"],
    groups: Tensor | None = None,
    seed: int = 0,
    draws: int = 2000,
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """Mean with a bootstrap interval: the mean, and both ends.

    Where all values are equal, or of one group, no draw differs from another, and the interval is a
    point: that is no certainty.

    Args:
        values: one at least.
        groups: numbers of people, say; values of one group are drawn together.
        draws: how many.
        confidence: of the interval, from its percentiles.
    Raises:
        ValueError: there is no value, one is NaN, or the lengths differ.
    """
    values = _array(values)
    groups = np.arange(len(values)) if groups is None else torch.as_tensor(groups).cpu().numpy()
    if len(groups) != len(values):
        raise ValueError(f"Each value needs its group, got {len(values)} and {len(groups)}.")
    _, which = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(which, values), np.bincount(which)
    mean = float(values.mean())
    if len(sums) == 1:  # nothing to draw from
        return mean, mean, mean

    def mean_of_groups(sums: np.ndarray, counts: np.ndarray, axis: int) -> np.ndarray:
        return sums.sum(axis) / counts.sum(axis)

    drawn = stats.bootstrap(
        (sums, counts), mean_of_groups, paired=True, vectorized=True, confidence_level=confidence,
        n_resamples=draws, method="percentile", rng=np.random.default_rng(whole("seed", seed, 0)),
    )  # fmt: skip
    low, high = drawn.confidence_interval
    return mean, float(low), float(high)


def auroc(negative: Float[Tensor, " N"], positive: Float[Tensor, " M"]) -> float:
    """Probability that an attacked picture scores higher than a benign one; ties count half."""
    return _auroc(_array(negative), _array(positive))


def auroc_interval(
    negative: Float[Tensor, " N"], positive: Float[Tensor, " M"], seed: int = 0, draws: int = 500
) -> tuple[float, float, float]:
    """AUROC with a 95 % bootstrap interval over both samples.

    Raises:
        ValueError: there are fewer than two scores of a kind.
    """
    samples = _array(negative), _array(positive)
    if min(map(len, samples)) < 2:
        raise ValueError("An interval of the AUROC needs at least two scores of each kind.")
    drawn = stats.bootstrap(
        samples, _auroc, vectorized=False,
        n_resamples=draws, method="percentile", rng=np.random.default_rng(whole("seed", seed, 0)),
    )  # fmt: skip
    low, high = drawn.confidence_interval
    return _auroc(*samples), float(low), float(high)


def auroc_of_pairs(
    clean: Float[Tensor, " N"], attacked: Float[Tensor, " N"], seed: int = 0, draws: int = 2000
) -> tuple[float, float, float]:
    """AUROC of scores of pictures and their attacked twins, with a 95 % bootstrap interval.

    No picture is compared with its own twin, and pairs are drawn whole.

    Raises:
        ValueError: there are fewer than two pairs, or the lengths differ.
    """
    count = len(clean)
    if count != len(attacked) or count < 2:
        raise ValueError(
            f"At least two pairs, as many of each: got {count} and {len(attacked)} scores."
        )
    rng = np.random.default_rng(whole("seed", seed, 0))
    drawn = rng.multinomial(count, np.full(count, 1 / count), draws)
    estimate, *others = auroc_of_draws(clean, attacked, np.vstack([np.ones(count), drawn]))
    low, high = np.nanquantile(others, [0.025, 0.975])
    return float(estimate), float(low), float(high)


def auroc_of_draws(
    clean: Float[Tensor, " N"] | Float[np.ndarray, " N"],
    attacked: Float[Tensor, " N"] | Float[np.ndarray, " N"],
    weights: Float[np.ndarray, "D N"] | Int[np.ndarray, "D N"],
) -> Float[np.ndarray, " D"]:
    """AUROC of scores of pictures and their attacked twins, for each draw of pairs.

    No picture is compared with its own twin. Statistics that are compared take the same draws.

    Args:
        weights: how often each pair counts, a row for each draw.
    Returns:
        An AUROC for each draw; NaN for one that has nothing but a single pair.
    """
    benign, hit = _array(clean), _array(attacked)
    wins = (hit[:, None] > benign) + 0.5 * (hit[:, None] == benign)  # (N, N)
    np.fill_diagonal(wins, 0)
    better = ((weights @ wins) * weights).sum(1)
    compared = weights.sum(1) ** 2 - (weights**2).sum(1)
    return better / np.where(compared > 0, compared, np.nan)


def _array(values) -> np.ndarray:
    array = torch.as_tensor(values).detach().double().cpu().numpy()
    if not array.size:
        raise ValueError("A mean, a rate or an AUROC needs at least one value, got none.")
    if np.isnan(array).any():
        raise ValueError("A mean, a rate or an AUROC needs numbers, and some are NaN.")
    return array


def _auroc(negative: np.ndarray, positive: np.ndarray) -> float:
    return float(stats.mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative)))

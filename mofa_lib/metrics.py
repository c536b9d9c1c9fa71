"""Errors with units, and rates with intervals. Used in chapters 6 and 10 to 12."""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

from mofa_lib.lighting import irradiance, sphere_points
from mofa_lib.mesh import vertex_normals
from mofa_lib.procrustes import best_scale, rigid_alignment


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
    errors = []
    for a, b in zip(found[:, : true.shape[1]], true, strict=True):
        rotation, _ = rigid_alignment(a, b)
        a, b = (a - a.mean(0)) @ rotation.T, b - b.mean(0)
        if scale:
            a = best_scale(a, b) * a
        errors.append((a - b).norm(dim=1))
    return torch.stack(errors)


def geometric_error(
    found: Float[Tensor, "B W 3"], true: Float[Tensor, "B V 3"], scale: bool = False
) -> Float[Tensor, " B"]:
    """The mean of `vertex_errors` over the vertices, mm; arguments as there."""
    return vertex_errors(found, true, scale).mean(1)


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
    turned = torch.stack([a @ rigid_alignment(a, b)[0].T for a, b in zip(found, true, strict=True)])
    cosine = (vertex_normals(turned, faces) * vertex_normals(true, faces)).sum(2)
    return torch.rad2deg(cosine.clamp(-1, 1).acos())


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


def landmark_error(
    found: Float[Tensor, "B N 2"], true: Float[Tensor, "B N 2"]
) -> Float[Tensor, " B"]:
    """Mean distance of corresponding landmarks, pixels."""
    return (found - true).norm(dim=2).mean(1)


def linf(perturbation: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Largest change of a pixel value, in grey levels (1/255)."""
    return 255 * perturbation.flatten(1).abs().amax(1)


def psnr(images: Float[Tensor, "B 3 H W"], others: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Peak signal-to-noise ratio, dB; infinite for equal pictures."""
    return -10 * (images - others).square().flatten(1).mean(1).log10()


def rate(hits: Tensor, confidence: float = 0.95) -> tuple[float, float, float]:
    """Share of true values with its Wilson interval."""
    hits = torch.as_tensor(hits).bool()
    test = stats.binomtest(int(hits.sum()), len(hits))
    interval = test.proportion_ci(confidence, method="wilson")
    return float(hits.float().mean()), interval.low, interval.high


def mean_interval(
    values: Float[Tensor, " N"], groups: Tensor | None = None, seed: int = 0, draws: int = 2000
) -> tuple[float, float, float]:
    """Mean with a 95 % bootstrap interval.

    Values of one group (a person, say) are drawn together.
    """
    values = _array(values)
    groups = np.arange(len(values)) if groups is None else torch.as_tensor(groups).numpy()
    _, which = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(which, values), np.bincount(which)
    mean = float(values.mean())
    if len(sums) == 1:  # nothing to draw from
        return mean, mean, mean

    def mean_of_groups(sums: np.ndarray, counts: np.ndarray, axis: int) -> np.ndarray:
        return sums.sum(axis) / counts.sum(axis)

    drawn = stats.bootstrap(
        (sums, counts), mean_of_groups, paired=True, vectorized=True,
        n_resamples=draws, method="percentile", rng=np.random.default_rng(seed),
    )  # fmt: skip
    low, high = drawn.confidence_interval
    return mean, float(low), float(high)


def auroc(negative: Float[Tensor, " N"], positive: Float[Tensor, " M"]) -> float:
    """Probability that an attacked picture scores higher than a benign one; ties count half."""
    return _auroc(_array(negative), _array(positive))


def auroc_interval(
    negative: Float[Tensor, " N"], positive: Float[Tensor, " M"], seed: int = 0, draws: int = 500
) -> tuple[float, float, float]:
    """AUROC with a 95 % bootstrap interval over both samples."""
    samples = _array(negative), _array(positive)
    drawn = stats.bootstrap(
        samples, _auroc, vectorized=False,
        n_resamples=draws, method="percentile", rng=np.random.default_rng(seed),
    )  # fmt: skip
    low, high = drawn.confidence_interval
    return _auroc(*samples), float(low), float(high)


def _array(values) -> np.ndarray:
    return torch.as_tensor(values).detach().double().cpu().numpy()


def _auroc(negative: np.ndarray, positive: np.ndarray) -> float:
    return float(stats.mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative)))

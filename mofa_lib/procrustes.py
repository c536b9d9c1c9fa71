"""Laying points on others: rigid motions and similarities. Derived in chapters 3 and 6."""

import torch
from jaxtyping import Float
from torch import Tensor

from mofa_lib.inputs import check_finite, takes_arrays


@takes_arrays
def rigid_alignment(
    source: Float[Tensor, "N 3"], target: Float[Tensor, "N 3"]
) -> tuple[Float[Tensor, "3 3"], Float[Tensor, "3"]]:
    """Rotation R and translation t with R·source + t nearest to target in the least-squares sense.

    Raises:
        ValueError: a point is not finite.
    Source: Kabsch 1976; derived in chapter 3.
    """
    check_finite("Points to align", torch.cat([source, target]))
    a, b = source.mean(0), target.mean(0)  # (3,) each
    covariance = (target - b).T.double() @ (source - a).double()  # (3, 3)
    u, _, vt = torch.linalg.svd(covariance)

    # Without a reflection: the last direction, which matters least, is turned where it must be.
    determinant = float(torch.det(u @ vt))  # 1, or −1 with a reflection
    proper = torch.tensor([1.0, 1.0, determinant], dtype=u.dtype, device=u.device)
    rotation = ((u * proper) @ vt).to(source.dtype)
    return rotation, b - rotation @ a


@takes_arrays
def best_scale(source: Float[Tensor, "N D"], target: Float[Tensor, "N D"]) -> Float[Tensor, ""]:
    """The factor that brings centred points, already turned, nearest to others.

    Nearest is meant in the least-squares sense.
    """
    return (source * target).sum() / (source * source).sum()


@takes_arrays
def similarity(
    source: Float[Tensor, "N 2"], target: Float[Tensor, "N 2"]
) -> tuple[Float[Tensor, "2 2"], Float[Tensor, "2"]]:
    """Scaled rotation A and shift b with A·source + b nearest to target in the least-squares sense.

    In the plane it has a closed form, and no reflection comes in.

    Source: Umeyama 1991, without reflection; derived in chapter 6.
    """
    a = source - source.mean(0)  # (N, 2)
    b = target - target.mean(0)  # (N, 2)
    along = (a * b).sum()  # ∝ the cosine of the angle between the two sets
    across = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()  # ∝ its sine
    turn = torch.stack([torch.stack([along, -across]), torch.stack([across, along])])  # (2, 2)
    turn = turn / (a * a).sum()
    return turn, target.mean(0) - turn @ source.mean(0)

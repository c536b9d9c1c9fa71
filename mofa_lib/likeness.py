"""How alike are faces, pictures or reconstructions, in the eyes of a judge?

Used in chapters 6 and 10.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mofa_lib.renderer import Rendering

GREY = 0.5


def on_grey(rendering: Rendering) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 68 2"]]:
    """Reconstructions as a judge is to see them: alone, without the picture's hair and background.

    Returns:
        Pictures in [0, 1], twice as wide and high as what was drawn, since a face may reach beyond
        its edge; and their landmarks in pixels.
    """
    return with_margin(rendering.over(torch.full_like(rendering.image, GREY)), rendering.landmarks)


def with_margin(
    images: Float[Tensor, "B 3 S S"], points: Float[Tensor, "B P 2"]
) -> tuple[Float[Tensor, "B 3 T T"], Float[Tensor, "B P 2"]]:
    """Pictures in a grey frame of half their side, and their points there, in pixels."""
    margin = images.shape[-1] // 2
    framed = F.pad(images, [margin] * 4, value=GREY)
    return framed, (points + margin).clamp(0, framed.shape[-1])


def likeness(
    pictures: Float[Tensor, "N F"],
    reconstructions: Float[Tensor, "N F"],
    people: Int[Tensor, " N"],
    seed: int = 0,
    draws: int = 500,
) -> dict[str, dict[str, list[float]]]:
    """Do reconstructions show who it is? Three readings of a judge's embeddings.

    Args:
        pictures: their embeddings.
        reconstructions: embeddings of what was made of each picture.
        people: who is in each picture.
        seed: of the people drawn for the intervals.
        draws: how often people are drawn.
    Returns:
        `separation` of the reconstructions `among` each other; against `others`, the other pictures
        of their person; and against their `own` picture.
    """
    apart = _distances(reconstructions, pictures)  # (N, N)
    same = people[:, None] == people
    itself = torch.eye(len(people), dtype=torch.bool)
    chance = {"seed": seed, "draws": draws}
    return {
        "among": among(reconstructions, people, **chance),
        "others": separation(apart, same & ~itself, ~same, people, **chance),
        "own": separation(apart, itself, ~same, people, **chance),
    }


def among(
    embeddings: Float[Tensor, "N F"], people: Int[Tensor, " N"], seed: int = 0, draws: int = 500
) -> dict[str, list[float]]:
    """`separation` of all pairs of faces; arguments as in `likeness`."""
    same = people[:, None] == people
    once = torch.ones_like(same).triu(1)  # each pair once, nothing with itself
    distances = _distances(embeddings, embeddings)
    return separation(distances, same & once, ~same & once, people, seed, draws)


def _distances(a: Float[Tensor, "N F"], b: Float[Tensor, "M F"]) -> Float[Tensor, "N M"]:
    """Euclidean, without matrix products, in which small distances lose their digits."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def separation(
    distances: Float[Tensor, "N N"],
    same: Bool[Tensor, "N N"],
    different: Bool[Tensor, "N N"],
    people: Int[Tensor, " N"],
    seed: int = 0,
    draws: int = 500,
) -> dict[str, list[float]]:
    """How well distances tell pairs of one person from pairs of two.

    The 95 % intervals come from drawing people, with all their pairs; one who is drawn twice makes
    no pair with himself.

    Args:
        distances: of all pairs.
        same: which of them are one person.
        different: which of them are two people.
        people: who the rows and the columns are.
        seed: of the people drawn.
        draws: how often they are drawn.
    Returns:
        `auc`, the probability that a pair of one person lies nearer than a pair of two, where ties
        count half; the mean distance `same` and `different`. Each is value, low, high.
    Raises:
        ValueError: there is no pair of one person, or none of two.
    """
    if not same.any() or not different.any():
        raise ValueError(
            "Likeness needs two faces of one person and two people, "
            f"got {len(people)} faces of {len(people.unique())} people."
        )
    _, who = np.unique(people.numpy(), return_inverse=True)
    pairs = []  # of each kind: distances, and the people at both ends
    for kind in (same, different):
        row, column = (index.numpy() for index in kind.nonzero().unbind(1))
        pairs.append((distances[kind].double().numpy(), who[row], who[column]))
    levels, level = np.unique(np.concatenate([pairs[0][0], pairs[1][0]]), return_inverse=True)
    level_same, level_different = np.split(level, [len(pairs[0][0])])

    def measure(times: np.ndarray) -> list[float]:
        """The three numbers, for people who were drawn so many times."""
        (near, one, _), (far, a, b) = pairs
        weight_same = times[one]
        weight_different = times[a] * times[b]
        here = np.bincount(level_same, weight_same, len(levels))
        there = np.bincount(level_different, weight_different, len(levels))
        beyond = there.sum() - there.cumsum() + there / 2  # weight of different pairs farther away
        return [
            float(here @ beyond / (here.sum() * there.sum())),
            float(weight_same @ near / weight_same.sum()),
            float(weight_different @ far / weight_different.sum()),
        ]

    count = who.max() + 1
    rng = np.random.default_rng(seed)
    drawn = []
    while len(drawn) < draws:
        times = np.bincount(rng.integers(count, size=count), minlength=count)
        several = times[pairs[0][1]].any()  # else there is no pair of one person,
        if several and (times > 0).sum() > 1:  # or none of two
            drawn.append(measure(times.astype(float)))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    values = zip(("auc", "same", "different"), measure(np.ones(count)), low, high, strict=True)
    return {name: [round(float(x), 4) for x in numbers] for name, *numbers in values}

"""Draws book/_static/teaser.png, the first picture of the README and the book, with the shipped
weights: the median pair of chapter 7's, at the fewest grey levels that take it over.

python book/_ext/teaser.py
"""

from pathlib import Path

import torch

from mofa_lib import CodeDistance, LatentAttack, RenderedFaces, load_pretrained, show
from mofa_lib.attack import quantize

PAIRS, SEED = 8, 0
MOST = 16  # grey levels
LEFT = 0.25  # of the way to the target's code: a face is taken over when no more is left


def main() -> None:
    mofa = load_pretrained("cpu")
    distance = CodeDistance(mofa.model)
    faces = RenderedFaces("test", 40, SEED, mofa.size)
    originals, targets = (faces.batch(index) for index in faces.pairs(PAIRS))
    goal = mofa.encode(targets)
    start = distance(mofa.encode(originals), goal)

    first = torch.full((PAIRS,), MOST + 1)  # the level that takes each pair over
    for level in range(1, MOST + 1):
        attack = LatentAttack(mofa.encode, distance, level / 255)
        adversarial = quantize(attack(originals, targets).images)
        over = distance(mofa.encode(adversarial), goal) <= LEFT * start
        first = first.where(~over, first.clamp(max=level))
        if 2 * (first <= level).sum() >= PAIRS:
            break
    (newly,) = (first == level).nonzero(as_tuple=True)
    pair = newly[-1:]  # of the pairs that fall at the median level, the last

    pictures = torch.cat([originals[pair], adversarial[pair], targets[pair]])
    drawn = mofa.draw(mofa.encode(pictures)).over(torch.ones_like(pictures))
    headings = ["original", f"adversarial, ±{level}/255", "target"]
    figure = show.grid({"picture": pictures, "reconstruction": drawn}, headings, width=1.9)
    figure.savefig(Path(__file__).parents[1] / "_static" / "teaser.png", dpi=160)
    print(f"taken over at levels {first.tolist()}; shown is pair {int(pair)} at {level}")


if __name__ == "__main__":
    main()

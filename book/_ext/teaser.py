"""Draws book/_static/teaser.png, the first picture of the README and the book, with the shipped
weights.

python book/_ext/teaser.py
"""

from pathlib import Path

import torch

from mofa_lib import CodeDistance, LatentAttack, RenderedFaces, load_pretrained, show
from mofa_lib.attack import quantize

EPSILON = 0.05  # the paper's value
SEED = 0


def main() -> None:
    mofa = load_pretrained("cpu")
    faces = RenderedFaces("test", 40, SEED, mofa.size)
    original, target = (
        faces.batch(index[:1]) for index in faces.pairs(8)
    )  # the first pair of chapter 7
    adversarial = quantize(
        LatentAttack(mofa.encode, CodeDistance(mofa.model), EPSILON)(original, target).images
    )
    pictures = torch.cat([original, adversarial, target])
    with torch.no_grad():
        drawn = mofa(pictures).over(torch.ones_like(pictures))
    headings = ["original", f"adversarial, ±{round(255 * EPSILON)}/255", "target"]
    figure = show.grid({"picture": pictures, "reconstruction": drawn}, headings, width=1.9)
    figure.savefig(Path(__file__).parents[1] / "_static" / "teaser.png", dpi=130)


if __name__ == "__main__":
    main()

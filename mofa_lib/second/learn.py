"""Learns the face model from freshly drawn people: exemplars, Procrustes, PCA, as in chapter 3.

    python -m mofa_lib.second.learn

Its people come to no photograph: they have a chance of their own.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mofa_lib.artifacts import SHIPPED, save_tensors
from mofa_lib.second.hair import hair_colour
from mofa_lib.second.heads import HeadShapes
from mofa_lib.second.looks import load_looks
from mofa_lib.second.skin import SkinPainter
from mofa_lib.studio.atlas import texture_at_vertices
from mofa_lib.studio.build.heads import learnt

MODEL = SHIPPED / "models" / "face.safetensors"
SEED = 2026
EXEMPLARS = 1000


def learn(path: Path = MODEL, count: int = EXEMPLARS) -> None:
    """Write the model, its bases as float16."""
    shapes = HeadShapes()
    painter = SkinPainter(shapes, load_looks())
    kept = shapes.model_vertices
    neutrals, expressions, skins = [], [], []
    for number in tqdm(range(count), "exemplars"):
        # The leading 2 keeps them apart from the people, 0, and the pictures, 1, of all splits.
        rng = np.random.default_rng([2, SEED, number])
        head = shapes.head(rng)
        strengths = shapes.expression(rng)
        neutrals.append(head.neutral[kept])
        expressions.append(torch.einsum("e,evc->vc", strengths, head.expressions)[kept])
        texture = painter.paint(head.phenotype, hair_colour(head.phenotype, rng), rng)
        skins.append(texture_at_vertices(texture[:3], shapes)[kept])

    tensors = learnt(neutrals, expressions, skins, shapes)
    metadata = {
        "name": "face",
        "command": "python -m mofa_lib.second.learn",
        "seed": SEED,
        "exemplars": count,
    }
    save_tensors(path, tensors, metadata)


def main(arguments: list[str] | None = None) -> None:
    """The command line, see the module."""
    argparse.ArgumentParser(prog="python -m mofa_lib.second.learn").parse_args(arguments)
    learn()


if __name__ == "__main__":
    main()

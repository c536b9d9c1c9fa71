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
from mofa_lib.morphable import MorphableModel, principal_components
from mofa_lib.second.hair import hair_colour
from mofa_lib.second.heads import HeadShapes
from mofa_lib.second.looks import load_looks
from mofa_lib.second.skin import SkinPainter
from mofa_lib.studio.atlas import texture_at_vertices

MODEL = SHIPPED / "models" / "face.safetensors"
SEED = 2026
EXEMPLARS = 1000
SHAPES, EXPRESSIONS, APPEARANCES = 80, 64, 80  # components, as the paper's


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

    # z = 0 is the mean neutral face: the mean of the expressions stays out.
    mean_shape, shape_basis = principal_components(torch.stack(neutrals), SHAPES)
    _, expression_basis = principal_components(torch.stack(expressions), EXPRESSIONS)
    mean_appearance, appearance_basis = principal_components(torch.stack(skins), APPEARANCES)

    number_in_the_model = torch.full((len(shapes.mean),), -1, dtype=torch.long)
    number_in_the_model[kept] = torch.arange(len(kept))
    triangles = number_in_the_model[shapes.triangles]
    tensors = {
        "mean_shape": mean_shape - mean_shape.mean(0),
        "shape_basis": shape_basis.half(),
        "expression_basis": expression_basis.half(),
        "mean_appearance": mean_appearance,
        "appearance_basis": appearance_basis.half(),
        "faces": triangles[(triangles >= 0).all(1)].int(),
        "landmarks": number_in_the_model[shapes.landmarks].int(),
    }
    wide = {
        name: tensor.float() if tensor.is_floating_point() else tensor.long()
        for name, tensor in tensors.items()
    }
    MorphableModel(wide, "face")  # refuses what is no face model, before anything is written
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

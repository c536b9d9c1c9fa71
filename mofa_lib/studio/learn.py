"""Learns the face model from freshly drawn people: exemplars, Procrustes, PCA, as in chapter 3.

    python -m mofa_lib.studio.learn

Its people come to no photograph: they have a chance of their own.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mofa_lib.artifacts import save_tensors
from mofa_lib.model_files import DEFAULT_MODEL
from mofa_lib.morphable import MorphableModel, principal_components
from mofa_lib.studio.atlas import texture_at_vertices
from mofa_lib.studio.hair import hair_colour
from mofa_lib.studio.heads import HeadShapes
from mofa_lib.studio.looks import load_looks
from mofa_lib.studio.skin import SkinPainter

SEED = 2026
EXEMPLARS = 1000


def learn(path: Path = DEFAULT_MODEL, count: int = EXEMPLARS) -> None:
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
        "command": "python -m mofa_lib.studio.learn",
        "seed": SEED,
        "exemplars": count,
    }
    save_tensors(path, tensors, metadata)


def learnt(
    neutrals: list[Tensor], expressions: list[Tensor], skins: list[Tensor], shapes: HeadShapes
) -> dict[str, Tensor]:
    """The tensors of a morphable model, its bases as float16, from as many exemplars.

    Args:
        neutrals, expressions, skins: at the vertices of the model, (V, 3) each.
    Raises:
        ValueError: they make no morphable model.
    """
    # z = 0 is the mean neutral face: the mean of the expressions stays out.
    mean_shape, shape_basis = principal_components(torch.stack(neutrals), 80)
    _, expression_basis = principal_components(torch.stack(expressions), 64)
    mean_appearance, appearance_basis = principal_components(torch.stack(skins), 80)

    # What number a vertex of the head has in the model; −1 where it has none.
    number = torch.full((len(shapes.mean),), -1, dtype=torch.long)
    number[shapes.model_vertices] = torch.arange(len(shapes.model_vertices))
    triangles = number[shapes.triangles]
    tensors = {
        "mean_shape": mean_shape - mean_shape.mean(0),
        "shape_basis": shape_basis.half(),
        "expression_basis": expression_basis.half(),
        "mean_appearance": mean_appearance,
        "appearance_basis": appearance_basis.half(),
        "faces": triangles[(triangles >= 0).all(1)].int(),
        "landmarks": number[shapes.landmarks].int(),
    }
    wide = {
        name: tensor.float() if tensor.is_floating_point() else tensor.long()
        for name, tensor in tensors.items()
    }
    MorphableModel(wide, "learnt")  # refuses what is no morphable model
    return tensors


def main(arguments: list[str] | None = None) -> None:
    """The command line, see the module."""
    argparse.ArgumentParser(prog="python -m mofa_lib.studio.learn").parse_args(arguments)
    learn()


if __name__ == "__main__":
    main()

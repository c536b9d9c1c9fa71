"""Four triangles from one: a face model made fine. See the guide to other face models."""

import torch
from scipy import sparse
from torch import Tensor

from mofa_lib.mesh import butterfly
from mofa_lib.morphable import TENSORS, MorphableModel


def subdivided(model: MorphableModel) -> MorphableModel:
    """The model with a vertex more on every edge: four times the triangles, and a rounder surface.

    The old vertices keep their numbers and places, so landmarks and errors in mm stay comparable.
    The new ones are fixed combinations of old ones, so mean and bases are interpolated alike, and a
    code means the same face as before. How they combine is the butterfly scheme, at borders the
    midpoint. The result is on the CPU.

    Source: Dyn, Levin and Gregory 1990; see the guide to other face models.
    """
    weights, triangles = butterfly(model.faces.cpu().numpy(), len(model.mean_shape))
    tensors = {"faces": torch.from_numpy(triangles), "landmarks": model.landmarks.cpu().clone()}
    for key in TENSORS:
        if key not in tensors:
            tensors[key] = _interpolated(weights, getattr(model, key))
    return MorphableModel(tensors, f"{model.name}-fine")


def _interpolated(weights: sparse.csr_matrix, values: Tensor) -> Tensor:
    """A tensor of the model, one row a vertex, for the fine vertices."""
    fine = weights @ values.cpu().flatten(1).numpy()
    return torch.from_numpy(fine).reshape(len(fine), *values.shape[1:])

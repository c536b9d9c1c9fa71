"""Four triangles from one: the fine variant of a face model. Derived in chapter 3."""

import numpy as np
import torch
from scipy import sparse

from mofa_lib.morphable import MorphableModel


def subdivided(model: MorphableModel) -> MorphableModel:
    """The model with a vertex more on every edge: four times the triangles, and a rounder surface.

    The old vertices keep their numbers and places, so landmarks and errors in mm stay comparable. The new ones are
    fixed combinations of old ones, so mean and bases are interpolated alike, and a code means the same face as before.

    Source: the butterfly scheme, Dyn, Levin and Gregory 1990; at borders the midpoint. Derived in chapter 3.
    """
    weights, faces = butterfly(model.faces.numpy(), len(model.mean_shape))
    tensors = {"faces": torch.from_numpy(faces), "landmarks": model.landmarks}
    for key in ("mean_shape", "shape_basis", "expression_basis", "mean_appearance", "appearance_basis"):
        values = getattr(model, key)
        fine = weights @ values.flatten(1).numpy() if values.numel() else np.zeros((weights.shape[0], 0), np.float32)
        tensors[key] = torch.from_numpy(fine).reshape(-1, *values.shape[1:])
    return MorphableModel(tensors, f"{model.name}-fine")


def butterfly(faces: np.ndarray, vertices: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """The matrix (W, V) that makes the fine vertices from the coarse ones, and the fine triangles (4F, 3).

    A new vertex takes 1/2 from each end of its edge, 1/8 from each of the two vertices opposite it, and −1/16 from the
    four vertices opposite the edges around.
    """
    sides = faces[:, [[0, 1], [1, 2], [2, 0]]]
    edges, which = np.unique(np.sort(sides.reshape(-1, 2), 1), axis=0, return_inverse=True)
    which = which.reshape(-1, 3)
    # The triangles on both sides of each edge, and the vertex opposite it in each; −1 where there is none.
    opposite = np.full((len(edges), 2), -1)
    beside = np.full((len(edges), 2), -1)
    for k in range(3):
        for triangle, edge in enumerate(which[:, k]):
            side = int(beside[edge, 0] >= 0)
            beside[edge, side], opposite[edge, side] = triangle, faces[triangle, k - 1]
    rows, columns, values = [], [], []

    def add(row, column, value):
        rows.append(row)
        columns.append(column)
        values.append(np.full(len(row), value))

    number = np.arange(len(edges))
    inner = number[(beside >= 0).all(1)]
    wings = _wings(which, opposite, beside, inner)
    whole = (wings >= 0).all(1)
    inner, wings = inner[whole], wings[whole]
    for end in range(2):
        add(number, edges[:, end], 0.5)
        add(inner, opposite[inner, end], 0.125)
    for wing in range(4):
        add(inner, wings[:, wing], -0.0625)
    odd = sparse.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (len(edges), vertices)
    )
    a, b, c = faces.T
    ab, bc, ca = (which + vertices).T
    fine = [np.stack(t, 1) for t in [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]]
    return sparse.vstack([sparse.identity(vertices), odd]).tocsr().astype(np.float32), np.concatenate(fine)


def _wings(which: np.ndarray, opposite: np.ndarray, beside: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """For each inner edge the vertices across the four other edges of its two triangles; −1 beyond a border."""
    wings = []
    for side in range(2):
        triangle = beside[inner, side]
        others = which[triangle]
        others = others[others != inner[:, None]].reshape(-1, 2)
        for k in range(2):
            across = np.where(beside[others[:, k], 0] == triangle, 1, 0)
            wings.append(opposite[others[:, k], across])
    return np.stack(wings, 1)

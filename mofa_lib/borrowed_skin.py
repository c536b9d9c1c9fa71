"""The skin of one face model for another that has none. Used in chapter 3.

Letters in the shapes: V vertices of the model without skin, W of the one that lends it.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.interpolate import RBFInterpolator
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from mofa_lib.faces import LEFT_EYE, RIGHT_EYE
from mofa_lib.mesh import vertex_normals
from mofa_lib.morphable import MorphableModel
from mofa_lib.surfaces import Places, nearest_places

NEAR_AN_EYE = 30.0  # mm from the middle of its landmarks: what hangs together there is an eyeball


def borrowed_skin(
    lender: MorphableModel,
    mean_shape: Float[Tensor, "V 3"],
    triangles: Int[Tensor, "F 3"],
    landmarks: Int[Tensor, "68"],
) -> dict[str, Tensor]:
    """Mean and basis of the appearance, for a model that has a shape alone.

    The mean face is bent until its landmarks lie on the lender's, and every vertex takes the colour
    of the nearest place there that looks the same way. On an eyeball, it is the place in the same
    direction from the middle, so that irises come to lie on irises.

    Args:
        lender: has the skin.
        mean_shape, triangles, landmarks: of the model without skin; mm, counter-clockwise from
            outside.
    """
    theirs, ours = mean_shape.double().numpy(), lender.mean_shape.double().numpy()
    their_triangles, our_triangles = triangles.numpy(), lender.faces.numpy()
    their_marks, our_marks = theirs[landmarks.numpy()], ours[lender.landmarks.numpy()]
    # Smoothed by a millimetre: of two landmarks at one vertex neither can be hit.
    bend = RBFInterpolator(their_marks, our_marks, smoothing=1, kernel="linear", degree=1)
    normals = vertex_normals(mean_shape[None], triangles)[0].double().numpy()  # (V, 3)

    their_parts = parts_of(theirs, their_triangles, their_marks)  # (V,)
    our_parts = parts_of(ours, our_triangles, our_marks)  # (W,)
    values = torch.cat([lender.mean_appearance[..., None], lender.appearance_basis], 2).numpy()
    skin = np.empty((len(theirs), *values.shape[1:]), values.dtype)  # (V, 3, 1 + B)
    for part in np.unique(their_parts):
        here = their_parts == part
        there = part if (our_parts == part).any() else 0
        surface = our_triangles[(our_parts[our_triangles] == there).all(1)]
        if there:
            places = _same_directions(theirs[here], ours, surface)
        else:
            places = nearest_places(bend(theirs[here]), ours, surface, normals[here])
        skin[here] = places.read(values)
    mean, basis = torch.from_numpy(skin).split([1, skin.shape[2] - 1], 2)
    return {"mean_appearance": mean[..., 0].clone(), "appearance_basis": basis.clone()}


def parts_of(vertices: np.ndarray, triangles: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Whether each vertex is of the skin, 0, or of the left or the right eyeball, 1 or 2.

    Args:
        vertices, triangles: of a mean face, (V, 3) in mm and (F, 3).
        marks: its 68 landmarks, (68, 3).
    Returns:
        (V,).
    """
    sides = np.concatenate([triangles[:, :2], triangles[:, 1:]])
    joined = coo_matrix((np.ones(len(sides)), sides.T), (len(vertices), len(vertices)))
    _, piece = connected_components(joined, directed=False)  # (V,)
    size = np.bincount(piece)  # (P,)
    centres = np.stack([np.bincount(piece, axis) / size for axis in vertices.T], 1)  # (P, 3)
    eyes = np.stack([marks[LEFT_EYE].mean(0), marks[RIGHT_EYE].mean(0)])
    away = np.linalg.norm(centres[:, None] - eyes, axis=2)  # (P, 2)
    is_eyeball = (away.min(1) < NEAR_AN_EYE) & (np.arange(len(size)) != size.argmax())
    return np.where(is_eyeball, 1 + away.argmin(1), 0)[piece]


def _same_directions(points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> Places:
    """Where the rays from the middle of one eyeball through its points meet another eyeball."""
    there = np.unique(triangles)
    directions = np.zeros_like(vertices)
    directions[there] = _directions(vertices[there])
    return nearest_places(_directions(points), directions, triangles)


def _directions(points: np.ndarray) -> np.ndarray:
    """Unit vectors to points from the middle of the sphere that fits them best."""
    lines = np.column_stack([2 * points, np.ones(len(points))])
    middle = np.linalg.lstsq(lines, (points**2).sum(1), rcond=None)[0][:3]
    away = points - middle
    return away / np.linalg.norm(away, axis=1, keepdims=True)

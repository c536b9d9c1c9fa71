"""What follows from a mesh alone: where its surface looks, and a finer mesh.

Letters in the shapes: V vertices, F triangles, E edges, I inner edges: those with a triangle
on each side. Derived in chapters 3 and 4.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from mofa_lib.inputs import takes_arrays


@takes_arrays
def vertex_normals(
    vertices: Float[Tensor, "B V 3"], triangles: Int[Tensor, "F 3"]
) -> Float[Tensor, "B V 3"]:
    """Unit normals: the area-weighted mean of the triangles around each vertex.

    Counter-clockwise triangles, seen from outside, have outward normals.
    """
    batch, count, _ = vertices.shape
    planes = vertices.transpose(1, 2).reshape(3 * batch, count)  # (3B, V)
    corners = triangles.T.contiguous()  # (3, F)
    a, b, c = (
        planes.index_select(1, corner).view(batch, 3, len(triangles)) for corner in corners
    )  # (B, 3, F)

    # The cross product of two edges is as long as twice the area: the weights come by themselves.
    ux, uy, uz = (b - a).unbind(1)  # (B, F) each
    vx, vy, vz = (c - a).unbind(1)
    cross = torch.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], 1)  # (B, 3, F)
    around = torch.zeros_like(planes)  # (3B, V)
    for corner in corners:
        around.index_add_(1, corner, cross.flatten(0, 1))

    x, y, z = around.view(batch, 3, count).unbind(1)
    length = (x * x + y * y + z * z + 1e-24).sqrt()  # never 0, where the root has no derivative
    return torch.stack([x / length, y / length, z / length]).movedim(0, -1)  # (B, V, 3)


def butterfly(faces: np.ndarray, vertices: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """The matrix that makes the fine vertices from the coarse ones, and the fine triangles.

    A new vertex takes 1/2 from each end of its edge, 1/8 from each of the two vertices opposite it,
    and −1/16 from the four vertices opposite the edges around. Where one of these is missing, near
    a border, it takes only the two halves.

    Args:
        faces: vertices of each coarse triangle, whole numbers (F, 3).
        vertices: how many there are, V.
    Returns:
        The matrix, (V + E, V), and the triangles, (4F, 3). The V coarse vertices come first, then
        one on each of the E edges.
    Source: Dyn, Levin and Gregory 1990.
    """
    edges, edge_of_side = _edges(faces)  # (E, 2), (F, 3)
    beside, opposite = _neighbours(faces, edge_of_side, len(edges))  # (E, 2) each
    inner = np.flatnonzero((beside >= 0).all(1))  # (I,)
    wings = _wings(edge_of_side, beside, opposite, inner)  # (I, 4)
    whole = (wings >= 0).all(1)
    inner, wings = inner[whole], wings[whole]  # only where none of them is beyond a border

    every = np.arange(len(edges))  # (E,)
    terms = []  # the new vertex of an edge, an old vertex, its weight
    for end in range(2):
        terms.append((every, edges[:, end], 1 / 2))
        terms.append((inner, opposite[inner, end], 1 / 8))
    for wing in range(4):
        terms.append((inner, wings[:, wing], -1 / 16))
    rows = np.concatenate([row for row, _, _ in terms])
    columns = np.concatenate([column for _, column, _ in terms])
    values = np.concatenate([np.full(len(row), weight) for row, _, weight in terms])

    new = sparse.coo_matrix((values, (rows, columns)), (len(edges), vertices))  # (E, V)
    weights = sparse.vstack([sparse.identity(vertices), new])  # (V + E, V)
    triangles = _quarters(faces, edge_of_side + vertices)  # (4F, 3)
    return weights.tocsr().astype(np.float32), triangles


def _edges(triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two ends of every edge, (E, 2), and the edge that is each side of a triangle, (F, 3).

    The sides run from corner 0 to 1, 1 to 2 and 2 to 0.
    """
    sides = triangles[:, [[0, 1], [1, 2], [2, 0]]]  # (F, 3, 2)
    ends = np.sort(sides.reshape(-1, 2), 1)  # (3F, 2): a side is the same from either triangle
    edges, edge_of_side = np.unique(ends, axis=0, return_inverse=True)
    return edges, edge_of_side.reshape(-1, 3)


def _neighbours(
    triangles: np.ndarray, edge_of_side: np.ndarray, edges: int
) -> tuple[np.ndarray, np.ndarray]:
    """The triangles on both sides of each edge, and in each the vertex opposite: both (E, 2).

    −1 where there is none.
    """
    beside = np.full((edges, 2), -1)
    opposite = np.full((edges, 2), -1)
    for side in range(3):
        for triangle, edge in enumerate(edge_of_side[:, side]):
            place = int(beside[edge, 0] >= 0)  # 0 for the first triangle of an edge, then 1
            beside[edge, place] = triangle
            opposite[edge, place] = triangles[triangle, side - 1]  # the corner not on this side
    return beside, opposite


def _wings(
    edge_of_side: np.ndarray, beside: np.ndarray, opposite: np.ndarray, inner: np.ndarray
) -> np.ndarray:
    """For each inner edge the vertices across the four other edges of its two triangles, (I, 4).

    −1 beyond a border.
    """
    wings = []
    for place in range(2):
        triangle = beside[inner, place]  # (I,)
        sides = edge_of_side[triangle]  # (I, 3)
        others = sides[sides != inner[:, None]].reshape(-1, 2)  # (I, 2)
        for edge in others.T:
            across = np.where(beside[edge, 0] == triangle, 1, 0)  # the place of the other triangle
            wings.append(opposite[edge, across])
    return np.stack(wings, 1)


def _quarters(triangles: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """Four triangles from each, (4F, 3), given the new vertex on each side of it, (F, 3)."""
    a, b, c = triangles.T  # (F,) each
    ab, bc, ca = middles.T
    at_a = np.stack([a, ab, ca], 1)  # (F, 3)
    at_b = np.stack([ab, b, bc], 1)
    at_c = np.stack([ca, bc, c], 1)
    middle = np.stack([ab, bc, ca], 1)
    return np.concatenate([at_a, at_b, at_c, middle])

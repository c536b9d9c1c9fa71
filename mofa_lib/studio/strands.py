"""Surfaces that one can look through, with strands on them: hair, beards, lashes.

*Cards* are sheets with a picture of strands. *Shells* are copies of the skin, one over the other;
of each hair a shell shows the point in which the hair pierces it.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from scipy.spatial import cKDTree
from torch import Tensor

from mofa_lib.mesh import vertex_normals
from mofa_lib.studio.heads import HeadShapes
from mofa_lib.studio.looks import Sheet

NEIGHBOURS = 12  # vertices of the head that a point of a card follows
REACH = 3.0  # mm, beyond the nearest of them


@dataclass(frozen=True)
class Strands:
    """Surfaces of one person with strands on them.

    Attributes:
        points: mm, with a neutral face.
        normals: unit vectors, away from the head.
        follow: how the points move with the vertices of the head, (A, H).
        triangles: front faces.
        places: of their corners in the page, in [0, 1] to the right and down.
        level: a corner is seen where the page is more opaque.
        colour: of each triangle, linear RGB.
        skin: 1 where a face model may explain what is seen, as lashes, 0 on hair.
        page: lightness and opacity of the strands, in [0, 1].
    """

    points: Float[Tensor, "A 3"]
    normals: Float[Tensor, "A 3"]
    follow: sparse.csr_matrix
    triangles: Int[Tensor, "T 3"]
    places: Float[Tensor, "T 3 2"]
    level: Float[Tensor, "T 3"]
    colour: Float[Tensor, "T 3"]
    skin: Float[Tensor, " T"]
    page: Float[Tensor, "2 R S"]

    @classmethod
    def joined(cls, parts: list["Strands"]) -> "Strands":
        """All surfaces in one, their pages side by side."""
        rows = max(part.page.shape[1] for part in parts)
        columns = sum(part.page.shape[2] for part in parts)
        page = torch.zeros(2, rows, columns)
        joined = {field.name: [] for field in fields(cls) if field.name != "page"}
        first = left = 0
        for part in parts:
            _, high, wide = part.page.shape
            page[:, :high, left : left + wide] = part.page
            places = part.places * torch.tensor([wide / columns, high / rows])
            moved = {
                "triangles": part.triangles + first,
                "places": places + torch.tensor([left / columns, 0]),
            }
            for name, values in joined.items():
                values.append(moved.get(name, getattr(part, name)))
            first, left = first + len(part.points), left + wide
        follow = sparse.vstack(joined.pop("follow")).tocsr()
        values = {name: torch.cat(parts) for name, parts in joined.items()}
        return cls(follow=follow, page=page, **values)

    def moved(self, by: Float[Tensor, "H 3"]) -> Float[Tensor, "A 3"]:
        """The points when the vertices of the head have moved, mm."""
        return self.points + torch.from_numpy(self.follow @ by.numpy())


def follow(points: Float[np.ndarray, "A 3"], shapes: HeadShapes) -> sparse.csr_matrix:
    """How points near the base head move with its vertices: those nearest most, (A, H)."""
    solid = np.flatnonzero((shapes.regions["eyes"] < 0.5) & (shapes.regions["mouth"] < 0.5))
    away, index = cKDTree(shapes.template.numpy()[solid]).query(points, NEIGHBOURS)
    weights = np.exp(-away / (REACH + away[:, :1])) + 1e-6
    weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    starts = np.arange(0, weights.size + 1, NEIGHBOURS)
    size = len(points), len(shapes.template)
    return sparse.csr_matrix((weights.ravel(), solid[index].ravel(), starts), size)


def cards(
    sheet: Sheet,
    points: Float[np.ndarray, "A 3"],
    normals: Float[np.ndarray, "A 3"],
    follow: sparse.csr_matrix,
    level: Float[Tensor, " A"],
    colour: Float[Tensor, "3"],
    skin: float,
) -> Strands:
    """A sheet, seen from both sides, at points that somebody may have moved."""
    triangles = torch.cat([sheet.triangles, sheet.triangles.flip(1)])
    return Strands(
        points=torch.from_numpy(points).float(),
        normals=torch.from_numpy(normals).float(),
        follow=follow,
        triangles=triangles,
        places=torch.cat([sheet.places, sheet.places.flip(1)]),
        level=level[triangles],
        colour=colour.expand(len(triangles), 3),
        skin=torch.full((len(triangles),), skin),
        page=sheet.strands,
    )


def outwards(
    points: Float[np.ndarray, "A 3"], triangles: Int[Tensor, "T 3"], centre: np.ndarray
) -> Float[np.ndarray, "A 3"]:
    """Normals of cards, turned away from the middle of the head, and evened by that direction."""
    normals = vertex_normals(torch.from_numpy(points)[None].float(), triangles)[0].numpy()
    away = points - centre
    away = away / np.linalg.norm(away, axis=1, keepdims=True).clip(1e-6)
    inwards = (normals * away).sum(1, keepdims=True) < 0
    even = np.where(inwards, -normals, normals) + away
    return even / np.linalg.norm(even, axis=1, keepdims=True).clip(1e-6)

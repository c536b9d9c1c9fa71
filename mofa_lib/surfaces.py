"""Nearest places on a surface, and what lies there. Used in chapter 3."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree
from trimesh.triangles import closest_point, points_to_barycentric

AWAY = 100.0  # mm that a surface which looks the other way counts as farther


@dataclass(frozen=True)
class Places:
    """Points on a surface, each inside a triangle or on its border.

    Attributes:
        corners: the three vertices of the triangle, (N, 3).
        weights: barycentric, (N, 3); they add up to 1.
        distance: from the points that were asked for, (N,).
    """

    corners: np.ndarray
    weights: np.ndarray
    distance: np.ndarray

    def read(self, values: np.ndarray) -> np.ndarray:
        """What has a value at every vertex, (V, …), at the places, (N, …)."""
        return np.einsum("nc,nc...->n...", self.weights, values[self.corners])


def nearest_places(
    points: np.ndarray,
    vertices: np.ndarray,
    triangles: np.ndarray,
    normals: np.ndarray | None = None,
    candidates: int = 24,
) -> Places:
    """For each point the nearest place on a surface of triangles about as large as each other.

    Args:
        points: (N, 3).
        vertices, triangles: of the surface, (V, 3) and (F, 3).
        normals: of the points, (N, 3), if only places that look the same way are meant.
        candidates: triangles with the nearest centroids, among which the nearest one is sought.
    Returns:
        The N places, in the order of the points.
    """
    corners = vertices[triangles]  # (F, 3, 3)
    count = min(candidates, len(triangles))
    _, near = KDTree(corners.mean(1)).query(points, count)  # (N, C)
    near = near.reshape(len(points), count)
    asked = np.repeat(points, count, 0)  # (NC, 3)
    found = closest_point(corners[near.reshape(-1)], asked)  # (NC, 3)
    distance = np.linalg.norm(found - asked, axis=1).reshape(near.shape)  # (N, C)

    farther = 0.0
    if normals is not None:
        a, b, c = np.moveaxis(corners[near], 2, 0)  # (N, C, 3) each
        looks = np.cross(b - a, c - a)  # (N, C, 3)
        farther = AWAY * (np.einsum("ncx,nx->nc", looks, normals) < 0)

    best = (distance + farther).argmin(1)  # (N,)
    row = np.arange(len(points))
    triangle = near[row, best]
    place = found.reshape(*near.shape, 3)[row, best]  # (N, 3)
    weights = points_to_barycentric(corners[triangle], place).clip(0, 1)
    return Places(triangles[triangle], weights / weights.sum(1, keepdims=True), distance[row, best])

"""Four triangles from one: old vertices stay, new ones lie nearer to the smooth surface than
midpoints do.
"""

import numpy as np
import pytest
import torch

from mofa_lib import FaceCode, FaceRenderer
from mofa_lib.mesh import butterfly, vertex_normals
from mofa_lib.morphable import MorphableModel
from mofa_lib.subdivision import subdivided


def torus(rings: int, sides: int) -> tuple[np.ndarray, np.ndarray]:
    """A regular closed mesh: six triangles around every vertex."""
    u, v = np.meshgrid(
        np.arange(rings) * 2 * np.pi / rings, np.arange(sides) * 2 * np.pi / sides, indexing="ij"
    )
    points = np.stack(
        [(3 + np.cos(v)) * np.cos(u), (3 + np.cos(v)) * np.sin(u), np.sin(v)], -1
    ).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(rings), np.arange(sides), indexing="ij")
    at = lambda a, b: ((a % rings) * sides + b % sides).ravel()  # noqa: E731
    a, b, c, d = at(i, j), at(i + 1, j), at(i, j + 1), at(i + 1, j + 1)
    return points, np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])


def off_the_torus(points: np.ndarray) -> float:
    return float(np.abs(np.hypot(np.hypot(points[:, 0], points[:, 1]) - 3, points[:, 2]) - 1).max())


def test_new_vertices_lie_near_the_smooth_surface():
    """Of fourth order: with half the edge length, a sixteenth of the distance; midpoints only fall
    to a quarter.
    """
    wrong = []
    for rings in (24, 48):
        points, faces = torus(rings, rings // 2)
        weights, _ = butterfly(faces, len(points))
        wrong.append(off_the_torus(weights @ points))
        midpoints = (points[faces] + points[np.roll(faces, 1, 1)]).reshape(-1, 3) / 2
        assert wrong[-1] < 0.3 * off_the_torus(midpoints)
    assert wrong[0] / wrong[1] > 10


def test_counts_and_orientation():
    points, faces = torus(12, 8)
    weights, fine = butterfly(faces, len(points))
    edges = 3 * len(faces) // 2
    assert weights.shape == (len(points) + edges, len(points)) and len(fine) == 4 * len(faces)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal((weights @ points)[: len(points)], points)

    def volume(p, f):
        return np.einsum("ij,ij->i", p[f[:, 0]], np.cross(p[f[:, 1]], p[f[:, 2]])).sum() / 6

    assert volume(weights @ points, fine) == pytest.approx(2 * np.pi**2 * 3, rel=0.15)
    assert np.sign(volume(weights @ points, fine)) == np.sign(volume(points, faces))


def test_at_a_border_new_vertices_are_midpoints():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 5]])
    weights, fine = butterfly(np.array([[0, 1, 2]]), 3)
    new = (weights @ points)[3:]
    expected = {(0.5, 0.0, 0.0), (0.5, 0.5, 2.5), (0.0, 0.5, 2.5)}
    assert {tuple(p) for p in new.tolist()} == expected and len(fine) == 4


def test_a_fine_face_is_the_same_face(model):
    """Same codes, same old vertices and landmarks, four times the triangles, a picture of the same
    face.
    """
    fine = subdivided(model)
    assert fine.sizes == model.sizes and len(fine.faces) == 4 * len(model.faces)
    z = torch.randn(2, 257, generator=torch.Generator().manual_seed(0)) * 0.5
    z[:, -33:] *= 0.1
    coarse_code, fine_code = FaceCode.from_vector(z, model), FaceCode.from_vector(z, fine)
    count = len(model.mean_shape)
    old = fine.vertices(fine_code.shape, fine_code.expression)[:, :count]
    torch.testing.assert_close(
        old, model.vertices(coarse_code.shape, coarse_code.expression), atol=1e-3, rtol=0
    )
    one, two = FaceRenderer(model, 112)(coarse_code), FaceRenderer(fine, 112)(fine_code)
    torch.testing.assert_close(one.landmarks, two.landmarks, atol=1e-3, rtol=0)
    both = (one.mask * two.mask)[:, 0] > 0
    assert (one.mask != two.mask).float().mean() < 0.01
    assert (one.image - two.image).abs().mean(1)[both].mean() < 0.02


def test_a_fine_face_is_rounder(model):
    """Neighbouring triangles meet at smaller angles."""

    def angle(m):
        corners = m.mean_shape[m.faces]
        normals = torch.nn.functional.normalize(
            torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), dim=1
        )
        smooth = vertex_normals(m.mean_shape[None], m.faces)[0][m.faces].mean(1)
        return (
            (normals * torch.nn.functional.normalize(smooth, dim=1))
            .sum(1)
            .clamp(-1, 1)
            .acos()
            .median()
        )

    assert angle(subdivided(model)) < 0.65 * angle(model)


def test_a_model_without_colours_or_expressions_has_a_fine_variant_too(tiny_tensors):
    """As Basel 2009, which has no expressions: such a basis has no columns."""
    empty = torch.zeros(len(tiny_tensors["mean_shape"]), 3, 0)
    bare = MorphableModel(
        {**tiny_tensors, "expression_basis": empty, "appearance_basis": empty}, "bare"
    )
    fine = subdivided(bare)
    assert fine.sizes == (bare.sizes[0], 0, 0)
    assert fine.appearance_basis.shape == (len(fine.mean_shape), 3, 0)

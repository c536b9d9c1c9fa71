"""The measurement of how well a model's components explain heads, on heads of which one knows."""

import json

import numpy as np
import pytest
import scans
from scipy.spatial.transform import Rotation
from test_open_models import face, ict, meshes_are_read_once  # noqa: F401

from mofa_lib import load_morphable_model
from mofa_lib.mesh import vertex_normals
from mofa_lib.subdivision import subdivided


@pytest.fixture(scope="module")
def ours():
    return scans.ours("face")


def explained(model, head, shown):
    """What is left of one head that stands elsewhere."""
    turn = Rotation.from_euler("xyz", [0.2, -0.3, 0.1])
    moved = turn.apply(head) + [30.0, -20, 400]
    corners, weights = shown.points(scans.POINTS, np.random.default_rng(1))
    points = np.einsum("nc,nck->nk", weights, moved[corners])
    return model.explain(points, moved[shown.landmarks])


@pytest.mark.parametrize("components", [10, 80])
def test_a_head_of_some_components_is_explained_by_so_many(ours, components):
    alpha = np.zeros(80)
    alpha[:components] = np.random.default_rng(2).choice([-1.0, 1.0], components)
    model = load_morphable_model()
    left, size = explained(ours, ours.mean + model.shape_basis.double().numpy() @ alpha, ours)
    errors = dict(zip(scans.COUNTS, left, strict=True))
    assert errors[components] < 0.1 < 0.5 < errors[0]
    assert size == pytest.approx((components / 80) ** 0.5, rel=0.15)


def test_another_mesh_of_the_same_surface_is_explained(ours):
    """By the fine mesh one sees only the surface; its vertices have other numbers."""
    fine = subdivided(load_morphable_model())
    shown = scans.Model(fine.mean_shape, fine.shape_basis, fine.faces, fine.landmarks)
    alpha = np.random.default_rng(2).standard_normal(80)
    left, _ = explained(ours, shown.mean + fine.shape_basis.double().numpy() @ alpha, shown)
    assert left[-1] < 0.1


def test_a_dent_that_no_component_makes_is_left(ours):
    """A cheek pressed in by 4 mm, over a circle of 15 mm."""
    middle = ours.mean[ours.landmarks[4]] + [15, 20, 10]
    near = np.exp(-np.square((ours.mean - middle) / 15).sum(1))[:, None]
    normals = vertex_normals(ours.mean[None], ours.triangles)[0].numpy()
    left, _ = explained(ours, ours.mean - 4 * near * normals, ours)
    assert 0.05 < left[-1] < left[0] < 1


def test_points_are_even_and_of_the_face(ours):
    corners, weights = ours.points(4000, np.random.default_rng(0))
    points = np.einsum("nc,nck->nk", weights, ours.mean[corners])
    away = np.linalg.norm(points - ours.mean[ours.landmarks[30]], axis=1)
    assert away.max() < scans.RADIUS
    eyeballs = ours.mean[corners].reshape(-1, 3)
    for centre in ([-32, 31, 15], [30, 31, 14]):  # middles of the eyeballs, radius 16 mm
        on_a_ball = np.abs(np.linalg.norm(eyeballs - centre, axis=1) - 16) < 0.2
        assert on_a_ball.mean() < 0.02
    halves = np.sort(points[:, 1])[[1000, 3000]]
    assert -40 < halves[0] < -10 < 10 < halves[1] < 50


def test_the_command_writes_what_it_measured(ict, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(scans, "COUNTS", (0, 80))
    monkeypatch.setattr(scans, "ROUNDS", 1)
    monkeypatch.setattr(scans, "POINTS", 200)
    scans.main([str(ict[0]), "--out", str(tmp_path), "--count", "2", "--few", "1"])
    result = json.loads((tmp_path / "scans.json").read_text())
    assert result["command"] == "python -m tests.scans FaceXModel --seed 0 --count 2 --few 1"
    assert result["n"] == 2 and str(tmp_path) not in json.dumps(result)
    found = result["data"]["explained"]
    assert {name: sorted(shown) for name, shown in found.items()} == {
        "face": ["face", "ict"],
        "ict": ["face", "ict"],
    }
    assert found["face"]["ict"]["n"] == 2 and found["ict"]["ict"]["n"] == 1
    for low, middle, high in ((row[1], row[0], row[2]) for row in found["face"]["ict"]["mm"]):
        assert 0 < low <= middle <= high
    assert len(found["face"]["ict"]["mm"]) == len(result["data"]["components"])

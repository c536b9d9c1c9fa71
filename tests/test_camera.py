"""Pose and perspective against scipy's rotations, a projection matrix and finite differences."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mofa_lib.camera import Camera, pose, rotation_matrix

ANGLES = np.random.default_rng(0).uniform(-3, 3, (20, 3))


def test_rotation_is_roll_after_yaw_after_pitch():
    found = rotation_matrix(torch.from_numpy(ANGLES))
    np.testing.assert_allclose(found, Rotation.from_euler("xyz", ANGLES).as_matrix(), atol=1e-12)


@pytest.mark.parametrize(
    ("angles", "direction", "axis", "sign"),
    [
        ((0.3, 0, 0), (0, 0, 1), 1, -1),  # positive pitch: the nose looks down
        ((0, 0.3, 0), (0, 0, 1), 0, 1),  # positive yaw: the nose turns to the viewer's right
        ((0, 0, 0.3), (0, 1, 0), 0, -1),  # positive roll: the top tips to the viewer's left
    ],
)
def test_signs_of_the_angles(angles, direction, axis, sign):
    moved = rotation_matrix(torch.tensor([angles])) @ torch.tensor(direction).float()
    assert sign * moved[0, axis] > 0.2


def test_pose_rotates_about_the_origin_and_then_moves():
    rng = np.random.default_rng(1)
    points, shift = rng.normal(size=(20, 5, 3)), rng.normal(size=(20, 3))
    found = pose(*map(torch.from_numpy, (points, ANGLES, shift)))
    rotations = Rotation.from_euler("xyz", ANGLES)
    for i in range(20):
        np.testing.assert_allclose(found[i], rotations[i].apply(points[i]) + shift[i], atol=1e-12)


@pytest.mark.parametrize(
    ("point", "pixel"),
    [
        ((0, 0, 0), (50, 50, 1000)),
        ((125, 0, 0), (100, 50, 1000)),  # half a width is distance / focal = 125 mm
        ((0, 125, 0), (50, 0, 1000)),  # up is toward row 0
        ((0, -125, 0), (50, 100, 1000)),
        ((62.5, 0, 500), (100, 50, 500)),  # twice as near, twice as large
    ],
)
def test_where_points_land(point, pixel):
    found = Camera().project(torch.tensor([[point]]).float(), 100)
    torch.testing.assert_close(found, torch.tensor([[pixel]]).float())


def test_projection_is_a_pinhole_s_matrix():
    camera, size = Camera(focal=3.0, distance=700.0), 64
    points = np.random.default_rng(2).uniform(-100, 100, (1, 9, 3))
    half = size / 2
    matrix = np.array(
        [
            [camera.focal * half, 0, -half, half * camera.distance],
            [0, -camera.focal * half, -half, half * camera.distance],
            [0, 0, -1, camera.distance],
        ]
    )
    x, y, w = matrix @ np.vstack([points[0].T, np.ones(9)])
    found = camera.project(torch.from_numpy(points), size)[0]
    np.testing.assert_allclose(found, np.stack([x / w, y / w, w], 1), rtol=1e-12)


def test_gradients():
    rng = np.random.default_rng(3)
    inputs = [
        torch.from_numpy(a).requires_grad_()
        for a in (rng.normal(0, 50, (2, 4, 3)), ANGLES[:2], ANGLES[2:4])
    ]
    assert torch.autograd.gradcheck(lambda *given: Camera().project(pose(*given), 10), inputs)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 2, 3)])
def test_wrong_angles_are_refused(unchecked, shape):
    with pytest.raises(ValueError, match=r"\(pitch, yaw, roll\) with shape \(B, 3\), got"):
        rotation_matrix(torch.zeros(shape))

"""What people wear sits where it belongs on their own heads."""

import numpy as np
import pytest
import torch

from mofa_lib.studio.atlas import CLOTH, COLUMNS, ROWS
from mofa_lib.studio.garments import PARTS, grid_surface
from mofa_lib.studio.wardrobe import Wardrobe


@pytest.fixture(scope="module")
def dressed(shapes):
    """Heads with the parts that they wear, and the name of their glasses."""
    wardrobe = Wardrobe(shapes)
    people = []
    for seed in range(120):
        rng = np.random.default_rng([13, seed])
        head = shapes.head(rng)
        people.append((head, *wardrobe.dress(head, rng)))
    return people


def test_a_grid_is_seen_from_both_sides():
    faces, places = grid_surface(4, 3, CLOTH)
    right, up = np.meshgrid(np.arange(4.0), np.arange(3.0), indexing="ij")
    points = (
        torch.from_numpy(np.stack([right, -up, 0 * up], -1).reshape(-1, 3)).float().repeat(2, 1)
    )
    a, b, c = (points[faces[:, k]] for k in range(3))
    normals, half = torch.linalg.cross(b - a, c - a), len(faces) // 2
    torch.testing.assert_close(normals[half:], -normals[:half])
    assert half == 2 * 3 * 2 and faces.max() == 2 * 4 * 3 - 1
    assert faces[:half].max() < 12 <= faces[half:].min()  # each side has its own vertices
    texels = places * torch.tensor([COLUMNS, ROWS])
    torch.testing.assert_close(
        texels[:half], texels[half:].flip(1)
    )  # both show the same piece of the patch
    down, across = CLOTH
    assert across.start < texels[..., 0].min() and texels[..., 0].max() < across.stop
    assert down.start < texels[..., 1].min() and texels[..., 1].max() < down.stop


def test_every_part_has_the_points_of_its_grid(dressed):
    seen = set()
    for _, parts, _ in dressed:
        for name, points in parts.items():
            (rows, columns), _ = PARTS[name]
            assert points.shape == (rows * columns, 3) and np.isfinite(points).all()
        seen |= set(parts)
    assert seen == set(PARTS)  # everything is worn by somebody


def test_the_name_of_the_glasses_says_what_is_worn(dressed):
    for _, parts, glasses in dressed:
        assert ("bridge" in parts) == (glasses != "")
        assert ("right lens" in parts) == (glasses == "sunglasses")


def test_glasses_sit_before_the_eyes_of_their_wearer(dressed, shapes):
    wearers = [(head, parts) for head, parts, glasses in dressed if glasses]
    assert 10 < len(wearers) < 60
    for head, parts in wearers:
        marks = head.neutral.numpy()[shapes.landmarks.numpy()]
        for side, eye in (("left", marks[36:42]), ("right", marks[42:48])):
            rim = parts[f"{side} rim"]
            assert rim[:, 0].min() < eye[:, 0].min() + 4 and eye[:, 0].max() - 4 < rim[:, 0].max()
            assert rim[:, 1].min() < eye[:, 1].mean() < rim[:, 1].max()
            assert rim[:, 2].max() > eye[:, 2].max()


def test_hardly_a_rim_cuts_into_a_face(dressed, shapes):
    """Its points lie before the vertices of the head that are nearest in the picture."""
    before = []
    for head, parts, glasses in dressed:
        if glasses:
            front = head.neutral.numpy()[head.neutral[:, 2].numpy() > 0]
            rims = np.concatenate([parts["left rim"], parts["right rim"]])
            away = np.linalg.norm(rims[:, None, :2] - front[None, :, :2], axis=2)  # (P, H)
            before.append((rims[:, 2] - front[away.argmin(1), 2]).min())  # mm
    assert np.mean(np.array(before) > 0) > 0.8 and min(before) > -5


def test_teeth_are_behind_the_lips(dressed, shapes):
    for head, parts, _ in dressed[:20]:
        marks = head.neutral.numpy()[shapes.landmarks.numpy()]
        teeth = parts["teeth"]
        assert teeth[:, 2].max() < marks[62, 2] - 5
        assert marks[48, 0] < teeth[:, 0].min() and teeth[:, 0].max() < marks[54, 0]


def test_no_neck_ends_above_its_collar(dressed):
    for head, parts, _ in dressed:
        assert parts["collar"][:, 1].max() > float(head.neutral[:, 1].min())

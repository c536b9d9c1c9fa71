"""What people wear sits where it belongs on their own heads."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mofa_lib.studio.atlas import COLUMNS, HAIR, ROWS
from mofa_lib.studio.garments import GLASSES, PARTS, grid_surface
from mofa_lib.studio.wardrobe import Wardrobe

HAIR_COLOUR = np.array([0.2, 0.1, 0.05])


@pytest.fixture(scope="module")
def dressed(shapes):
    """Heads with their outfits."""
    wardrobe = Wardrobe(shapes)
    people = []
    for seed in range(120):
        rng = np.random.default_rng([13, seed])
        head = shapes.head(rng)
        people.append((head, wardrobe.dress(head, HAIR_COLOUR, rng)))
    return people


def test_a_grid_is_seen_from_both_sides():
    faces, places = grid_surface(4, 3, HAIR)
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
    down, across = HAIR
    assert across.start < texels[..., 0].min() and texels[..., 0].max() < across.stop
    assert down.start < texels[..., 1].min() and texels[..., 1].max() < down.stop


def test_every_part_has_the_points_of_its_grid(dressed):
    seen = set()
    for _, outfit in dressed:
        for name, points in outfit.parts.items():
            (rows, columns), _ = PARTS[name]
            assert points.shape == (rows * columns, 3) and np.isfinite(points).all()
        seen |= set(outfit.parts)
    assert seen == set(PARTS)  # everything is worn by somebody


def test_glasses_sit_before_the_eyes_of_their_wearer(dressed, shapes):
    wearers = [(head, outfit) for head, outfit in dressed if outfit.attributes["glasses"]]
    assert 10 < len(wearers) < 60
    for head, outfit in wearers:
        marks = head.neutral.numpy()[shapes.landmarks.numpy()]
        assert set(GLASSES) <= set(outfit.parts)
        for side, eye in (("left", marks[36:42]), ("right", marks[42:48])):
            rim = outfit.parts[f"{side} rim"]
            assert rim[:, 0].min() < eye[:, 0].min() + 4 and eye[:, 0].max() - 4 < rim[:, 0].max()
            assert rim[:, 1].min() < eye[:, 1].mean() < rim[:, 1].max()
            assert rim[:, 2].max() > eye[:, 2].max()


def test_teeth_are_behind_the_lips(dressed, shapes):
    for head, outfit in dressed[:20]:
        marks = head.neutral.numpy()[shapes.landmarks.numpy()]
        teeth = outfit.parts["teeth"]
        assert teeth[:, 2].max() < marks[62, 2] - 5
        assert marks[48, 0] < teeth[:, 0].min() and teeth[:, 0].max() < marks[54, 0]


def test_hair_grows_on_the_scalp_and_leaves_the_face_free(dressed, shapes):
    points, face = shapes.mean.numpy(), shapes.regions["face"].numpy() > 0.5
    below_brows = face & (points[:, 1] < 40)
    for _, outfit in dressed:
        assert (outfit.thickness >= 0).all() and outfit.thickness.max() < 90
        assert (
            outfit.hair[below_brows].mean() < 0.02
            and outfit.hat[below_brows & (points[:, 2] > 25)].max() < 0.1
        )
        assert outfit.thickness[below_brows & (points[:, 2] > 25)].max() < 0.5
    kinds = [outfit.thickness.max() for _, outfit in dressed]
    assert min(kinds) == 0 and max(kinds) > 15


def test_attributes_say_what_is_worn(dressed):
    for _, outfit in dressed:
        assert outfit.attributes == {
            "glasses": float("bridge" in outfit.parts),
            "sunglasses": float("right lens" in outfit.parts),
            "hat": float((outfit.hat > 0.5).any()),
            "long_hair": float("curtain" in outfit.parts),
        }
    assert 3 < sum(outfit.attributes["hat"] for _, outfit in dressed) < 40
    assert not any(
        {"scarf", "curtain"} <= set(outfit.parts) for _, outfit in dressed
    )  # a scarf hides the hair


def test_a_person_without_an_outfit_keeps_the_teeth(dressed):
    bare = dressed[0][1].nothing()
    assert (
        set(bare.parts) == {"teeth"}
        and not bare.thickness.any()
        and not bare.hair.any()
        and not bare.hat.any()
    )
    assert replace(bare, parts={}).attributes["glasses"] == 0

"""Photographs: deterministic, aligned, landmarks where they belong, one person in different light."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.transform import SimilarityTransform

from mofa_lib import studio as studio_module
from mofa_lib.alignment import five_point_template, five_points
from mofa_lib.atlas import COLUMNS, HAIR, ROWS
from mofa_lib.studio import SUPERSAMPLING, Studio, _background, _camera_faults

SIZE = 64


@pytest.fixture(scope="module")
def studio():
    return Studio()


@pytest.fixture(scope="module")
def people(studio):
    return [studio.person(np.random.default_rng(seed)) for seed in range(4)]


def rngs(*seeds):
    return [np.random.default_rng([9, seed]) for seed in seeds]


def shoot(studio, person, *seeds, size=SIZE):
    return studio.photograph(person, rngs(*seeds), five_point_template(size), size)


def test_a_seed_is_a_photograph(studio, people):
    """Also when it is taken among others."""
    images, landmarks = shoot(studio, people[0], 1, 2, 3)
    again, again_landmarks = shoot(studio, people[0], 2)
    assert images.shape == (3, 3, SIZE, SIZE) and images.dtype == torch.uint8
    assert (images[1].int() - again[0].int()).abs().max() <= 1
    torch.testing.assert_close(landmarks[1], again_landmarks[0], atol=1e-3, rtol=0)
    assert (images[0].float() - images[1].float()).abs().mean() > 5


def test_photographs_are_aligned_up_to_a_detector_s_errors(studio, people):
    """The five points lie near the template; what remains is noise and pose, not scale, turn or shift."""
    template = five_point_template(SIZE)
    for person in people:
        _, landmarks = shoot(studio, person, *range(6))
        for marks in landmarks:
            found = five_points(marks)
            assert (found - template).norm(dim=1).mean() < 0.06 * SIZE
            left_over = SimilarityTransform.from_estimate(found.numpy(), template.numpy())
            assert abs(left_over.scale - 1) < 0.12 and abs(left_over.rotation) < 0.12


@pytest.mark.parametrize("mark", [30, 8, 48, 54])
def test_landmarks_are_where_the_picture_shows_them(studio, people, mark):
    """Two photographs that differ only in the colour around one landmark differ around that landmark."""
    person = people[1]
    texels = studio.painter.atlas.texels
    vertex = studio.shapes.mean.numpy()[int(studio.shapes.landmarks[mark])]
    spot = texels[np.linalg.norm(studio.painter.atlas.points - vertex, axis=1) < 7]
    pictures = []
    for colour in (0.0, 1.0):
        texture = person.texture.clone()
        texture.flatten(1)[:3, spot] = colour
        images, landmarks = shoot(studio, replace(person, texture=texture, long_hair=False), 0, 1, 2, size=112)
        pictures.append(images.float())
    change = (pictures[1] - pictures[0]).abs().mean(1)
    change = change * (change > 20)  # what JPEG changes elsewhere is less
    grid = torch.arange(112) + 0.5
    weight = change.sum((1, 2))
    x, y = (change.sum(1) * grid).sum(1) / weight, (change.sum(2) * grid).sum(1) / weight
    torch.testing.assert_close(torch.stack([x, y], 1), landmarks[:, mark], atol=3.0, rtol=0)


def test_one_person_s_pictures_are_more_alike_in_shape_than_two_people_s(people):
    def apart(a, b):
        return float((a.head.neutral - b.head.neutral).norm(dim=1).mean())

    assert min(apart(a, b) for a in people for b in people if a is not b) > 1


def test_the_expression_of_a_photograph_is_known(studio, people):
    """`face` with a fresh copy of the photograph's generator gives the vertices behind the landmarks."""
    from scipy.optimize import least_squares

    from mofa_lib.camera import Camera, pose

    _, landmarks = shoot(studio, people[2], 5)
    vertices = studio.face(people[2], rngs(5)[0])[studio.shapes.landmarks].double()

    def misfit(parameters):
        turn, (size, *shift) = torch.from_numpy(parameters[:3])[None], parameters[3:]
        seen = Camera().project(pose(vertices[None], turn, torch.zeros(1, 3).double()), SIZE)[0, :, :2]
        return (size * seen + torch.tensor(shift) - landmarks[0]).flatten().numpy()

    fitted = least_squares(misfit, [0, 0, 0, 1, 0, 0])
    assert np.sqrt(np.mean(fitted.fun**2)) < 0.25  # pixels; a similarity in the picture may also turn it
    wrong = studio.face(people[2], rngs(6)[0])[studio.shapes.landmarks].double()
    vertices = wrong
    assert np.mean(least_squares(misfit, [0, 0, 0, 1, 0, 0]).fun ** 2) > 4 * np.mean(fitted.fun**2)


def test_sheets_are_seen_from_both_sides():
    points, faces, places = studio_module._sheet(
        np.linspace(-1, 1, 4), np.linspace(0, -10, 3), lambda y: 50 + 0 * y, 1.0, HAIR
    )
    a, b, c = (points[faces[:, k]] for k in range(3))
    normals = torch.linalg.cross(b - a, c - a)
    half = len(faces) // 2
    torch.testing.assert_close(normals[half:], -normals[:half], atol=1e-3, rtol=0)
    assert len(points) == 2 * 4 * 3 and faces.max() == len(points) - 1
    assert half == 2 * 3 * 2
    # Triangle by triangle, both sides show the same piece of the patch.
    texels = places * torch.tensor([COLUMNS, ROWS])
    torch.testing.assert_close(texels[:half], texels[half:].flip(1))
    down, right = HAIR
    assert right.start < texels[..., 0].min() and texels[..., 0].max() < right.stop
    assert down.start < texels[..., 1].min() and texels[..., 1].max() < down.stop
    order = points[faces[:half].flatten(), 1].argsort(descending=True)
    assert (texels[:half, :, 1].flatten()[order].diff() >= 0).all()  # high on the sheet is high in the patch


def test_backgrounds_and_camera_faults_stay_in_range():
    for seed in range(5):
        picture = _background(16, np.random.default_rng(seed))
        assert picture.shape == (16 * SUPERSAMPLING, 16 * SUPERSAMPLING, 3)
        assert 0 <= picture.min() and picture.max() <= 1
        pixels = _camera_faults(picture.permute(2, 0, 1), np.random.default_rng(seed))
        assert pixels.shape == (3, 32, 32) and pixels.dtype == torch.uint8
        wrong = (pixels.float() / 255 - picture.permute(2, 0, 1)).abs().mean()
        assert 0 < wrong < 0.2


def test_half_of_the_photographs_go_through_jpeg(monkeypatch):
    used, save = [], Image.Image.save
    monkeypatch.setattr(Image.Image, "save", lambda *a, **k: (used.append(k["quality"]), save(*a, **k)))
    for seed in range(60):
        _camera_faults(torch.full((3, 8, 8), 0.5), np.random.default_rng(seed))
    assert 15 < len(used) < 45 and 70 <= min(used) and max(used) <= 97

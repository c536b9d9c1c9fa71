"""Alignment by five points against skimage, and by looking where drawn dots end up."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.transform import SimilarityTransform

from mofa_lib import FaceCode, FaceRenderer
from mofa_lib.alignment import align_photo, align_points, five_point_template
from mofa_lib.faces import five_points
from mofa_lib.procrustes import similarity


def test_similarity_is_skimage_s():
    rng = np.random.default_rng(0)
    for _ in range(5):
        source, target = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
        turn, shift = similarity(torch.from_numpy(source), torch.from_numpy(target))
        expected = SimilarityTransform.from_estimate(source, target).params
        np.testing.assert_allclose(torch.cat([turn, shift[:, None]], 1), expected[:2], atol=1e-9)


def test_similarity_undoes_a_known_motion():
    source = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turn, shift = (
        torch.tensor([[0.6, -0.8], [0.8, 0.6]]).double() * 2.5,
        torch.tensor([7.0, -3.0]).double(),
    )
    found, moved = similarity(source, source @ turn.T + shift)
    torch.testing.assert_close(found, turn)
    torch.testing.assert_close(moved, shift)


def test_five_points_are_eyes_nose_and_mouth():
    marks = torch.randn(68, 2, generator=torch.Generator().manual_seed(1))
    expected = [
        marks[[36, 37, 38, 39, 40, 41]].mean(0),
        marks[[42, 43, 44, 45, 46, 47]].mean(0),
        *marks[[30, 48, 54]],
    ]
    torch.testing.assert_close(five_points(marks), torch.stack(expected))


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (0,)])
def test_five_points_of_many_faces_are_those_of_each(shape):
    marks = torch.randn(*shape, 68, 2, generator=torch.Generator().manual_seed(2))
    found = five_points(marks)
    assert found.shape == (*shape, 5, 2)
    for one, expected in zip(found.view(-1, 5, 2), marks.view(-1, 68, 2), strict=True):
        assert one.equal(five_points(expected))


def test_aligned_points_are_moved_as_skimage_moves_them():
    points = 50 * torch.randn(7, 5, 2, generator=torch.Generator().manual_seed(4)).double() + 90
    template = five_point_template(64).double().numpy()
    for one, found in zip(points.numpy(), align_points(points.float(), 64), strict=True):
        expected = SimilarityTransform.from_estimate(one, template)(one)
        np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("size", [32, 112])
def test_the_template_lies_on_the_rendered_mean_face(model, size):
    """Within little more than half a percent of the picture's side."""
    rendering = FaceRenderer(model, size)(FaceCode.mean(model))
    marks = five_points(rendering.landmarks[0])
    torch.testing.assert_close(five_point_template(size), marks, atol=0.006 * size, rtol=0)


def test_the_template_lies_upright_in_the_picture():
    right_eye, left_eye, nose, right_corner, left_corner = five_point_template(1).tolist()
    assert right_eye[0] < nose[0] < left_eye[0] and right_corner[0] < nose[0] < left_corner[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_corner[1], left_corner[1])
    assert abs(nose[0] - 0.5) < 0.02 and all(
        0 < v < 1 for point in five_point_template(1).tolist() for v in point
    )


@pytest.mark.parametrize(
    ("scale", "angle", "shift"),
    [(4.0, 0.0, (40, 30)), (2.5, 0.5, (150, 60)), (6.0, -0.3, (20, 190))],
)
def test_five_dots_of_a_photo_land_on_the_template(scale, angle, shift):
    """Soft dots, one after the other; the weights of its pixels say where each one went."""
    size, template = 64, five_point_template(64)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = template.numpy() @ turn.T + shift
    centres = np.arange(600) + 0.5
    grid = torch.arange(size) + 0.5
    for (x, y), expected in zip(points, template, strict=True):
        dot = np.exp(-0.5 * ((centres - x) ** 2 + (centres[:, None] - y) ** 2) / (1.5 * scale) ** 2)
        photo = Image.fromarray((255 * dot[..., None] * [1.0, 0.5, 0.0]).round().astype(np.uint8))
        aligned = align_photo(photo, torch.from_numpy(points), size)
        assert aligned.shape == (3, size, size)
        assert (255 * aligned - (255 * aligned).round()).abs().max() < 1e-4  # on the 8-bit grid
        red, green, blue = aligned
        assert red.max() > 0.9 and green.max() == pytest.approx(0.5, abs=0.06) and blue.max() == 0
        found = torch.stack([(red.sum(0) * grid).sum(), (red.sum(1) * grid).sum()]) / red.sum()
        torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


def test_a_photo_that_needs_nothing_stays_as_it_is():
    """Points that lie on the template already, and a smooth grey picture."""
    ramp = np.add.outer(np.arange(48), 2 * np.arange(48)).astype(np.uint8)
    aligned = align_photo(Image.fromarray(ramp), five_point_template(48), 48)
    inside = slice(2, -2)
    expected = torch.from_numpy(ramp)[inside, inside].float() / 255
    for channel in aligned:
        torch.testing.assert_close(channel[inside, inside], expected, atol=1.01 / 255, rtol=0)


@pytest.mark.parametrize(("scale", "left"), [(1.6, 0.05), (3.0, 0.06), (6.3, 0.002), (12.7, 0.002)])
def test_a_fine_pattern_of_a_large_photo_becomes_grey(scale, left):
    """And not the coarse pattern that is left where pixels of the photo are skipped."""
    size = 32
    photo = Image.fromarray((255 * (np.indices((500, 500)).sum(0) % 2)).astype(np.uint8))
    aligned = align_photo(photo, scale * five_point_template(size), size)
    inside = aligned[:, 1:-1, 1:-1]
    assert inside.mean() == pytest.approx(0.5, abs=0.01) and inside.std() < left


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_camera_was_held(orientation):
    """The points are those of the photo as viewers show it; the tag says how the stored rows and
    columns lie.
    """
    upright = Image.fromarray(
        np.random.default_rng(5).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    )
    pixels = np.array(upright)
    stored = {  # by the standard's words: where row 0 and column 0 of the file are in the picture
        1: pixels,  # top, left
        2: pixels[:, ::-1],  # top, right
        3: pixels[::-1, ::-1],  # bottom, right
        4: pixels[::-1],  # bottom, left
        5: pixels.swapaxes(0, 1),  # left, top
        6: pixels[:, ::-1].swapaxes(0, 1),  # right, top
        7: pixels[::-1, ::-1].swapaxes(0, 1),  # right, bottom
        8: pixels[::-1].swapaxes(0, 1),  # left, bottom
    }[orientation]
    photo = Image.fromarray(np.ascontiguousarray(stored))
    photo.getexif()[0x0112] = orientation
    points = five_point_template(16) + torch.tensor([20.0, 10.0])
    assert align_photo(photo, points, 16).equal(align_photo(upright, points, 16))


@pytest.mark.parametrize("shape", [(4, 2), (5, 3), (68, 2)])
def test_other_than_five_points_are_refused(unchecked, shape):
    with pytest.raises(ValueError, match=r"five points \(x, y\), shape \(5, 2\); got"):
        align_photo(Image.new("RGB", (9, 9)), torch.zeros(shape), 8)

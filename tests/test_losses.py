"""MoFA's three terms in closed form."""

import numpy as np
import pytest
import torch

from mofa_lib import FaceCode, FaceRenderer
from mofa_lib.losses import LossWeights, landmark, photometric, statistical
from mofa_lib.raster import Fragments
from mofa_lib.renderer import Rendering


def rendering_of(image, mask):
    batch, _, height, width = image.shape
    nothing = Fragments(
        torch.full((batch, height, width), -1),
        torch.zeros(batch, height, width, 3),
        torch.zeros(batch, height, width),
    )
    return Rendering(image, mask, torch.zeros(batch, 68, 2), torch.zeros(batch, 5, 3), nothing)


def mean_distance(drawn, picture, counted):
    """The same by a loop over the pixels that count."""
    places = np.argwhere(counted)
    return np.mean([np.linalg.norm(drawn[:, r, c] - picture[:, r, c]) for r, c in places])


def test_photometric_is_the_mean_colour_distance_over_the_face():
    rng = np.random.default_rng(0)
    drawn, pictures = rng.random((2, 3, 5, 4)), rng.random((2, 3, 5, 4))
    mask = (rng.random((2, 1, 5, 4)) < 0.5).astype(float)
    expected = [mean_distance(drawn[b], pictures[b], mask[b, 0]) for b in range(2)]
    rendering = rendering_of(torch.from_numpy(drawn).float(), torch.from_numpy(mask).float())
    found = photometric(rendering, torch.from_numpy(pictures).float())
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_photometric_counts_the_bare_skin_only():
    """What hides the face may have any colour; a picture where all is hidden costs nothing."""
    rng = np.random.default_rng(1)
    drawn, pictures = rng.random((3, 3, 5, 4)), rng.random((3, 3, 5, 4))
    mask, skin = rng.random((3, 1, 5, 4)) < 0.7, rng.random((3, 5, 4)) < 0.5
    skin[2] = False
    expected = [mean_distance(drawn[b], pictures[b], mask[b, 0] & skin[b]) for b in range(2)]
    rendering = rendering_of(torch.from_numpy(drawn).float(), torch.from_numpy(mask).float())
    bare, seen = torch.from_numpy(skin).float(), torch.from_numpy(pictures).float()
    np.testing.assert_allclose(photometric(rendering, seen, bare), [*expected, 0.0], atol=1e-4)
    elsewhere = torch.where(bare[:, None] > 0, seen, 1 - seen)
    assert photometric(rendering, elsewhere, bare).equal(photometric(rendering, seen, bare))
    everywhere = photometric(rendering, seen, torch.ones(3, 5, 4))
    assert everywhere.equal(photometric(rendering, seen))


def test_the_mask_does_not_pull_the_face_away(tiny_model):
    """A face of the right colour under a mask has no gradient: hiding pixels is not rewarded."""
    code = FaceCode.mean(tiny_model)
    translation = torch.zeros(1, 3, requires_grad=True)
    rendering = FaceRenderer(tiny_model, 24)(code.with_parts(translation=translation))
    skin = torch.ones(1, 24, 24)
    skin[:, :, 12:] = 0  # half of the face is hidden
    pictures = torch.where(skin[:, None] > 0, rendering.image.detach(), torch.ones(1, 3, 24, 24))
    (gradient,) = torch.autograd.grad(photometric(rendering, pictures, skin).sum(), translation)
    assert not gradient.any()


def test_photometric_without_a_face_is_zero():
    empty = rendering_of(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))
    assert photometric(empty, torch.ones(1, 3, 4, 4)) == 0


def test_photometric_of_the_picture_itself_is_zero_with_a_finite_gradient(tiny_model):
    rendering = FaceRenderer(tiny_model, 12)(FaceCode.mean(tiny_model))
    pictures = rendering.image.detach().clone().requires_grad_()
    loss = photometric(rendering, pictures)
    assert loss < 2e-4
    (gradient,) = torch.autograd.grad(loss.sum(), pictures)
    assert torch.isfinite(gradient).all()


def test_landmark_is_the_mean_distance_in_image_widths():
    found = torch.tensor([[[0.0, 0.0], [3.0, 4.0]], [[1.0, 1.0], [1.0, 1.0]]])
    true = torch.tensor([[[0.0, 10.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])
    expected = torch.tensor([7.5 / 50, 0.0])
    torch.testing.assert_close(landmark(found, true, 50), expected, atol=1e-5, rtol=1e-5)


def test_five_landmarks_are_compared_with_five(tiny_model):
    """Centres of the six points of each eye, tip of the nose, corners of the mouth."""
    found = torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(0))
    own = [
        found[:, 36:42].mean(1),
        found[:, 42:48].mean(1),
        found[:, 30],
        found[:, 48],
        found[:, 54],
    ]
    true = torch.stack(own, 1) + torch.tensor([0.3, 0.4])
    expected = torch.full((2,), 0.5 / 50)
    torch.testing.assert_close(landmark(found, true, 50), expected, atol=1e-5, rtol=1e-5)


def test_statistical_is_a_weighted_mean_of_squares(tiny_model):
    code = FaceCode.mean(tiny_model, 2).with_parts(
        shape=torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]),
        expression=torch.tensor([[2.0, 0.0], [0.0, 0.0]]),
        appearance=torch.tensor([[0.0, 0.0, 0.0, 4.0], [0.0, 0.0, 0.0, 0.0]]),
        rotation=torch.full((2, 3), 9.0),  # pose and light are free
        illumination=torch.full((2, 27), 9.0),
    )
    weights = LossWeights(shape=0.3, expression=0.5, appearance=0.25)
    expected = 0.3 * 14 / 3 + 0.5 * 4 / 2 + 0.25 * 16 / 4
    assert statistical(code, weights).tolist() == pytest.approx([expected, 0.0])


def test_statistical_skips_groups_that_the_model_lacks():
    code = FaceCode(*(torch.ones(1, n) for n in (3, 0, 4, 3, 3, 27)))
    assert float(statistical(code, LossWeights(shape=1.0, expression=1.0, appearance=1.0))) == 2

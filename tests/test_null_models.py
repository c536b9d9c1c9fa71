"""Each null model against an independent reference."""

import numpy as np
import pytest
import torch
from scipy import fft, ndimage

from mofa_lib.null_models import NULL_MODELS, block_means, blurred, fewer_bits, jpeg, median


@pytest.fixture
def images():
    """Two pictures with edges, gradients and noise, on the 8-bit grid."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.random((2, 3, 32, 48)), (0, 0, 3, 3))
    noisy = smooth + rng.normal(0, 0.05, smooth.shape)
    noisy[:, :, 10:20, 12:30] += 0.3
    return torch.from_numpy((255 * noisy.clip(0, 1)).round() / 255).float()


# The standard's example of a table for the brightness, which quality 50 takes as it is.
QUANTA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


@pytest.mark.parametrize("quality", [20, 50, 75])
def test_jpeg_rounds_cosines(images, quality):
    """On grey pictures, which have no colours to make coarser."""
    grey = images[:, :1].expand(-1, 3, -1, -1)
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    quanta = np.floor((100 * scale * QUANTA + 50) / 100)
    levels = 255 * grey[:, 0].double().numpy() - 128
    wanted = np.empty_like(levels)
    for y in range(0, levels.shape[1], 8):
        for x in range(0, levels.shape[2], 8):
            block = np.s_[:, y : y + 8, x : x + 8]
            cosines = fft.dctn(levels[block], axes=(1, 2), norm="ortho")
            kept = np.round(cosines / quanta) * quanta
            wanted[block] = fft.idctn(kept, axes=(1, 2), norm="ortho")
    wanted = (wanted + 128).clip(0, 255)[:, None].repeat(3, 1)
    off = np.abs(255 * jpeg(grey, quality).numpy() - wanted)
    change = np.abs(255 * grey.numpy() - wanted)
    # Ties of coefficients that another transform rounds otherwise move a block a little.
    assert np.median(off) <= 0.5 and off.mean() < change.mean() / 10


def test_jpeg_of_colours_loses_more_as_its_quality_falls(images):
    lost = [float((jpeg(images, q) - images).abs().mean()) for q in (95, 75, 50, 20)]
    assert lost == sorted(lost) and 0 < lost[0] and lost[-1] < 0.1


@pytest.mark.parametrize("side", [2, 4])
def test_means_forget_where_in_a_square_a_value_was(images, side):
    found = block_means(images, side)
    blocks = images.unfold(2, side, side).unfold(3, side, side)  # (B, 3, h, w, side, side)
    turned = blocks.flip(4).transpose(4, 5)
    mixed = turned.permute(0, 1, 2, 4, 3, 5).reshape(images.shape)
    assert not torch.equal(mixed, images)
    torch.testing.assert_close(block_means(mixed, side), found)


@pytest.mark.parametrize("side", [2, 4])
def test_in_an_even_place_the_means_stay(side):
    """Half black, half white: far from the edge nothing changes, at the edge all is between."""
    halves = torch.cat([torch.zeros(1, 3, 32, 24), torch.ones(1, 3, 32, 24)], 3)
    found = block_means(halves, side)
    far = 3 * side
    torch.testing.assert_close(found[..., : 24 - far], halves[..., : 24 - far])
    torch.testing.assert_close(found[..., 24 + far :], halves[..., 24 + far :])
    assert 0 < found[0, 0, 0, 23] < found[0, 0, 0, 24] < 1


def test_squares_must_fit(images):
    with pytest.raises(ValueError, match=r"multiples of 5, got \(32, 48\)"):
        block_means(images, 5)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0])
def test_the_blur_is_gaussian(images, sigma):
    radius = int(np.ceil(3 * sigma))
    wanted = ndimage.gaussian_filter(
        images.double().numpy(), (0, 0, sigma, sigma), mode="mirror", radius=(0, 0, radius, radius)
    )
    np.testing.assert_allclose(blurred(images, sigma), wanted, atol=1e-5)


def test_the_median_is_that_of_nine_values(images):
    wanted = ndimage.median_filter(images.numpy(), (1, 1, 3, 3), mode="nearest")
    np.testing.assert_array_equal(median(images), wanted)


def test_fewer_bits_leave_as_many_levels(images):
    found = fewer_bits(images, 4)
    assert set((15 * found).round().unique().tolist()) <= set(range(16))
    assert (found - images).abs().max() <= 0.5 / 15 + 1e-6
    ramp = torch.linspace(0, 1, 16).expand(1, 3, 4, 16)
    torch.testing.assert_close(fewer_bits(ramp, 4), ramp)


@pytest.mark.parametrize("name", NULL_MODELS)
def test_pictures_stay_pictures_of_their_size(images, name):
    found = NULL_MODELS[name](images)
    assert found.shape == images.shape and found.dtype == images.dtype
    assert found.min() >= 0 and found.max() <= 1 and not found.equal(images)

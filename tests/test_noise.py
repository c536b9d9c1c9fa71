"""Random fields: their size, their smoothness, their symmetry."""

import numpy as np
import pytest

from mofa_lib.studio.atlas import COLUMNS, ROWS
from mofa_lib.studio.noise import GRAINS, NoiseBank, smooth_field


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(0).normal(0, 50, (300, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def bank():
    return NoiseBank()


def test_fields_have_their_amplitude_and_are_nearly_symmetric(points):
    both = np.concatenate([points, points * np.array([-1, 1, 1], np.float32)])
    values = np.stack(
        [smooth_field(both, np.random.default_rng(seed), 0.3, 20) for seed in range(300)]
    )
    assert values.std(0).mean() == pytest.approx(0.3, rel=0.05)
    assert 0.8 < np.corrcoef(values[:, :300].ravel(), values[:, 300:].ravel())[0, 1] < 0.9999


def test_a_field_is_correlated_as_a_gaussian_of_its_scale():
    """Random Fourier features of normal frequencies: correlation exp(−d²/2s²) at distance d."""
    line = np.zeros((5, 3), np.float32)
    line[:, 1] = [0, 10, 20, 30, 60]
    values = np.stack(
        [smooth_field(line, np.random.default_rng(seed), 1.0, 20) for seed in range(4000)]
    )
    expected = np.exp(-0.5 * (line[:, 1] / 20) ** 2)
    np.testing.assert_allclose(np.corrcoef(values.T)[0], expected, atol=0.06)


@pytest.mark.parametrize("size", GRAINS)
def test_a_draw_is_unit_noise_and_its_seed_s(bank, size):
    every = np.arange(ROWS * COLUMNS)
    one, again, other = (bank.draw(np.random.default_rng(seed), size, every) for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert abs(one.mean()) < 0.05 and one.std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("size", GRAINS)
def test_grains_have_their_size(bank, size):
    """White noise blurred by a Gaussian of s: correlation exp(−d²/4s²) at distance d."""
    noise = bank.draw(np.random.default_rng(0), size, np.arange(ROWS * COLUMNS))
    away = max(1, round(size))
    found = np.corrcoef(noise, np.roll(noise, away))[0, 1]
    assert found == pytest.approx(np.exp(-(away**2) / (4 * size**2)), abs=0.08)

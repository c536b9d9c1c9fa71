"""Random fields: their size, their smoothness, their symmetry."""

import numpy as np
import pytest

from mofa_lib.studio.atlas import COLUMNS, ROWS
from mofa_lib.studio.noise import NoiseBank, smooth_field


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


@pytest.mark.parametrize("kind", [0.7, 1.5, 3, 6, "down", "left", "right"])
def test_a_draw_is_unit_noise_and_its_seed_s(bank, kind):
    every = np.arange(ROWS * COLUMNS)
    one, again, other = (bank.draw(np.random.default_rng(seed), kind, every) for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert abs(one.mean()) < 0.05 and one.std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("kind", "along", "across"),
    [("down", (8, 0), (0, 3)), ("left", (1, -2), (1, 2)), ("right", (1, 2), (1, -2))],
)
def test_streaks_run_in_their_direction(bank, kind, along, across):
    """Like its neighbour along the streak, unlike it across."""
    noise = bank.draw(np.random.default_rng(0), kind, np.arange(ROWS * COLUMNS)).reshape(
        ROWS, COLUMNS
    )

    def alike(shift):
        return np.corrcoef(noise.ravel(), np.roll(noise, shift, (0, 1)).ravel())[0, 1]

    assert alike(along) > 0.4 and alike(across) < 0.9 * alike(along)

"""Random fields on a head: smooth ones in millimetres, fine ones in texels. Used in chapter 3."""

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

from mofa_lib.studio.atlas import COLUMNS, ROWS

GRAINS = (0.7, 1.5, 3, 6)  # standard deviations of noise, texels
WAVES = 24  # whose sum is a smooth field


def smooth_field(
    points: Float[np.ndarray, "P 3"],
    rng: np.random.Generator,
    amplitude: float,
    scale: float,
) -> Float[np.ndarray, " P"]:
    """A smooth random field at points (mm), nearly mirror-symmetric about x = 0.

    Args:
        amplitude: standard deviation.
        scale: over how many millimetres it changes.
    Source: random Fourier features, Rahimi and Recht 2007.
    """
    # x becomes |x| + 0.06 x: left and right see almost the same waves.
    folded = points * np.array([0.06, 1, 1], np.float32)  # (P, 3)
    folded[:, 0] += np.abs(points[:, 0])

    phase = folded @ rng.normal(0, 1 / scale, (3, WAVES)).astype(np.float32)  # (P, W)
    phase += rng.uniform(0, 2 * np.pi, WAVES).astype(np.float32)
    return amplitude * np.sqrt(2 / WAVES) * np.cos(phase).sum(1)


class NoiseBank:
    """Unit-variance noise in the atlas, made once; a draw is a shifted copy.

    To smooth anew would take seconds.
    """

    def __init__(self):
        rng = np.random.default_rng(7)
        self._noises = {size: _smoothed(rng, size).ravel() for size in GRAINS}

    def draw(
        self, rng: np.random.Generator, size: float, texels: Int[np.ndarray, " P"]
    ) -> np.ndarray:
        """Noise of grains of this size, one of `GRAINS`, at these texels."""
        return self._noises[size].take(texels + rng.integers(ROWS * COLUMNS), mode="wrap")


def _smoothed(rng: np.random.Generator, size: float) -> np.ndarray:
    """White noise over the atlas, blurred by so many texels, of variance 1."""
    white = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    noise = ndimage.gaussian_filter(white, size, mode="wrap")
    return noise / noise.std()

"""Random fields on a head: smooth ones in millimetres, fine ones in texels. Used in chapter 3."""

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

from mofa_lib.atlas import COLUMNS, ROWS


def smooth_field(
    points: Float[np.ndarray, "P 3"], rng: np.random.Generator, amplitude: float, scale: float, waves: int = 24
) -> Float[np.ndarray, " P"]:
    """A smooth random field at points (mm), nearly mirror-symmetric about x = 0.

    Args:
        amplitude: standard deviation.
        scale: over how many millimetres it changes.
    Source: random Fourier features, Rahimi and Recht 2007.
    """
    folded = points * np.array([0.06, 1, 1], np.float32)
    folded[:, 0] += np.abs(points[:, 0])
    phase = folded @ rng.normal(0, 1 / scale, (3, waves)).astype(np.float32)
    phase += rng.uniform(0, 2 * np.pi, waves).astype(np.float32)
    return amplitude * np.sqrt(2 / waves) * np.cos(phase).sum(1)


class NoiseBank:
    """Unit-variance noise in the atlas, made once; a draw is a shifted copy, since smoothing anew would take seconds.

    Its kinds are the standard deviations of round grains in texels, and the directions of streaks: down (hair of the
    head, lines of the lips), left and right (brows).
    """

    def __init__(self):
        rng = np.random.default_rng(7)

        def smoothed(sigma: tuple[float, float]) -> np.ndarray:
            noise = ndimage.gaussian_filter(rng.normal(size=(ROWS, COLUMNS)).astype(np.float32), sigma, mode="wrap")
            return noise / noise.std()

        self._kinds = {scale: smoothed((scale, scale)).ravel() for scale in (0.7, 1.5, 3, 6)}
        self._kinds["down"] = smoothed((14, 0.8)).ravel()
        for name, slope in {"left": -1, "right": 1}.items():
            streaks = smoothed((0.6, 5))
            sheared = [np.roll(row, slope * 2 * k) for k, row in enumerate(streaks)]
            self._kinds[name] = np.concatenate(sheared)

    def draw(self, rng: np.random.Generator, kind: float | str, texels: Int[np.ndarray, " P"]) -> np.ndarray:
        """Noise of this kind at these texels."""
        return self.shifted(kind, texels, int(rng.integers(ROWS * COLUMNS)))

    def shifted(self, kind: float | str, texels: Int[np.ndarray, "..."], shift: int) -> np.ndarray:
        """The copy of this kind that is shifted by so many texels."""
        return self._kinds[kind].take(texels + shift, mode="wrap")

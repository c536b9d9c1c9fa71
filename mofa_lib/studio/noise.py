"""Random fields on a head: smooth ones in millimetres, fine ones in texels. Used in chapter 3."""

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

from mofa_lib.studio.atlas import COLUMNS, ROWS

GRAINS = (0.7, 1.5, 3, 6)  # standard deviations of the round kinds of noise, texels


def smooth_field(
    points: Float[np.ndarray, "P 3"],
    rng: np.random.Generator,
    amplitude: float,
    scale: float,
    waves: int = 24,
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

    phase = folded @ rng.normal(0, 1 / scale, (3, waves)).astype(np.float32)  # (P, waves)
    phase += rng.uniform(0, 2 * np.pi, waves).astype(np.float32)
    return amplitude * np.sqrt(2 / waves) * np.cos(phase).sum(1)


class NoiseBank:
    """Unit-variance noise in the atlas, made once; a draw is a shifted copy.

    To smooth anew would take seconds. Its kinds are the standard deviations of round grains in
    texels, and the directions of streaks: down (hair of the head, lines of the lips), left and
    right (brows).
    """

    def __init__(self):
        rng = np.random.default_rng(7)
        self._kinds = {grain: _smoothed(rng, (grain, grain)).ravel() for grain in GRAINS}
        self._kinds["down"] = _smoothed(rng, (14, 0.8)).ravel()
        for name, slope in (("left", -1), ("right", 1)):
            streaks = _smoothed(rng, (0.6, 5))
            # Slanting: two texels aside for each texel down.
            sheared = [np.roll(row, slope * 2 * k) for k, row in enumerate(streaks)]
            self._kinds[name] = np.concatenate(sheared)

    def draw(
        self, rng: np.random.Generator, kind: float | str, texels: Int[np.ndarray, " P"]
    ) -> np.ndarray:
        """Noise of this kind at these texels."""
        return self.shifted(kind, texels, int(rng.integers(ROWS * COLUMNS)))

    def shifted(self, kind: float | str, texels: Int[np.ndarray, "..."], shift: int) -> np.ndarray:
        """The copy of this kind that is shifted by so many texels."""
        return self._kinds[kind].take(texels + shift, mode="wrap")


def _smoothed(rng: np.random.Generator, sigma: tuple[float, float]) -> np.ndarray:
    """White noise over the atlas, blurred by so many texels down and aside, of variance 1."""
    white = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    noise = ndimage.gaussian_filter(white, sigma, mode="wrap")
    return noise / noise.std()

"""Eyeballs: a sclera with veins, an iris with fibres, a pupil. Used in chapter 3."""

import numpy as np
from jaxtyping import Float

from mofa_lib.studio.atlas import EYE_TEXELS, EYES
from mofa_lib.studio.features import below
from mofa_lib.studio.phenotype import Phenotype

EYEBALL_SHINE = 3.0  # above 2, where highlights are sharp
GAZE = 5  # texels that the eyes of these heads look too high
IRIS = np.array(
    [
        [0.20, 0.12, 0.07],  # dark brown
        [0.33, 0.21, 0.11],  # brown
        [0.34, 0.34, 0.20],  # green
        [0.32, 0.44, 0.55],  # blue
        [0.43, 0.48, 0.50],  # grey
    ]
)


def paint_eyes(
    texture: Float[np.ndarray, "R S 4"], who: Phenotype, rng: np.random.Generator
) -> None:
    """Both eyeballs, in place: brown, but for many people of European ancestry."""
    iris = IRIS[0]
    if who.caucasian > 0.45:
        iris = IRIS[rng.choice(5, p=[0.3, 0.2, 0.15, 0.25, 0.1])]
    iris = iris * rng.uniform(0.8, 1.2)
    for patch, eye in zip(EYES, eyeball(iris, rng), strict=True):
        straight = np.roll(eye, GAZE, 0)
        texture[patch] = straight * [0.85, 0.85, 0.85, 1]  # in the shade of the lids


def eyeball(iris: np.ndarray, rng: np.random.Generator) -> list[Float[np.ndarray, "E E 4"]]:
    """The patches of both eyes: colour and shine.

    A sclera with veins, an iris with fibres and a dark ring, a pupil.
    """
    rows, _ = EYES[0]
    half = (rows.stop - rows.start) / 2
    down, right = (np.mgrid[-half:half, -half:half].astype(np.float32) + 0.5) / EYE_TEXELS  # mm
    radius, angle = np.hypot(right, down), np.arctan2(down, right)
    pupil = rng.uniform(1.5, 2.6)  # mm, as is the radius of the iris
    size = rng.uniform(5.6, 6.2)

    eyes = []
    for _ in range(2):
        fibres, veins = _rays(angle, radius, rng)
        white = np.array([0.84, 0.81, 0.79])
        white = white - np.multiply.outer((radius / 13) ** 2, [0.08, 0.20, 0.20])  # (E, E, 3)
        reddened = (0.03 * veins * (radius > size)).clip(0, 0.1)
        white -= np.multiply.outer(reddened, [0.0, 1.0, 1.0])

        disc = np.multiply.outer(0.85 + 0.25 * fibres + 0.45 * (radius / size - 0.6), iris)
        disc *= (1 - 0.65 * below(-radius, 0.9 - size, 1.2))[..., None]  # the dark ring
        eye = white + (disc - white) * below(radius, size, 0.9)[..., None]
        eye = eye + (0.03 - eye) * below(radius, pupil, 0.6)[..., None]
        shine = np.full((*eye.shape[:2], 1), EYEBALL_SHINE)
        eyes.append(np.concatenate([eye.clip(0.02, 0.95), shine], 2))
    return eyes


def _rays(
    angle: np.ndarray, radius: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Fibres of an iris, and veins around it, which wind: sums of waves around the circle."""
    fibres = 0
    for waves in rng.integers(8, 60, 9):
        strength = rng.normal(0, 0.35)
        fibres = fibres + strength * np.cos(waves * angle + rng.uniform(0, 6.3))
    veins = 0
    for waves in (5, 9, 14):
        strength = rng.normal()
        veins = veins + strength * np.cos(waves * angle + rng.uniform(0, 6.3) + radius)
    return fibres, veins

"""Skin colour from pigment: melanin and haemoglobin in smooth and fine fields, on a texture.

Used in chapter 3.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import cKDTree
from torch import Tensor

from mofa_lib.faces import LEFT_EYE_OUTER, MOUTH_LEFT, MOUTH_RIGHT, NOSE_TIP, RIGHT_EYE_OUTER
from mofa_lib.lighting import encode_srgb
from mofa_lib.studio.atlas import LEFT_EYEBALL, MOUTH, RIGHT_EYEBALL, Atlas
from mofa_lib.studio.features import Features, below, eyeball, mix
from mofa_lib.studio.heads import HeadShapes
from mofa_lib.studio.noise import NoiseBank, smooth_field

# Absorption per unit of pigment in the red, green and blue bands (610, 545, 465 nm): melanin falls
# with wavelength, oxygenated haemoglobin is nearly transparent in the red. Relative values after
# Jacques 1998 and Prahl 1999.
MELANIN = np.array([1.0, 1.25, 1.5], np.float32)
HAEMOGLOBIN = np.array([0.05, 1.0, 0.75], np.float32)
BASE = np.array([0.87, 0.74, 0.57], np.float32)  # reflectance of skin with no pigment at all

HAIR = np.array(
    [
        [0.10, 0.08, 0.07],  # black
        [0.17, 0.11, 0.08],  # dark brown
        [0.31, 0.20, 0.13],  # brown
        [0.55, 0.40, 0.24],  # blond
        [0.66, 0.63, 0.60],  # grey
    ]
)
GREY = 4  # row of HAIR
IRIS = np.array(
    [
        [0.25, 0.15, 0.09],  # dark brown
        [0.36, 0.24, 0.13],  # brown
        [0.38, 0.38, 0.25],  # green
        [0.38, 0.48, 0.56],  # blue
        [0.46, 0.51, 0.52],  # grey
    ]
)
LASHES = np.array([0.08, 0.06, 0.06])
MOUTH_INSIDE = np.array([0.20, 0.07, 0.07])
JAW_LEFT, JAW_RIGHT = 2, 14  # iBUG points of the jaw, below the ears


def skin_colour(melanin: np.ndarray, haemoglobin: np.ndarray) -> np.ndarray:
    """sRGB-encoded albedo in [0, 1] of skin with these pigments, by Beer and Lambert's law."""
    absorbed = np.multiply.outer(melanin, MELANIN) + np.multiply.outer(haemoglobin, HAEMOGLOBIN)
    return encode_srgb(BASE * np.exp(-absorbed))


def hair_colour(attributes: dict[str, float], rng: np.random.Generator) -> np.ndarray:
    """A hair colour that fits ancestry and age."""
    dark = np.array([0.75, 0.2, 0.05, 0, 0])
    mixed = np.array([0.1, 0.3, 0.35, 0.25, 0])
    weights = attributes["caucasian"] * mixed + (1 - attributes["caucasian"]) * dark
    weights[GREY] = max(attributes["age"] - 0.75, 0) * 3
    return HAIR[rng.choice(5, p=weights / weights.sum())] * rng.uniform(0.85, 1.15)


class SkinPainter:
    """Paints the texture of one head: skin, lips, brows, beard, eyes.

    Attributes:
        atlas: where the texels lie.
        noise: fine random detail in the atlas.
    """

    def __init__(self, shapes: HeadShapes):
        self.atlas, self.noise = Atlas(shapes), NoiseBank()
        self.features = Features(shapes, self.atlas)
        self.vertices = shapes.mean.numpy().astype(np.float32)  # (H, 3)
        marks = self.vertices[shapes.landmarks.numpy()]  # (68, 3)
        self.nose_tip = marks[NOSE_TIP]
        sides = (LEFT_EYE_OUTER, MOUTH_LEFT, JAW_LEFT), (RIGHT_EYE_OUTER, MOUTH_RIGHT, JAW_RIGHT)
        self.cheeks = [
            0.45 * marks[eye] + 0.2 * marks[mouth] + 0.35 * marks[jaw] for eye, mouth, jaw in sides
        ]

        names = ("lips", "eyelids", "ears")
        masks = np.stack([shapes.regions[name].numpy() for name in names], 1)  # (H, 3)
        self.regions = dict(zip(names, self.atlas.spread(masks).T, strict=True))
        # Texels where a mole may be.
        self.bare = np.flatnonzero(self.features.face * (1 - self.regions["lips"]) > 0.5)
        self._tree = cKDTree(self.atlas.points)

    def paint(
        self, attributes: dict[str, float], hair: np.ndarray, rng: np.random.Generator
    ) -> Float[Tensor, "4 R S"]:
        """A random person's head without head hair: RGB albedo in [0, 1], and how much it shines.

        Args:
            attributes: of the person, as in `Head`.
            hair: colour of brows and beard.
        """
        old = float(np.clip((attributes["age"] - 0.7) / 0.3, 0, 1))
        lips = self.regions["lips"]
        melanin, flush = self._pigments(attributes, old, rng)
        colour = skin_colour(melanin * (1 - 0.25 * lips), flush).astype(np.float32)  # (P, 3)
        colour = self._paint_lips(colour, attributes["gender"], rng)
        colour *= 1 - self.features.wrinkles(old, self._grain(rng, 6), rng)[:, None]
        colour = self._paint_hairs(colour, attributes, hair, rng)

        gloss = 0.4 + 0.35 * self.features.t_zone + 0.5 * lips
        shine = rng.uniform(0.5, 1.3) * (gloss + 0.1 * self._grain(rng, 1.5))
        channels = np.concatenate([colour.clip(0.01, 0.98), shine.clip(0, 2)[:, None]], 1)  # (P, 4)
        texture = self.atlas.unfold(channels)  # (R, S, 4)

        iris = IRIS[0]
        if attributes["caucasian"] > 0.4:
            iris = IRIS[rng.choice(5, p=[0.5, 0.2, 0.1, 0.12, 0.08])]
        texture[LEFT_EYEBALL], texture[RIGHT_EYEBALL] = eyeball(iris, rng)
        texture[MOUTH] = [*MOUTH_INSIDE, 0.2]
        return torch.from_numpy(texture).float().permute(2, 0, 1).contiguous()

    def _paint_lips(
        self, colour: np.ndarray, gender: float, rng: np.random.Generator
    ) -> np.ndarray:
        """Perhaps lipstick, and the fine lines of the lips."""
        lips = self.regions["lips"]
        wears_lipstick = rng.random() < 0.35 * (1 - gender)
        strength = rng.uniform(0.2, 0.8)
        red, green, blue = rng.uniform(0.4, 0.7), rng.uniform(0.12, 0.3), rng.uniform(0.15, 0.33)
        if not wears_lipstick:
            strength = 0.0
        lipstick = np.array([red, green, blue]) * (0.4 + 0.9 * colour.mean())
        colour = mix(colour, lipstick, strength * lips)
        colour *= 1 - (0.06 * lips * self._grain(rng, "down").clip(0, None))[:, None]
        return colour

    def _paint_hairs(
        self,
        colour: np.ndarray,
        attributes: dict[str, float],
        hair: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Beard, brows and lashes."""
        lips, stubble = self.regions["lips"], self._grain(rng, 0.7)
        colour = self.features.beard(colour, attributes, hair * 0.65, stubble, lips, rng)
        streaks = [self._grain(rng, "left"), self._grain(rng, "right")]
        colour = self.features.brows(colour, hair * 0.55, streaks, rng)
        lashes = rng.uniform(0.45, 0.75) + 0.2 * (1 - attributes["gender"])
        return mix(colour, LASHES, min(lashes, 0.95) * self.features.lashes)

    def _pigments(
        self, attributes: dict[str, float], old: float, rng: np.random.Generator
    ) -> tuple:
        """Melanin and haemoglobin at every texel: smooth over the head, then spots and pores."""
        smooth = self._smooth_pigments(attributes, rng)  # (H, 2)
        melanin, flush = self.atlas.spread(smooth).T
        lips, near_nose = self.regions["lips"], self.features.freckled

        freckles = (self._grain(rng, 1.5) - rng.uniform(1.0, 1.7)).clip(0, 1)
        spots = (self._grain(rng, 3) - 1.8).clip(0, 1)  # of age and sun
        pores = 0.025 * self._grain(rng, 1.5) + 0.015 * self._grain(rng, 0.7)
        melanin = melanin + np.sqrt(melanin) * pores
        has_freckles = rng.random() < 0.3
        freckled = rng.uniform(0.1, 0.4)
        if not has_freckles:
            freckled = 0.0
        melanin += freckled * freckles * near_nose + 0.25 * old * spots
        melanin += rng.uniform(0.0, 0.2) * self.regions["eyelids"] + self._moles(rng)

        flush = flush * np.exp(0.16 * self._grain(rng, 6) + 0.10 * self._grain(rng, 0.7))
        blemished = 0.3 * rng.random() ** 4
        blemishes = (self._grain(rng, 1.5) - 1.5).clip(0, 1)
        flush += blemished * blemishes * self.features.face
        flush = flush + 0.10 * self.regions["ears"] + lips * rng.uniform(0.2, 0.6)
        return melanin.clip(0.02, None), flush

    def _smooth_pigments(
        self, attributes: dict[str, float], rng: np.random.Generator
    ) -> Float[np.ndarray, "H 2"]:
        """Melanin and haemoglobin at the vertices of the head."""

        def field(amplitude: float, scale: float) -> np.ndarray:
            return smooth_field(self.vertices, rng, amplitude, scale)

        tan = 0.10 * attributes["caucasian"] + 0.30 * attributes["asian"]
        tan = tan + 1.25 * attributes["african"]
        tan *= np.exp(rng.normal(0, 0.3))
        melanin = tan * np.exp(field(0.10, 40) + field(0.06, 12))
        flush = rng.uniform(0.12, 0.34) * np.exp(field(0.2, 40) + field(0.1, 12))
        for centre in (*self.cheeks, self.nose_tip):  # which blush
            away = ((self.vertices - centre) ** 2).sum(1)  # mm²
            flush += rng.uniform(0, 0.2) * np.exp(-0.5 * away / 17**2)
        return np.stack([melanin, flush], 1).astype(np.float32)

    def _moles(self, rng: np.random.Generator) -> np.ndarray:
        """Melanin of a few moles, at the texels."""
        melanin = np.zeros(len(self.atlas.points), np.float32)
        for centre in rng.choice(self.bare, rng.poisson(2.5)):
            near = self._tree.query_ball_point(self.atlas.points[centre], 4)  # mm
            away = np.linalg.norm(self.atlas.points[near] - self.atlas.points[centre], axis=1)
            melanin[near] += rng.uniform(0.3, 1.2) * below(away, rng.uniform(0.6, 1.4), 0.8)
        return melanin

    def _grain(self, rng: np.random.Generator, kind: float | str) -> np.ndarray:
        """Noise of the atlas at all texels of the head."""
        return self.noise.draw(rng, kind, self.atlas.texels)

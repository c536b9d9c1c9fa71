"""Skins of people who do not exist: painted ones mixed by pigment, and detail of our own.

Pigments add up in optical density, not in colour: by Beer and Lambert's law the light that comes
back falls by a factor for each of them. So skins are mixed as densities, −log of linear colours.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.special import expit
from torch import Tensor

from mofa_lib.faces import LEFT_EYE_OUTER, MOUTH_LEFT, MOUTH_RIGHT, NOSE_TIP, RIGHT_EYE_OUTER
from mofa_lib.studio.atlas import COLUMNS, MOUTH, ROWS, Atlas
from mofa_lib.studio.eyes import paint_eyes
from mofa_lib.studio.features import Features, below, mix
from mofa_lib.studio.heads import HeadShapes
from mofa_lib.studio.light import GAMMA
from mofa_lib.studio.looks import BROW_WINDOW, SKIN_WINDOW, Looks
from mofa_lib.studio.noise import NoiseBank, smooth_field
from mofa_lib.studio.phenotype import Phenotype

# Absorption in the red, green and blue bands, relative: after Jacques 1998 and Prahl 1999, but
# melanin's falls as in a painted skin.
MELANIN = np.array([1.0, 1.45, 1.9], np.float32)
HAEMOGLOBIN = np.array([0.08, 1.0, 0.8], np.float32)

PALER = 0.85  # of the painted skins' colour is left: they are rather orange

DEEP = 2.5  # density of a fold that the features call entirely dark
# Painted brows that do not frown; how far they are raised towards the nose and all along, texels.
CALM = tuple(f"eyebrow{number:03}" for number in (1, 5, 9, 10, 11, 12))
RAISED, LIFTED = 6, 3
DARK = np.array([0.06, 0.05, 0.05])  # of lids' rims and of lines drawn there
INSIDE = [0.16, 0.05, 0.05, 0.2]  # of the mouth, and its shine

# Where hair begins, from the nape over the ear to the forehead: depth z, height y, mm.
HAIRLINE = [-100, -75, -60, -48, -28, -8, 25, 60], [-50, -35, 30, 40, 22, 66, 96, 112]
PERIODS = {"young": 22, "middleage": 48, "old": 72}  # years of the painted people


def scalp(
    points: Float[np.ndarray, "P 3"], higher: float | np.ndarray = 0, softness: float = 3
) -> Float[np.ndarray, " P"]:
    """1 where hair grows on the mean head, 0 elsewhere, over some mm of softness.

    Args:
        higher: than usual the hairline lies, mm.
    """
    _, y, z = points.T
    return expit((y - np.interp(z, *HAIRLINE) - higher) / softness)


def optical_density(colour: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """How much light skin of this colour, as on a screen, absorbs: 0 is white."""
    return -GAMMA * colour.clamp(min=0.01).log()


def reflected(density: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The colour as on a screen of skin with an optical density, by Beer and Lambert's law."""
    return np.exp(-density / GAMMA)


class SkinPainter:
    """Paints the texture of one head: skin, lips, brows, stubble, eyes.

    Attributes:
        atlas: where the texels lie.
        features: where lashes, beards and so on are.
        scalp, under_hair: where hair grows, at the texels, and where sheets of it cover the skin.
    """

    def __init__(self, shapes: HeadShapes, looks: Looks):
        self.atlas, self._noise = Atlas(shapes), NoiseBank()
        self.features = Features(shapes, self.atlas)
        self._vertices = shapes.mean.numpy().astype(np.float32)  # (H, 3)
        names = ("lips", "eyelids", "ears", "eyes")
        masks = np.stack([shapes.regions[name].numpy() for name in names], 1)
        self.regions = dict(zip(names, self.atlas.spread(masks).T, strict=True))
        self.scalp = scalp(self.atlas.points) * (1 - self.regions["ears"])
        self.under_hair = scalp(self.atlas.points, higher=8) * (1 - self.regions["ears"])

        marks = self._vertices[shapes.landmarks.numpy()]
        self.cheeks = [
            0.55 * marks[LEFT_EYE_OUTER] + 0.45 * marks[MOUTH_LEFT],
            0.55 * marks[RIGHT_EYE_OUTER] + 0.45 * marks[MOUTH_RIGHT],
        ]
        self._nose = marks[NOSE_TIP]
        self._bare = np.flatnonzero(self.features.face * (1 - self.regions["lips"]) > 0.5)
        self._skins = self._densities(looks)
        self._brows = [looks.brows[name].numpy() for name in CALM]

    def paint(
        self, who: Phenotype, hair: np.ndarray, rng: np.random.Generator
    ) -> Float[Tensor, "4 R S"]:
        """A random person's head without head hair: sRGB albedo in [0, 1], and how much it shines.

        Args:
            hair: colour, sRGB.
        """
        density = self._mixed(who, rng)  # (P, 3)
        density = density + np.multiply.outer(self._melanin(who, rng), MELANIN)
        density = density + np.multiply.outer(self._blood(rng), HAEMOGLOBIN)
        even = density.mean(1, keepdims=True)
        density = even + PALER * (density - even)
        colour = reflected(density.clip(0.02))
        if who.male:
            colour = self._shave(colour, hair, rng)
        else:
            colour = self._make_up(colour, rng)
        colour = self._paint_brows(colour, who, hair, rng)
        colour = mix(colour, DARK, 0.35 * self.features.lashes)

        gloss = 0.45 + 0.4 * self.features.t_zone + 0.5 * self.regions["lips"]
        shine = rng.uniform(0.4, 1.3) * (gloss + 0.1 * self.grain(rng, 1.5))
        channels = np.concatenate([colour.clip(0.01, 0.98), shine.clip(0, 2)[:, None]], 1)  # (P, 4)
        texture = self.atlas.unfold(channels.astype(np.float32))  # (R, S, 4)
        paint_eyes(texture, who, rng)
        texture[MOUTH] = INSIDE
        return torch.from_numpy(texture).permute(2, 0, 1).contiguous()

    def grain(self, rng: np.random.Generator, size: float) -> Float[np.ndarray, " P"]:
        """Noise of the atlas at all texels of the head."""
        return self._noise.draw(rng, size, self.atlas.texels)

    def _densities(self, looks: Looks) -> dict[str, Float[np.ndarray, "P 3"]]:
        """Optical density of each painted skin at the texels.

        Their scalps are painted with hair, and chin and eyes lie elsewhere: there the nearest bare
        skin takes their place.
        """
        row, column = np.divmod(self.atlas.texels, COLUMNS)
        # The head's chart of the atlas is MakeHuman's, turned: see `texture_coordinates`.
        u, v = (row + 0.5 - 8) / 1400 + 0.640, (column + 0.5 - COLUMNS / 2) / 1400 + 0.4832
        under_the_chin = (column < 300) & (row > 480)
        painted = ~under_the_chin & (self.regions["eyes"] < 0.5) & (self.scalp < 0.02)
        lost = np.flatnonzero(~painted)
        some = self.atlas.points[lost[::7]]  # neighbours of all would take long
        _, near = cKDTree(self.atlas.points[painted]).query(some, 16)
        _, like = cKDTree(some).query(self.atlas.points[lost])

        _, height, depth = self.atlas.points[painted].T
        forehead = (height > 60) & (height < 90) & (depth > 20)
        high = scalp(self.atlas.points, higher=-10, softness=6)[:, None]

        left, top, right, bottom = SKIN_WINDOW
        densities = {}
        for name, skin in looks.skins.items():
            _, rows, columns = skin.shape
            x = (u - left) / (right - left) * columns - 0.5
            y = (1 - v - top) / (bottom - top) * rows - 0.5
            channels = optical_density(skin).numpy()
            density = np.stack([ndimage.map_coordinates(c, [y, x], order=1) for c in channels], 1)
            density[lost] = density[painted][near].mean(1)[like]
            density += (density[painted][forehead].mean(0) - density) * high
            densities[name] = density.astype(np.float32)
        return _balanced(densities)

    def _mixed(self, who: Phenotype, rng: np.random.Generator) -> Float[np.ndarray, "P 3"]:
        """The density of painted people of this sex, age and ancestry, mixed."""
        years = list(PERIODS.values())
        tones = {"darkskinned": who.african, "lightskinned": who.asian + who.caucasian}
        sex = "male" if who.male else "female"
        density, total = 0.0, 0.0
        for number, period in enumerate(PERIODS):
            near = np.interp(who.years, years, np.eye(len(years))[number])
            for tone, share in tones.items():
                fitting = [k for k in self._skins if k.startswith(f"{period}_{tone}_{sex}")]
                shares = near * share * rng.dirichlet(np.ones(len(fitting)))
                if near * share < 0.02:  # too little to be seen
                    continue
                total += near * share
                for name, weight in zip(fitting, shares, strict=True):
                    density = density + weight * self._skins[name]
        return density / total

    def _melanin(self, who: Phenotype, rng: np.random.Generator) -> Float[np.ndarray, " P"]:
        """More or less of it: smooth over the head, then pores, freckles, spots of age, moles."""
        smooth = smooth_field(self._vertices, rng, 0.05, 40)
        smooth = smooth + smooth_field(self._vertices, rng, 0.03, 12)
        tan = rng.normal(0, 0.12) + 0.10 * who.asian + 0.15 * who.african
        melanin = tan + self.atlas.spread(smooth[:, None])[:, 0]
        melanin += 0.02 * self.grain(rng, 1.5) + 0.02 * self.grain(rng, 0.7)

        freckles = (self.grain(rng, 1.5) - rng.uniform(1.0, 1.7)).clip(0, 1)
        if rng.random() < 0.25 * who.caucasian:
            melanin += rng.uniform(0.15, 0.5) * freckles * self.features.freckled
        melanin += 0.3 * who.old * (self.grain(rng, 3) - 1.7).clip(0, 1)
        melanin += DEEP * self.features.wrinkles(who.old**1.4, self.grain(rng, 6), rng)
        for centre in self.atlas.points[rng.choice(self._bare, rng.poisson(2))]:
            away = np.linalg.norm(self.atlas.points - centre, axis=1)
            melanin += rng.uniform(0.3, 1.0) * below(away, rng.uniform(0.5, 1.3), 0.8)
        return melanin

    def _blood(self, rng: np.random.Generator) -> Float[np.ndarray, " P"]:
        """More or less of it: in cheeks, nose, ears and lips, and in blemishes."""
        smooth = smooth_field(self._vertices, rng, 0.05, 25)
        blood = self.atlas.spread(smooth[:, None])[:, 0] + rng.normal(0.02, 0.05)
        for centre, radius in ((self.cheeks[0], 16), (self.cheeks[1], 16), (self._nose, 12)):
            away = ((self.atlas.points - centre) ** 2).sum(1)
            blood += rng.uniform(0, 0.14) * np.exp(-0.5 * away / radius**2)
        blood += 0.06 * self.regions["ears"] + rng.uniform(0, 0.25) * self.regions["lips"]
        blemishes = 0.35 * rng.random() ** 4 * (self.grain(rng, 1.5) - 1.5).clip(0, 1)
        return blood + blemishes * self.features.face

    def _make_up(self, colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For most: lipstick, eye shadow, a line along the lids."""
        wears = rng.random() < 0.6
        lipstick = np.array(
            [rng.uniform(0.45, 0.75), rng.uniform(0.1, 0.3), rng.uniform(0.15, 0.33)]
        )
        lipstick *= 0.5 + 0.7 * colour.mean()
        colour = mix(colour, lipstick, wears * rng.uniform(0.3, 0.9) * self.regions["lips"])
        shadow = rng.uniform(0.15, 0.45) * np.array([1, rng.uniform(0.6, 0.9), rng.uniform(0.6, 1)])
        colour = mix(colour, shadow, wears * rng.uniform(0, 0.45) * self.regions["eyelids"])
        return mix(colour, DARK, wears * rng.uniform(0.2, 0.9) * self.features.lashes)

    def _shave(self, colour: np.ndarray, hair: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The shadow of a shaven beard."""
        where = self.features.beards["all over"] * (1 - self.regions["lips"])
        hairs = (0.8 + 0.3 * self.grain(rng, 0.7)).clip(0, 1.3)
        return mix(colour, 0.5 * hair + 0.03, rng.uniform(0.02, 0.4) * where * hairs)

    def _paint_brows(
        self, colour: np.ndarray, who: Phenotype, hair: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Brows of one shape, thinner or thicker, darker than the hair."""
        drawn = np.zeros((ROWS, COLUMNS), np.float32)
        drawn[BROW_WINDOW] = _raised(self._brows[rng.integers(len(self._brows))], who.male, rng)
        shape = drawn.ravel()[self.atlas.texels]
        strength = rng.uniform(0.85, 1.0)
        fullness = rng.uniform(*(0.4, 0.65) if who.male else (0.5, 0.85))
        tone = rng.uniform(0.35, 0.65) * np.minimum(hair, 0.5) + 0.01
        return mix(colour, tone, strength * shape**fullness)


def _balanced(
    densities: dict[str, Float[np.ndarray, "P 3"]],
) -> dict[str, Float[np.ndarray, "P 3"]]:
    """The same skins with the mean hue of all of their tone: painters differ in it, people less."""
    means = {name: density.mean(0) for name, density in densities.items()}  # (3,) each
    hues = {name: mean - mean.mean() for name, mean in means.items()}
    balanced = {}
    for name, density in densities.items():
        alike = [hue for other, hue in hues.items() if ("dark" in other) == ("dark" in name)]
        balanced[name] = density + (np.mean(alike, 0) - hues[name]).astype(np.float32)
    return balanced


def _raised(
    brows: Float[np.ndarray, "R S"], male: bool, rng: np.random.Generator
) -> Float[np.ndarray, "R S"]:
    """A painted pair of brows, higher or lower, thicker or thinner, rising or falling."""
    rows, columns = brows.shape
    row, column = np.mgrid[:rows, :columns]
    inwards = 1 - np.abs(column / (columns - 1) * 2 - 1)  # 0 at the outer edges, 1 in the middle
    middle = (brows.sum(1) @ np.arange(rows)) / brows.sum()
    up = rng.normal(LIFTED, 2) + rng.normal(RAISED, 3) * (2 * inwards - 1)
    painted = middle + (row + up - middle) / rng.uniform(*(0.8, 1.2) if male else (0.65, 1.05))
    return ndimage.map_coordinates(brows, [painted, column], order=1)

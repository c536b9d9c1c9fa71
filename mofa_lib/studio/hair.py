"""Hairdressing: who wears which hair, beard and lashes, and in which colour."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import cKDTree
from scipy.special import expit
from torch import Tensor

from mofa_lib.faces import JAW, LEFT_BROW, NOSE_BRIDGE, NOSE_TIP, RIGHT_BROW
from mofa_lib.studio.fur import Fur
from mofa_lib.studio.heads import Head, HeadShapes
from mofa_lib.studio.light import GAMMA
from mofa_lib.studio.looks import Looks, Sheet
from mofa_lib.studio.noise import smooth_field
from mofa_lib.studio.phenotype import Phenotype
from mofa_lib.studio.skin import SkinPainter, scalp
from mofa_lib.studio.strands import Strands, cards, follow, outwards

# sRGB, in the light.
COLOURS = np.array(
    [
        [0.13, 0.11, 0.10],  # black
        [0.22, 0.15, 0.11],  # dark brown
        [0.36, 0.24, 0.16],  # brown
        [0.48, 0.35, 0.23],  # light brown
        [0.66, 0.52, 0.34],  # blond
        [0.47, 0.24, 0.13],  # red
    ]
)
GREYS = np.array([[0.62, 0.60, 0.57], [0.80, 0.78, 0.75]])

# Styles and their shares among those who wear neither curls nor fur.
MEN = {"short01": 0.36, "short02": 0.23, "short03": 0.05, "short04": 0.26, "long01": 0.10}
WOMEN = {
    "long01": 0.32, "ponytail01": 0.17, "bob02": 0.19, "braid01": 0.12, "bob01": 0.06,
    "short01": 0.06, "short02": 0.05, "short04": 0.03,
}  # fmt: skip
CURLS = "afro01"
HANGING = ("long01", "ponytail01", "braid01")
BEARDS = {"all over": 0.55, "chin and lip": 0.28, "lip": 0.17}

FULL = 0.95  # cover of the scalp by sheets of hair
HALF = 0.45  # opacity at which a strand ends
LASH = {True: 0.9, False: 0.65}  # men seem to have fewer
NECK = -25.0  # mm: what hangs lower is as long as one likes


def hair_colour(who: Phenotype, rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    """An sRGB colour that fits ancestry and age, or a dye."""
    dark = np.array([0.75, 0.22, 0.03, 0, 0, 0])
    mixed = np.array([0.12, 0.24, 0.25, 0.15, 0.16, 0.08])
    shares = who.caucasian**2 * mixed + (1 - who.caucasian**2) * dark
    colour = COLOURS[rng.choice(len(COLOURS), p=shares / shares.sum())] * rng.uniform(0.8, 1.2)
    greying = np.clip((who.years - 42 - rng.normal(0, 7)) / 22, 0, 1)
    dyed = rng.random() < (0.04 if who.male else 0.2)
    if not dyed:
        colour = colour + (GREYS[rng.integers(len(GREYS))] - colour) * greying
    return colour.clip(0.05, 0.95)


class Hairdresser:
    """Dresses the hair of random people."""

    def __init__(self, shapes: HeadShapes, looks: Looks, painter: SkinPainter):
        self.shapes = shapes
        self.fur = Fur(shapes)
        self._hair = {name: self._hung(sheet, shapes) for name, sheet in looks.hair.items()}
        self._lashes = [self._hung(sheet, shapes) for sheet in looks.lashes.values()]
        eyes = shapes.regions["eyes"].numpy() > 0.5
        self._middle = shapes.mean.numpy()[eyes].mean(0) + [0, 20, -70]  # of the skull

        # Where fur may grow, on the fine vertices.
        regions = {name: shapes.fine @ mask.numpy() for name, mask in shapes.regions.items()}
        self._scalp = (regions["ears"] < 0.3) & (regions["eyes"] < 0.1)
        cheek = (regions["lips"] < 0.3) & (regions["mouth"] < 0.1) & (regions["eyes"] < 0.1)
        _, texel = cKDTree(painter.atlas.points).query(self.fur.points)
        self._beards = {name: mask[texel] * cheek for name, mask in painter.features.beards.items()}

    @staticmethod
    def _hung(sheet: Sheet, shapes: HeadShapes) -> tuple:
        """A sheet in our coordinates, and how its points follow the head."""
        sheet = replace(sheet, points=sheet.points - shapes.origin.numpy())
        return sheet, follow(sheet.points, shapes)

    def dress(
        self, head: Head, colour: np.ndarray, rng: np.random.Generator
    ) -> tuple[Strands, float, str, str]:
        """A person's hair.

        Args:
            colour: sRGB.
        Returns:
            Its strands, how far hair covers the scalp in [0, 1], and the names of the style and of
            the beard; without a beard "".
        """
        who = head.phenotype
        linear = torch.from_numpy(colour**GAMMA).float()
        parts, cover, beard = [self.lashes_of(head, rng)], FULL, ""
        style = _style(who, rng)
        if style == "bald":
            cover = rng.uniform(0, 0.25)
        elif style == "cropped":
            cover, length = 0.55, rng.uniform(1.5, 9)
            density = self._receding(who, rng)
            parts.append(self.fur.grow(head, density, length, (0, 0.15, 0.35), linear, rng))
        else:
            parts.append(self._wear(head, style, linear, rng))
        if who.male and rng.random() < 0.36:
            beard = str(rng.choice(list(BEARDS), p=list(BEARDS.values())))
            length, tone = 1.2 + 11 * rng.beta(0.8, 2.5), linear * rng.uniform(0.7, 1)
            density = self._beards[beard]
            parts.append(self.fur.grow(head, density, length, (0, -0.7, 0.0), tone, rng))
        return Strands.joined(parts), cover, style, beard

    def _receding(self, who: Phenotype, rng: np.random.Generator) -> Float[np.ndarray, " F"]:
        """Where hair is left: less at the temples and on the crown of older men."""
        x, y, z = self.fur.points.T
        lost = who.old * who.male
        higher = rng.uniform(0, 26) * lost * expit(z / 10) + smooth_field(
            self.fur.points, rng, 2.5, 18
        )
        crown = np.exp(-((x / 38) ** 2) - ((z + 75) / 42) ** 2) * expit((y - 110) / 6)
        left = (1 - rng.uniform(0, 1.2) * lost * crown).clip(0, 1)
        return (scalp(self.fur.points, higher) * left * self._scalp).astype(np.float32)

    def _wear(
        self, head: Head, style: str, colour: Float[Tensor, "3"], rng: np.random.Generator
    ) -> Strands:
        """Cards of a style on somebody's head, varied."""
        sheet, moves = self._hair[style]
        points = sheet.points + moves @ (head.neutral - self.shapes.template).numpy()
        marks = head.neutral.numpy()[self.shapes.landmarks.numpy()]
        if rng.random() < 0.5:  # parted on the other side
            across = 2 * marks[NOSE_BRIDGE : NOSE_TIP + 1, 0].mean()
            points = points * [-1, 1, 1] + [across, 0, 0]
            sheet = replace(sheet, triangles=sheet.triangles.flip(1), places=sheet.places.flip(1))
        points = self._varied(points.astype(np.float32), style, rng)
        contrast = rng.uniform(0.3, 0.6) if style == CURLS else rng.uniform(0.8, 1.3)
        sheet = replace(sheet, strands=_evened(sheet.strands, contrast))
        normals = outwards(points, sheet.triangles, self._middle)
        level = HALF + torch.from_numpy(_before_the_eyes(points, marks, rng)).float()
        return cards(sheet, points, normals, moves, level, colour, skin=0.0)

    def _varied(
        self, points: Float[np.ndarray, "A 3"], style: str, rng: np.random.Generator
    ) -> Float[np.ndarray, "A 3"]:
        """Fuller, longer or shorter, wavier."""
        fuller = 1 + rng.uniform(0.015, 0.07) * np.array([1, 0.6, 0.8])
        points = (points - self._middle) * fuller + self._middle
        lower = np.minimum(points[:, 1] - NECK, 0)
        longer = rng.uniform(0.35, 1.1) if style in HANGING else rng.uniform(0.6, 1.25)
        points[:, 1] += (longer - 1) * lower
        waves = rng.uniform(0, 7) * (-lower / 60).clip(0, 1)
        phase = points[:, 1] / rng.uniform(7, 16) + 0.03 * points[:, 0]
        points[:, 0] += waves * np.sin(phase)
        points[:, 2] += waves * np.cos(1.3 * phase)
        points = points.astype(np.float32)
        bumps = [smooth_field(points, rng, rng.uniform(0, 2.2), 30) for _ in range(3)]
        return points + np.stack(bumps, 1).astype(np.float32)

    def lashes_of(self, head: Head, rng: np.random.Generator) -> Strands:
        """The lashes of a person."""
        sheet, moves = self._lashes[rng.integers(len(self._lashes))]
        points = sheet.points + moves @ (head.neutral - self.shapes.template).numpy()
        normals = np.tile(np.array([[0, 0.3, 0.95]], np.float32), (len(points), 1))
        plain = torch.stack([torch.ones_like(sheet.strands[0]), sheet.strands[1]])
        level = torch.full((len(points),), LASH[head.phenotype.male])
        black = torch.full((3,), 0.01)
        return cards(replace(sheet, strands=plain), points, normals, moves, level, black, skin=1.0)


def _style(who: Phenotype, rng: np.random.Generator) -> str:
    """The name of a style, or bald, or cropped."""
    curly = rng.random() < (0.5 if who.male else 0.35) * who.african
    old = (who.years - 18) / 62
    if who.male and rng.random() < 0.04 + 0.22 * old:
        return "bald"
    if rng.random() < (0.35 + 0.3 * who.african if who.male else 0.04):
        return "cropped"
    if curly:
        return CURLS
    styles = MEN if who.male else WOMEN
    return str(rng.choice(list(styles), p=list(styles.values())))


def _evened(strands: Float[Tensor, "2 R S"], contrast: float) -> Float[Tensor, "2 R S"]:
    """The same strands, of a mean lightness of 1."""
    light, opaque = strands
    seen = opaque > HALF
    light = (light / light[seen].mean()).clamp(0.02, 3) ** contrast
    return torch.stack([light / light[seen].mean(), opaque])


def _before_the_eyes(
    points: Float[np.ndarray, "A 3"], marks: Float[np.ndarray, "68 3"], rng: np.random.Generator
) -> Float[np.ndarray, " A"]:
    """1 where hair would hang before the face: a fringe is cut somewhere above the brows."""
    x, y, z = points.T
    brows = np.concatenate([marks[LEFT_BROW], marks[RIGHT_BROW]])[:, 1].max()
    line = brows + rng.uniform(-2, 14) + smooth_field(points, rng, 1.0, 20)
    side = np.abs(marks[JAW][[0, -1], 0]).mean() * rng.uniform(0.72, 0.86)
    return expit((line - y) / 4) * expit((side - np.abs(x)) / 6) * expit((z + 12) / 4)

"""What is drawn on a skin: brows, lashes, beard, wrinkles, eyes. Used in chapter 3."""

import numpy as np
from jaxtyping import Float

from mofa_lib.atlas import EYES, Atlas
from mofa_lib.exemplars import HeadShapes

EYE_TEXELS = 4.0  # a millimetre, in the patches of the eyeballs


def mix(colour: Float[np.ndarray, "P C"], other: np.ndarray, weight: Float[np.ndarray, " P"]) -> np.ndarray:
    """`colour` where the weight is 0, `other` where it is 1."""
    return colour + (other - colour) * weight[:, None]


def below(value: np.ndarray, limit: float | np.ndarray, softness: float) -> np.ndarray:
    """1 well below the limit, 0 well above, smooth between."""
    return 1 / (1 + np.exp(((value - limit) / (softness / 4)).clip(-40, 40)))


class Features:
    """Where the features of a face are in the atlas, and how they are painted.

    Attributes:
        face, freckled, t_zone: masks in [0, 1] at the texels.
        lashes: how dark the rims of the lids are, in [0, 1].
    """

    def __init__(self, shapes: HeadShapes, atlas: Atlas):
        self.points = atlas.points
        marks = shapes.mean.numpy()[shapes.landmarks.numpy()]
        self.mouth, nose = marks[48:60].mean(0), marks[30]
        self.face, ears = atlas.spread(np.stack([shapes.regions[n].numpy() for n in ("face", "ears")], 1)).T
        self.freckled = self._bump(nose, 40)
        self.t_zone = np.maximum(self._bump(nose, 16), self._bump(marks[27] + [0, 35, 0], 22))
        self._brows = [self._along(_bend(line)) for line in (marks[21:16:-1], marks[22:27])]
        self.lashes = self._lash_lines(shapes, marks)
        self._folds = self._fold_lines(marks)
        x, y, z = (self.points - self.mouth).T
        jaw = below(y, 8 - 0.002 * x**2, 24) * below(-z, 84, 14) * below(-y, 52, 24)
        side = below(z, -42, 26) * below(-z, 86, 10) * below(y, 55, 16) * below(-y, 40, 20)
        middle = below(np.abs(x), 32, 8) * below(-z, 30, 10)
        lip_to_nose = below(y, 20 - 0.008 * x**2, 5) * middle
        self._beards = {
            "all over": np.maximum(jaw, side) * (1 - ears),
            "chin and lip": jaw * below(np.abs(x), 30, 6) * (1 - ears),
            "lip": lip_to_nose * below(-y, -3, 5),
        }

    def brows(self, colour: np.ndarray, hair: np.ndarray, streaks: list, rng: np.random.Generator) -> np.ndarray:
        """Two separate brows of one random shape: straight or arched, thin or bushy, rising or falling."""
        thickness, strength = rng.uniform(2.4, 4.8), rng.uniform(0.7, 1.0)
        lift, arch, rise, taper = rng.normal(0, 1.2), rng.uniform(-0.5, 3.0), rng.normal(0, 1.5), rng.uniform(0.35, 0.8)
        colour = colour.copy()
        for (texels, along, across), streak in zip(self._brows, streaks, strict=True):
            line = lift + arch * np.sin(np.pi * along) + rise * (along - 0.5)
            width = thickness * (1 - taper * along**2) * (0.75 + 0.25 * below(-along, -0.12, 0.2))
            inside = below(np.abs(across - line) + 0.35 * streak[texels], width, 1.6)
            ends = below(-along, -0.02, 0.1) * below(along, 0.99, 0.08)
            hairs = (0.8 + 0.3 * streak[texels]).clip(0, 1)
            colour[texels] = mix(colour[texels], hair, strength * inside * ends * hairs)
        return colour

    def beard(
        self,
        colour: np.ndarray,
        attributes: dict[str, float],
        hair: np.ndarray,
        grain: np.ndarray,
        lips: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """For most men a shadow or stubble, for some a beard; for women nothing."""
        style = rng.choice(list(self._beards), p=[0.7, 0.2, 0.1])
        dense = rng.beta(0.7, 1.2) * attributes["gender"] ** 2 * (rng.random() < 0.75)
        hairs = (0.8 + 0.2 * dense + 0.12 * grain).clip(0, 1)
        return mix(colour, hair, dense * self._beards[style] * (1 - lips) * hairs)

    def wrinkles(self, old: float, grain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """How much darker the folds make each texel."""
        darker = np.zeros(len(self.points), np.float32)
        for lines, width, of_age in self._folds:
            depth = of_age * old * rng.uniform(0.1, 0.35) + rng.uniform(0, 0.04)
            for texels, away in lines:
                darker[texels] += depth * rng.uniform(0.8, 1.2) * np.exp(-0.5 * (away / width) ** 2)
        return (darker * (1 + 0.5 * grain)).clip(0, 0.4)

    def _bump(self, centre: np.ndarray, radius: float) -> np.ndarray:
        return np.exp(-0.5 * ((self.points - centre) ** 2).sum(1) / radius**2)

    def _along(self, line: np.ndarray, reach: float = 12.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Texels near a line, how far along it they are in [0, 1], and how far above it in mm."""
        texels, nearest, away = self._near(line, reach)
        above = np.sign(self.points[texels, 1] - line[nearest, 1])
        return texels, nearest / (len(line) - 1), above * away

    def _near(self, line: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Texels within reach of a line of points, the nearest of its points, and the distance."""
        low, high = line.min(0) - reach, line.max(0) + reach
        texels = np.flatnonzero(((self.points > low) & (self.points < high)).all(1))
        distance = np.linalg.norm(self.points[texels, None] - line[None], axis=2)
        close = distance.min(1) < reach
        return texels[close], distance.argmin(1)[close], distance.min(1)[close]

    def _lash_lines(self, shapes: HeadShapes, marks: np.ndarray) -> np.ndarray:
        """Dark where a lid ends: the border of the skin around each eye, the upper more than the lower."""
        skin = shapes.faces[(shapes.regions["eyes"][shapes.faces] < 0.5).all(1)].numpy()
        edges = np.sort(np.concatenate([skin[:, [0, 1]], skin[:, [1, 2]], skin[:, [2, 0]]]), 1)
        edges, times = np.unique(edges, axis=0, return_counts=True)
        ends = shapes.mean.numpy()[edges[times == 1]]
        dark = np.zeros(len(self.points), np.float32)
        for inner, outer in ((39, 36), (42, 45)):
            centre = (marks[inner] + marks[outer]) / 2
            rim = ends[np.linalg.norm(ends.mean(1) - centre, axis=1) < 22]
            line = np.concatenate([rim[:, 0] + t * (rim[:, 1] - rim[:, 0]) for t in (0, 0.25, 0.5, 0.75)])
            slope = (marks[outer] - marks[inner]) / (marks[outer, 0] - marks[inner, 0])
            upper = line[:, 1] > (marks[inner] + (line[:, :1] - marks[inner, 0]) * slope)[:, 1]
            for part, width, depth in ((line[upper], 1.3, 1.0), (line[~upper], 0.7, 0.5)):
                texels, _, away = self._near(part, 4.0)
                dark[texels] = np.maximum(dark[texels], depth * np.exp(-0.5 * (away / width) ** 2))
        return dark

    def _fold_lines(self, marks: np.ndarray) -> list[tuple[list[tuple[np.ndarray, np.ndarray]], float, float]]:
        """Folds where most faces have them: texels and distances of each line, width in mm, dependence on age."""
        cheek, bags, feet = [], [], []
        for side, wing, corner, outer, inner in ((-1, 31, 48, 36, 39), (1, 35, 54, 45, 42)):
            right = np.array([side, 1, 1])
            cheek.append([marks[wing] + [7, 6, -4] * right, marks[corner] + [9, 5, -4] * right])
            cheek[-1].append(marks[corner] + [10, -8, -6] * right)
            bags.append([marks[inner] + [4, -9, 2] * right, (marks[inner] + marks[outer]) / 2 + [0, -14, 2]])
            bags[-1].append(marks[outer] + [0, -10, 0])
            for rise in (-5, 1, 7):
                feet.append([marks[outer] + [5, 0.3 * rise, -2] * right, marks[outer] + [17, rise, -9] * right])
        brow, middle = marks[17:27], marks[27]
        forehead = [brow[[1, 3, 6, 8]] * [0.9, 1, 1] + [0, height, -0.1 * height] for height in (12, 19, 26, 33)]
        frown = [[middle + [5 * side, 6, 2], middle + [6 * side, 17, 2]] for side in (-1, 1)]
        groups = (cheek, 2.2, 0.8), (bags, 1.5, 0.5), (feet, 0.7, 0.7), (forehead, 0.9, 0.5), (frown, 0.9, 0.5)
        return [([self._near_surface(np.array(line)) for line in lines], *look) for lines, *look in groups]

    def _near_surface(self, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Texels near a line that was drawn roughly, once it is laid on the skin, and their distances."""
        front = np.flatnonzero(self.face > 0.3)
        nearest = [((self.points[front] - p) ** 2).sum(1).argmin() for p in _bend(line, 9)]
        texels, _, away = self._near(_bend(self.points[front[nearest]], 120), 6.0)
        return texels, away


def eyeball(iris: np.ndarray, rng: np.random.Generator) -> list[Float[np.ndarray, "E E 4"]]:
    """The patches of both eyes: sclera with veins, an iris with fibres and a dark ring, a pupil; colour and shine."""
    rows, _ = EYES[0]
    half = (rows.stop - rows.start) / 2
    down, right = (np.mgrid[-half:half, -half:half].astype(np.float32) + 0.5) / EYE_TEXELS
    radius, angle = np.hypot(right, down), np.arctan2(down, right)
    pupil, size = rng.uniform(1.5, 2.6), rng.uniform(5.6, 6.2)
    eyes = []
    for _ in range(2):
        fibres = sum(rng.normal(0, 0.35) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in rng.integers(8, 60, 9))
        veins = sum(rng.normal() * np.cos(k * angle + rng.uniform(0, 6.3) + radius) for k in (5, 9, 14))
        white = np.array([0.84, 0.81, 0.79]) - np.multiply.outer((radius / 13) ** 2, [0.08, 0.20, 0.20])
        white -= np.multiply.outer((0.03 * veins * (radius > size)).clip(0, 0.1), [0.0, 1.0, 1.0])
        disc = np.multiply.outer(0.85 + 0.25 * fibres + 0.45 * (radius / size - 0.6), iris)
        disc *= (1 - 0.65 * below(-radius, 0.9 - size, 1.2))[..., None]
        eye = white + (disc - white) * below(radius, size, 0.9)[..., None]
        eye = eye + (0.03 - eye) * below(radius, pupil, 0.6)[..., None]
        eyes.append(np.concatenate([eye.clip(0.02, 0.95), np.full((*eye.shape[:2], 1), 3.0)], 2))
    return eyes


def _bend(line: np.ndarray, points: int = 40) -> np.ndarray:
    """A line through a few points with many points."""
    places = np.linspace(0, len(line) - 1, points)
    return np.stack([np.interp(places, np.arange(len(line)), line[:, k]) for k in range(3)], 1)

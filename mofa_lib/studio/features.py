"""Where the features of a face are: lashes, beards, wrinkles. Used in chapter 3.

Lengths are millimetres on the mean head: x to the right in the image, y up, z towards the camera.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from mofa_lib.faces import (
    LEFT_BROW,
    LEFT_EYE_INNER,
    LEFT_EYE_OUTER,
    MOUTH_LEFT,
    MOUTH_OUTLINE,
    MOUTH_RIGHT,
    NOSE_BRIDGE,
    NOSE_LEFT,
    NOSE_RIGHT,
    NOSE_TIP,
    RIGHT_BROW,
    RIGHT_EYE_INNER,
    RIGHT_EYE_OUTER,
)
from mofa_lib.studio.atlas import Atlas
from mofa_lib.studio.heads import HeadShapes


class _Side(NamedTuple):
    """Landmarks of one half of a face, and the direction from its middle outwards along x."""

    out: int
    inner_eye: int
    outer_eye: int
    nose_wing: int
    mouth_corner: int


LEFT = _Side(-1, LEFT_EYE_INNER, LEFT_EYE_OUTER, NOSE_LEFT, MOUTH_LEFT)
RIGHT = _Side(1, RIGHT_EYE_INNER, RIGHT_EYE_OUTER, NOSE_RIGHT, MOUTH_RIGHT)


class _Folds(NamedTuple):
    """Folds of one kind.

    Attributes:
        lines: the texels near each fold, and their distances from it, mm.
        width: of a fold, mm.
        of_age: how much deeper age makes them.
    """

    lines: list[tuple[np.ndarray, np.ndarray]]
    width: float
    of_age: float


def mix(
    colour: Float[np.ndarray, "P C"], other: np.ndarray, weight: Float[np.ndarray, " P"]
) -> np.ndarray:
    """`colour` where the weight is 0, `other` where it is 1."""
    return colour + (other - colour) * weight[:, None]


def below(value: np.ndarray, limit: float | np.ndarray, softness: float) -> np.ndarray:
    """1 well below the limit, 0 well above, smooth between."""
    return expit((limit - value) / (softness / 4))


class Features:
    """Where the features of a face are in the atlas.

    Attributes:
        face, freckled, t_zone: masks in [0, 1] at the texels.
        lashes: how dark the rims of the lids are, in [0, 1].
        beards: where a beard of each style grows, in [0, 1].
    """

    def __init__(self, shapes: HeadShapes, atlas: Atlas):
        self.points = atlas.points
        marks = shapes.mean.numpy()[shapes.landmarks.numpy()]  # (68, 3)
        masks = np.stack([shapes.regions[name].numpy() for name in ("face", "ears")], 1)
        self.face, ears = atlas.spread(masks).T
        self.mouth = marks[MOUTH_OUTLINE].mean(0)

        # The T-zone, which shines: nose and forehead.
        forehead = marks[NOSE_BRIDGE] + [0, 35, 0]
        self.freckled = self._bump(marks[NOSE_TIP], 40)
        self.t_zone = np.maximum(self._bump(marks[NOSE_TIP], 16), self._bump(forehead, 22))

        self.lashes = self._lash_lines(shapes, marks)
        self._folds = self._fold_lines(marks)
        self.beards = self._beard_styles(ears)

    def _beard_styles(self, ears: np.ndarray) -> dict[str, np.ndarray]:
        """Where a beard of each style grows, in [0, 1] at the texels."""
        x, y, z = (self.points - self.mouth).T  # mm from the middle of the mouth
        jaw = below(y, 8 - 0.002 * x**2, 24) * below(-z, 84, 14) * below(-y, 52, 24)
        side = below(z, -42, 26) * below(-z, 86, 10) * below(y, 55, 16) * below(-y, 40, 20)
        middle = below(np.abs(x), 32, 8) * below(-z, 30, 10)
        lip_to_nose = below(y, 20 - 0.008 * x**2, 5) * middle
        return {
            "all over": np.maximum(jaw, side) * (1 - ears),
            "chin and lip": jaw * below(np.abs(x), 30, 6) * (1 - ears),
            "lip": lip_to_nose * below(-y, -3, 5),
        }

    def wrinkles(self, old: float, grain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """How much darker the folds make each texel."""
        darker = np.zeros(len(self.points), np.float32)  # (P,)
        for folds in self._folds:
            depth = folds.of_age * old * rng.uniform(0.1, 0.35) + rng.uniform(0, 0.04)
            for texels, away in folds.lines:
                profile = np.exp(-0.5 * (away / folds.width) ** 2)
                darker[texels] += depth * rng.uniform(0.8, 1.2) * profile
        return (darker * (1 + 0.5 * grain)).clip(0, 0.4)

    def _bump(self, centre: np.ndarray, radius: float) -> np.ndarray:
        """A Gaussian around a point, at the texels."""
        return np.exp(-0.5 * ((self.points - centre) ** 2).sum(1) / radius**2)

    def _near(self, line: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
        """Texels within reach of a line of points, and their distances from it, mm."""
        # Those in the box around the line first: distances to all texels would take long.
        low, high = line.min(0) - reach, line.max(0) + reach
        texels = np.flatnonzero(((self.points > low) & (self.points < high)).all(1))
        away = np.linalg.norm(self.points[texels, None] - line[None], axis=2).min(1)  # (T,)
        return texels[away < reach], away[away < reach]

    def _lash_lines(self, shapes: HeadShapes, marks: np.ndarray) -> np.ndarray:
        """Dark where a lid ends: the border of the skin around each eye.

        The upper lid is darker than the lower.
        """
        rims = _border_of_the_skin(shapes)  # (N, 2, 3)
        dark = np.zeros(len(self.points), np.float32)  # (P,)
        for side in (LEFT, RIGHT):
            inner, outer = marks[side.inner_eye], marks[side.outer_eye]
            centre = (inner + outer) / 2
            rim = rims[np.linalg.norm(rims.mean(1) - centre, axis=1) < 22]  # mm, of this eye
            start, end = rim[:, 0], rim[:, 1]
            line = np.concatenate([start + t * (end - start) for t in (0, 0.25, 0.5, 0.75)])

            # The upper lid lies above the line between the corners of the eye.
            slope = (outer - inner) / (outer[0] - inner[0])
            upper = line[:, 1] > (inner + (line[:, :1] - inner[0]) * slope)[:, 1]
            lids = (line[upper], 1.3, 1.0), (line[~upper], 0.7, 0.5)
            for lid, width, depth in lids:
                texels, away = self._near(lid, 4.0)
                profile = depth * np.exp(-0.5 * (away / width) ** 2)
                dark[texels] = np.maximum(dark[texels], profile)
        return dark

    def _fold_lines(self, marks: np.ndarray) -> list[_Folds]:
        """Folds where most faces have them."""
        cheeks, bags, crows_feet, frown = [], [], [], []
        for side in (LEFT, RIGHT):
            wing, corner = marks[side.nose_wing], marks[side.mouth_corner]
            inner, outer = marks[side.inner_eye], marks[side.outer_eye]
            outwards = np.array([side.out, 1, 1])  # offsets below are for the right half

            cheeks.append(
                [
                    wing + [7, 6, -4] * outwards,
                    corner + [9, 5, -4] * outwards,
                    corner + [10, -8, -6] * outwards,
                ]
            )
            bags.append(
                [
                    inner + [4, -9, 2] * outwards,
                    (inner + outer) / 2 + [0, -14, 2],
                    outer + [0, -10, 0],
                ]
            )
            for rise in (-5, 1, 7):
                start = outer + [5, 0.3 * rise, -2] * outwards
                crows_feet.append([start, outer + [17, rise, -9] * outwards])
            root = marks[NOSE_BRIDGE]
            frown.append([root + [5 * side.out, 6, 2], root + [6 * side.out, 17, 2]])

        # The second and the fourth point of each brow, raised.
        brows = np.concatenate([marks[LEFT_BROW][[1, 3]], marks[RIGHT_BROW][[1, 3]]])  # (4, 3)
        forehead = [brows * [0.9, 1, 1] + [0, height, -0.1 * height] for height in (12, 19, 26, 33)]
        return [
            _Folds(self._laid_on_the_skin(cheeks), width=2.2, of_age=0.8),
            _Folds(self._laid_on_the_skin(bags), width=1.5, of_age=0.5),
            _Folds(self._laid_on_the_skin(crows_feet), width=0.7, of_age=0.7),
            _Folds(self._laid_on_the_skin(forehead), width=0.9, of_age=0.5),
            _Folds(self._laid_on_the_skin(frown), width=0.9, of_age=0.5),
        ]

    def _laid_on_the_skin(self, lines: list) -> list[tuple[np.ndarray, np.ndarray]]:
        """Texels near lines that were drawn roughly, and their distances, mm."""
        return [self._near_surface(np.array(line)) for line in lines]

    def _near_surface(self, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same for one line: it is bent to the nearest points of the face."""
        front = np.flatnonzero(self.face > 0.3)
        nearest = [((self.points[front] - point) ** 2).sum(1).argmin() for point in _bend(line, 9)]
        return self._near(_bend(self.points[front[nearest]], 120), 6.0)


def _border_of_the_skin(shapes: HeadShapes) -> np.ndarray:
    """Both ends of the edges where the skin ends towards an eyeball or a cut, mm, (N, 2, 3)."""
    is_skin = (shapes.regions["eyes"][shapes.triangles] < 0.5).all(1)
    skin = shapes.triangles[is_skin].numpy()
    edges = np.concatenate([skin[:, [0, 1]], skin[:, [1, 2]], skin[:, [2, 0]]])
    edges, times = np.unique(np.sort(edges, 1), axis=0, return_counts=True)
    return shapes.mean.numpy()[edges[times == 1]]  # an edge inside belongs to two triangles


def _bend(line: np.ndarray, points: int) -> np.ndarray:
    """A line through a few points with many points."""
    places = np.linspace(0, len(line) - 1, points)
    given = np.arange(len(line))
    return np.stack([np.interp(places, given, line[:, axis]) for axis in range(3)], 1)

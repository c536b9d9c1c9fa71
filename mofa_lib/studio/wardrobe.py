"""What people wear: who wears what, and its colours.

The shapes are in `mofa_lib.studio.garments`. Used in chapter 6 by the studio.
"""

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from mofa_lib.studio import garments
from mofa_lib.studio.atlas import CLOTH, FRAMES, MOUTH, TEETH
from mofa_lib.studio.heads import Head, HeadShapes

CLEARANCE = 1.5  # mm between rims and skin

# Wool, cotton, denim.
CLOTHS = np.array(
    [
        [0.09, 0.09, 0.10], [0.16, 0.18, 0.25], [0.30, 0.31, 0.33], [0.55, 0.55, 0.55],
        [0.85, 0.84, 0.82], [0.27, 0.35, 0.47], [0.36, 0.14, 0.16], [0.30, 0.32, 0.24],
        [0.62, 0.54, 0.44], [0.20, 0.33, 0.32], [0.55, 0.38, 0.36], [0.45, 0.42, 0.55],
    ]
)  # fmt: skip


class Wardrobe:
    """Dresses people at random.

    Attributes:
        triangles, places: of each part by name, and where its corners lie in the atlas.
    """

    def __init__(self, shapes: HeadShapes):
        self._mean = shapes.mean.numpy()
        self._landmarks = shapes.landmarks.numpy()
        self.triangles, self.places = {}, {}
        for name, ((rows, columns), patch) in garments.PARTS.items():
            triangles, places = garments.grid_surface(rows, columns, patch)
            self.triangles[name] = triangles
            self.places[name] = places

    def dress(
        self, head: Head, rng: np.random.Generator
    ) -> tuple[dict[str, Float[np.ndarray, "P 3"]], str]:
        """The parts that somebody wears, with the teeth, mm.

        Returns:
            The points of each part by name; "glasses" or "sunglasses", without them "".
        """
        vertices = head.neutral.numpy()
        marks = vertices[self._landmarks]  # (68, 3)
        # The collar begins where the person's neck ends.
        higher = float(vertices[:, 1].min() - self._mean[:, 1].min()) + 8  # mm
        collar = garments.collar(rng) + np.array([0, higher, 0], np.float32)
        parts, glasses = {"collar": collar, "teeth": garments.teeth(marks, rng)}, ""
        if rng.random() < 0.14 + 0.25 * head.phenotype.old:
            against_the_sun = bool(rng.random() < 0.07)
            glasses = "sunglasses" if against_the_sun else "glasses"
            worn = garments.glasses(marks, self._mean[:, 0], sun=against_the_sun, rng=rng)
            parts |= _before_the_face(worn, vertices)
        return parts, glasses


def _before_the_face(
    glasses: dict[str, Float[np.ndarray, "P 3"]], head: Float[np.ndarray, "H 3"]
) -> dict[str, Float[np.ndarray, "P 3"]]:
    """Glasses moved forward until no rim cuts into brows or cheeks."""
    front = head[head[:, 2] > 0]
    rims = np.concatenate([points for name, points in glasses.items() if name.endswith("rim")])
    _, near = cKDTree(front[:, :2]).query(rims[:, :2])
    forward = np.clip((front[near, 2] - rims[:, 2]).max() + CLEARANCE, 0, 12)
    return {name: points + np.float32([0, 0, forward]) for name, points in glasses.items()}


def paint_worn(texture: Float[np.ndarray, "5 R S"], rng: np.random.Generator) -> None:
    """Colour the patches of clothes, glasses and teeth, in place."""
    weave = 1 + 0.06 * rng.standard_normal(texture[0, *CLOTH].shape, np.float32)
    texture[:3, *CLOTH] = _cloth(rng)[:, None, None] * weave
    texture[3:, *CLOTH] = np.array([0.05, 0])[:, None, None]
    black = np.full(3, rng.uniform(0.02, 0.15))
    frames = black if rng.random() < 0.7 else 0.6 * _cloth(rng)
    texture[:, *FRAMES] = np.array([*frames, 1.5, 0])[:, None, None]
    _, width = texture[0, *TEETH].shape
    gaps = 0.75 + 0.25 * np.abs(np.sin(np.linspace(0, 6 * np.pi, width))) ** 0.3  # of six teeth
    enamel = np.array([0.84, 0.79, 0.70]) * rng.uniform(0.8, 1.1)
    texture[:3, *TEETH] = enamel[:, None, None] * gaps
    texture[3:, *TEETH] = np.array([1.2, 0])[:, None, None]
    texture[4, *MOUTH] = 0  # no bare skin


def _cloth(rng: np.random.Generator) -> np.ndarray:
    """A colour of clothes, sRGB."""
    colour = CLOTHS[rng.integers(len(CLOTHS))] * rng.uniform(0.75, 1.2)
    return (colour * np.exp(rng.normal(0, 0.06, 3))).clip(0.03, 0.92)

"""What people wear: hair, hats, glasses, clothes, and their teeth. Used in chapter 6 by the studio.

Hair and hats are thicknesses over the scalp and paint on the texture. Everything else is a *part*:
a grid of points bent into a surface, with two sides.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import expit
from torch import Tensor

from mofa_lib.studio.atlas import CLOTH, COLUMNS, FRAMES, HAIR, HAT, ROWS, TEETH
from mofa_lib.studio.heads import Head, HeadShapes
from mofa_lib.studio.noise import smooth_field

# Where hair begins, from the nape over the ear and the sideburn to the forehead: depth and height
# on the mean head, mm.
HAIRLINE = [-100, -75, -60, -48, -28, -8, 25, 60], [-50, -35, 30, 40, 22, 66, 90, 104]
# The parts: rows and columns of their grids, and their patch in the atlas.
PARTS = {
    "collar": ((41, 10), CLOTH),
    "curtain": ((33, 12), HAIR),
    "scarf": ((33, 12), HAT),
    "brim": ((21, 6), HAT),
    "teeth": ((15, 3), TEETH),
    "left rim": ((25, 6), FRAMES),
    "right rim": ((25, 6), FRAMES),
    "bridge": ((5, 6), FRAMES),
    "left temple": ((3, 6), FRAMES),
    "right temple": ((3, 6), FRAMES),
    "left lens": ((25, 2), FRAMES),
    "right lens": ((25, 2), FRAMES),
}
GLASSES = tuple(name for name in PARTS if name.split()[-1] in ("rim", "bridge", "temple"))
LENSES = "left lens", "right lens"


@dataclass(frozen=True)
class Outfit:
    """What one person wears.

    Attributes:
        thickness: of hair and hat over each vertex of the head, mm.
        hair, hat: where they are painted on the head, in [0, 1].
        parts: the points of each part that is worn, mm.
        hair_colour, cloth, hat_colour, frames, teeth: RGB.
    """

    thickness: Float[np.ndarray, " H"]
    hair: Float[np.ndarray, " H"]
    hat: Float[np.ndarray, " H"]
    parts: dict[str, Float[np.ndarray, "P 3"]]
    hair_colour: np.ndarray
    cloth: np.ndarray
    hat_colour: np.ndarray
    frames: np.ndarray
    teeth: np.ndarray

    def nothing(self) -> "Outfit":
        """The same person without hair and clothes."""
        teeth = {name: points for name, points in self.parts.items() if name == "teeth"}
        return replace(
            self, thickness=0 * self.thickness, hair=0 * self.hair, hat=0 * self.hat, parts=teeth
        )

    @property
    def attributes(self) -> dict[str, float]:
        """What a bias analysis may want to know, 0 or 1."""
        return {
            "glasses": float("left rim" in self.parts),
            "sunglasses": float("left lens" in self.parts),
            "hat": float(self.hat.max() > 0.5),
            "long_hair": float("curtain" in self.parts),
        }


class Wardrobe:
    """Dresses people at random."""

    def __init__(self, shapes: HeadShapes):
        self.points = shapes.mean.numpy().astype(np.float32)
        self.landmarks = shapes.landmarks.numpy()
        self.ears = shapes.regions["ears"].numpy()
        grids = {name: grid_surface(*size, patch) for name, (size, patch) in PARTS.items()}
        self.triangles = {name: triangles for name, (triangles, _) in grids.items()}
        self.places = {name: places for name, (_, places) in grids.items()}

    def dress(self, head: Head, hair_colour: np.ndarray, rng: np.random.Generator) -> Outfit:
        """Hair, perhaps a hat, perhaps glasses, a collar, teeth."""
        male, old = head.attributes["gender"], max(head.attributes["age"] - 0.66, 0) * 3
        parts = {"collar": _collar(rng), "teeth": _teeth(head.neutral.numpy()[self.landmarks], rng)}
        hair, thickness = self._hair(male, old, head.attributes["african"], rng)
        if rng.random() < 0.72 * (1 - male) + 0.06 and thickness.max() > 0:
            parts["curtain"] = _curtain(rng)
        hat, hat_colour = np.zeros_like(hair), _muted(rng)
        kind = rng.choice(["none", "knitted", "cap", "scarf"], p=[0.86, 0.05, 0.05, 0.04])
        if kind == "scarf" and male > 0.5:
            kind = "knitted"
        if kind != "none":
            hat = self._hat(kind, rng)
            thickness = np.maximum(
                np.minimum(thickness, 12 * (1 - hat) + 6), rng.uniform(5, 12) * hat
            )
        if kind == "cap":
            parts["brim"] = _brim(rng)
        if kind == "scarf":
            parts = {name: points for name, points in parts.items() if name != "curtain"}
            parts["scarf"] = _scarf(rng)
        if rng.random() < 0.17 + 0.2 * old:
            marks = head.neutral.numpy()[self.landmarks]
            parts |= _glasses(marks, self.points[:, 0], sun=bool(rng.random() < 0.2), rng=rng)
        frames = np.full(3, rng.uniform(0.03, 0.2)) if rng.random() < 0.6 else _muted(rng) * 0.7
        teeth = np.array([0.86, 0.81, 0.72]) * rng.uniform(0.75, 1.1)
        return Outfit(
            thickness, hair, hat, parts, hair_colour, _muted(rng), hat_colour, frames, teeth
        )

    def _hair(self, male: float, old: float, african: float, rng: np.random.Generator) -> tuple:
        """Where hair grows, above a wavy hairline, and how thick it lies: cropped, smooth, full, or
        curly.
        """
        x, y, z = self.points.T
        line = np.interp(z, *HAIRLINE) + rng.normal(0, 5) + smooth_field(self.points, rng, 4, 22)
        front = expit((z - 5) / 8)
        if rng.random() < 0.45:  # a fringe
            line = line - front * rng.uniform(5, 36) * np.exp(
                -(((x - rng.normal(0, 22)) / rng.uniform(16, 50)) ** 2)
            )
        line += (
            front * rng.uniform(0, 22) * (0.2 + male * old) * (np.abs(x) > 18) * np.abs(x) / 40
        )  # temples recede
        scalp = expit((y - line) / 4) * (1 - self.ears)
        bald = rng.random() < 0.04 + 0.3 * male * old
        cropped = rng.random() < 0.15 * male
        if bald or cropped:
            return scalp * rng.uniform(0, 0.3 if bald else 0.9), np.zeros_like(scalp)
        side, top = rng.uniform(2, 13), rng.uniform(4, 26)
        if rng.random() < 0.1 + 0.5 * african:
            side, top = np.sort(rng.uniform(4, 40, 2)) * [0.7, 1]
            curl = smooth_field(self.points, rng, 0.14, 18, waves=48)
        else:
            curl = smooth_field(self.points, rng, 0.1, 25)
        crown = expit((y - 88) / 12)
        thickness = (side + (top - side) * crown) * np.exp(
            curl + smooth_field(self.points, rng, 0.2, 40)
        )
        return scalp, scalp**3 * thickness  # thin where it begins

    def _hat(self, kind: str, rng: np.random.Generator) -> np.ndarray:
        """What the hat covers: all above a line that falls towards the nape; a scarf also covers
        ears and neck.
        """
        x, y, z = self.points.T
        edge = rng.uniform(64, 88) + rng.uniform(0.0, 0.45) * (z - 40)
        if kind == "cap":
            edge = rng.uniform(72, 88) + 0.12 * (z - 40)
        if kind == "scarf":
            edge = np.interp(z, [-30, 0, 20, 40], [-150, -60, 80, 88]) + rng.normal(0, 4)
            edge = np.where(np.abs(x) > 62, -60, edge)
        return expit((y - edge) / 1.5)


def grid_surface(
    rows: int, columns: int, patch: tuple[slice, slice]
) -> tuple[Int[Tensor, "F 3"], Tensor]:
    """Triangles of a grid of points, seen from both sides, and the places of their corners in a
    patch of the atlas.

    The second side has vertices, and normals, of its own: pass the points twice, one after the
    other.
    """
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    a, b, c, d = corner, corner + 1, corner + columns, corner + columns + 1
    outside = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    down, right = patch
    across, along = np.divmod(outside, columns)
    places = np.stack(
        [
            (right.start + 4 + across / (rows - 1) * (right.stop - right.start - 8)) / COLUMNS,
            (down.start + 4 + along / (columns - 1) * (down.stop - down.start - 8)) / ROWS,
        ],
        -1,
    )
    triangles = np.concatenate([outside, outside[:, ::-1] + rows * columns])
    return torch.from_numpy(triangles), torch.from_numpy(
        np.concatenate([places, places[:, ::-1]])
    ).float()


def _muted(rng: np.random.Generator) -> np.ndarray:
    """A colour of cloth: of any lightness, seldom garish."""
    return (rng.uniform(0.05, 0.8) * (1 + rng.uniform(0, 0.8) * rng.uniform(-1, 1, 3))).clip(
        0.02, 0.92
    )


def _around(
    angle: np.ndarray, height: np.ndarray, radius: np.ndarray, squeeze: float
) -> np.ndarray:
    """Points around the axis of the neck; angle 0 is behind."""
    points = np.stack([radius * np.sin(angle), height, -55 - squeeze * radius * np.cos(angle)], -1)
    return points.reshape(-1, 3).astype(np.float32)


def _grid(name: str, first: tuple, second: tuple) -> tuple[np.ndarray, ...]:
    (rows, columns), _ = PARTS[name]
    return tuple(
        np.meshgrid(np.linspace(*first, rows), np.linspace(*second, columns), indexing="ij")
    )


def _collar(rng: np.random.Generator) -> np.ndarray:
    angle, down = _grid("collar", (-np.pi, np.pi), (0, 1))
    neckline = (
        rng.uniform(-118, -84)
        - rng.uniform(0, 40) * (rng.random() < 0.4) * np.cos(angle / 2 + np.pi / 2) ** 8
    )
    width = rng.uniform(110, 160)
    return _around(angle, neckline - 105 * down, rng.uniform(58, 70) + width * down**1.5, 0.9)


def _curtain(rng: np.random.Generator) -> np.ndarray:
    """Hair that hangs behind the head and over the ears."""
    reach = rng.uniform(1.6, 2.2)
    angle, down = _grid("curtain", (-reach, reach), (0, 1))
    wave = rng.uniform(0, 0.08) * np.sin(
        rng.uniform(2, 9) * np.pi * down + 3 * angle + rng.uniform(0, 6)
    )
    radius = rng.uniform(76, 86) * (1 + wave * down) + rng.uniform(-4, 22) * down**0.8
    return _around(angle, 75 - rng.uniform(110, 240) * down, radius, 1.15)


def _scarf(rng: np.random.Generator) -> np.ndarray:
    """Cloth that hangs from the head and closes under the chin."""
    reach = rng.uniform(2.3, 2.6)
    angle, down = _grid("scarf", (-reach, reach), (0, 1))
    radius = rng.uniform(76, 86) + rng.uniform(-4, 22) * down**0.8
    radius = radius - 14 * np.sin(np.pi * down) * (np.abs(angle) > 1.8)
    return _around(angle, 75 - rng.uniform(110, 240) * down, radius, 1.15)


def _brim(rng: np.random.Generator) -> np.ndarray:
    angle, out = _grid("brim", (-1.1, 1.1), (0, 1))
    long = rng.uniform(40, 65) * np.cos(angle) ** 0.7
    x, z = (66 + 0.35 * long * out) * np.sin(angle), -42 + (90 + long * out) * np.cos(angle)
    y = rng.uniform(80, 88) - rng.uniform(0, 0.35) * long * out - 12 * np.sin(angle) ** 2 * out
    return np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)


def _teeth(marks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The upper row, on an arch behind the lips of this person."""
    angle, down = _grid("teeth", (-1.2, 1.2), (0, 1))
    lip = marks[62]
    half = 0.36 * np.linalg.norm(marks[54] - marks[48]) / np.sin(1.2)
    x, z = lip[0] + half * np.sin(angle), lip[2] - 9.5 - 1.6 * half * (1 - np.cos(angle))
    y = lip[1] + 2.5 - rng.uniform(5, 7.5) * down
    return np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)


def _glasses(
    marks: np.ndarray, x: np.ndarray, sun: bool, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Frames that sit on the bridge of this person's nose; dark lenses if they are against the sun."""
    eyes = marks[36:42].mean(0), marks[42:48].mean(0)
    apart = (eyes[1] - eyes[0])[0]
    width, height = apart * rng.uniform(0.36, 0.43), apart * rng.uniform(0.24, 0.4)
    corner, thick = rng.uniform(0.45, 1.0), rng.uniform(0.7, 2.2)
    drop, front = rng.uniform(0, 5), marks[27][2] + rng.uniform(2, 6)
    parts, (steps, _) = {}, PARTS["left rim"][0]
    turn = np.linspace(0, 2 * np.pi, steps)
    for side, eye in zip(("left", "right"), eyes, strict=True):
        ring = np.stack(
            [_power(np.cos(turn), corner) * width, _power(np.sin(turn), corner) * height, 0 * turn],
            1,
        )
        centre = np.array([eye[0], eye[1] - drop, front])
        ring[:, 2] = -0.0022 * (ring[:, 0] + eye[0] - marks[27][0]) ** 2
        parts[f"{side} rim"] = _tube(centre + ring, thick)
        if sun:
            parts[f"{side} lens"] = np.stack(
                [centre + ring, np.tile(centre, (steps, 1))], 1
            ).reshape(-1, 3)
        out = -1 if side == "left" else 1
        hinge = centre + [
            out * width,
            0.4 * height,
            -0.0022 * (eye[0] + out * width - marks[27][0]) ** 2,
        ]
        ear = np.array([out * 0.93 * x.max(), hinge[1] - 2, -62])
        parts[f"{side} temple"] = _tube(np.linspace(hinge, ear, 3), thick)
    inner = [parts[f"{s} rim"].reshape(steps, -1, 3).mean(1) for s in ("left", "right")]
    ends = inner[0][inner[0][:, 0].argmax()], inner[1][inner[1][:, 0].argmin()]
    parts["bridge"] = _tube(
        np.linspace(*ends, 5) + np.outer([0, 1.5, 2, 1.5, 0], [0, 1, 0.5]), thick
    )
    return {name: points.astype(np.float32) for name, points in parts.items()}


def _power(value: np.ndarray, exponent: float) -> np.ndarray:
    return np.sign(value) * np.abs(value) ** exponent


def _tube(line: np.ndarray, radius: float) -> np.ndarray:
    """A tube along a line of points, flattened to the plane that the line leaves free."""
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    aside = np.cross(along, [0.3, 0.2, 1.0])
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    up = np.cross(along, aside)
    turn = np.linspace(0, 2 * np.pi, PARTS["bridge"][0][1])
    ring = aside[:, None] * np.cos(turn)[:, None] + up[:, None] * np.sin(turn)[:, None]
    return (line[:, None] + radius * ring).reshape(-1, 3)

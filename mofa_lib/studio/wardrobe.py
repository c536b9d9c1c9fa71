"""What people wear: hair, hats, glasses, clothes, and their teeth; who wears what, and its colours.

Hair and hats are thicknesses over the scalp and paint on the texture. Everything else is a part,
whose shape is in `mofa_lib.studio.garments`. Used in chapter 6 by the studio.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import expit
from torch import Tensor

from mofa_lib.studio import garments
from mofa_lib.studio.atlas import CLOTH, COLUMNS, FRAMES, HAIR, HAT, MOUTH, ROWS, TEETH, Atlas
from mofa_lib.studio.heads import Head, HeadShapes
from mofa_lib.studio.noise import NoiseBank, smooth_field

BARE = 4  # the channel of a texture that tells skin from what is worn on it
VISIBLE = 0.004  # hair and hats that cover less, about one of 255 steps, are not painted

# Where hair begins, from the nape over the ear and the sideburn to the forehead: depth z and height
# y on the mean head, mm.
HAIRLINE = [-100, -75, -60, -48, -28, -8, 25, 60], [-50, -35, 30, 40, 22, 66, 90, 104]
# The same for the edge of a scarf, from behind the ear to the forehead.
SCARF_EDGE = [-30, 0, 20, 40], [-150, -60, 80, 88]


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
        return replace(
            self,
            thickness=0 * self.thickness,
            hair=0 * self.hair,
            hat=0 * self.hat,
            parts={name: points for name, points in self.parts.items() if name == "teeth"},
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
        self.points = shapes.mean.numpy().astype(np.float32)  # (H, 3)
        self.landmarks = shapes.landmarks.numpy()
        self.ears = shapes.regions["ears"].numpy()
        self.triangles, self.places = {}, {}
        for name, ((rows, columns), patch) in garments.PARTS.items():
            triangles, places = garments.grid_surface(rows, columns, patch)
            self.triangles[name] = triangles
            self.places[name] = places

    def dress(self, head: Head, hair_colour: np.ndarray, rng: np.random.Generator) -> Outfit:
        """Hair, perhaps a hat, perhaps glasses, a collar, teeth."""
        male = head.attributes["gender"]
        old = max(head.attributes["age"] - 0.66, 0) * 3
        marks = head.neutral.numpy()[self.landmarks]  # (68, 3)
        parts = {"collar": garments.collar(rng), "teeth": garments.teeth(marks, rng)}

        hair, thickness = self._hair(male, old, head.attributes["african"], rng)
        wants_it_long = rng.random() < 0.72 * (1 - male) + 0.06
        if wants_it_long and thickness.max() > 0:
            parts["curtain"] = garments.curtain(rng)

        hat, hat_colour = np.zeros_like(hair), _muted(rng)
        kind = rng.choice(["none", "knitted", "cap", "scarf"], p=[0.86, 0.05, 0.05, 0.04])
        if kind == "scarf" and male > 0.5:
            kind = "knitted"
        if kind != "none":
            hat = self._hat(kind, rng)
            pressed = np.minimum(thickness, 12 * (1 - hat) + 6)  # hair under a hat
            thickness = np.maximum(pressed, rng.uniform(5, 12) * hat)
        if kind == "cap":
            parts["brim"] = garments.brim(rng)
        if kind == "scarf":
            parts.pop("curtain", None)
            parts["scarf"] = garments.scarf(rng)

        if rng.random() < 0.17 + 0.2 * old:
            against_the_sun = bool(rng.random() < 0.2)
            parts |= garments.glasses(marks, self.points[:, 0], sun=against_the_sun, rng=rng)
        if rng.random() < 0.6:
            frames = np.full(3, rng.uniform(0.03, 0.2))  # nearly black
        else:
            frames = _muted(rng) * 0.7
        teeth = np.array([0.86, 0.81, 0.72]) * rng.uniform(0.75, 1.1)
        return Outfit(
            thickness=thickness,
            hair=hair,
            hat=hat,
            parts=parts,
            hair_colour=hair_colour,
            cloth=_muted(rng),
            hat_colour=hat_colour,
            frames=frames,
            teeth=teeth,
        )

    def _hair(self, male: float, old: float, african: float, rng: np.random.Generator) -> tuple:
        """Where hair grows, in [0, 1], and how thick it lies: cropped, smooth, full, or curly."""
        _, y, _ = self.points.T
        scalp = expit((y - self._hairline(male, old, rng)) / 4) * (1 - self.ears)
        bald = rng.random() < 0.04 + 0.3 * male * old
        cropped = rng.random() < 0.15 * male
        if bald or cropped:
            return scalp * rng.uniform(0, 0.3 if bald else 0.9), np.zeros_like(scalp)

        side, top = rng.uniform(2, 13), rng.uniform(4, 26)  # mm
        if rng.random() < 0.1 + 0.5 * african:
            side, top = np.sort(rng.uniform(4, 40, 2)) * [0.7, 1]
            curl = smooth_field(self.points, rng, 0.14, 18, waves=48)
        else:
            curl = smooth_field(self.points, rng, 0.1, 25)
        crown = expit((y - 88) / 12)
        uneven = np.exp(curl + smooth_field(self.points, rng, 0.2, 40))
        thickness = (side + (top - side) * crown) * uneven
        return scalp, scalp**3 * thickness  # thin where it begins

    def _hairline(self, male: float, old: float, rng: np.random.Generator) -> np.ndarray:
        """The height above which hair grows, at each vertex, mm: a wavy line."""
        x, _, z = self.points.T
        line = np.interp(z, *HAIRLINE) + rng.normal(0, 5) + smooth_field(self.points, rng, 4, 22)
        front = expit((z - 5) / 8)
        if rng.random() < 0.45:
            depth = rng.uniform(5, 36)
            centre, width = rng.normal(0, 22), rng.uniform(16, 50)
            fringe = front * depth * np.exp(-(((x - centre) / width) ** 2))
            line = line - fringe

        # Beside the middle of the forehead the line recedes.
        receding = rng.uniform(0, 22)
        beside = np.abs(x) > 18
        line += front * receding * (0.2 + male * old) * beside * np.abs(x) / 40
        return line

    def _hat(self, kind: str, rng: np.random.Generator) -> np.ndarray:
        """What the hat covers, in [0, 1]: all above a line that falls towards the nape.

        A scarf also covers ears and neck.
        """
        x, y, z = self.points.T
        edge = rng.uniform(64, 88) + rng.uniform(0.0, 0.45) * (z - 40)
        if kind == "cap":
            edge = rng.uniform(72, 88) + 0.12 * (z - 40)
        if kind == "scarf":
            edge = np.interp(z, *SCARF_EDGE) + rng.normal(0, 4)
            edge = np.where(np.abs(x) > 62, -60, edge)
        return expit((y - edge) / 1.5)


def _muted(rng: np.random.Generator) -> np.ndarray:
    """A colour of cloth: of any lightness, seldom garish."""
    lightness, saturation = rng.uniform(0.05, 0.8), rng.uniform(0, 0.8)
    return (lightness * (1 + saturation * rng.uniform(-1, 1, 3))).clip(0.02, 0.92)


def paint_outfit(
    texture: Float[Tensor, "4 R S"],
    outfit: Outfit,
    atlas: Atlas,
    noise: NoiseBank,
    rng: np.random.Generator,
) -> Float[Tensor, "5 R S"]:
    """Paint hair and hat on the head, and the patches of what is worn.

    Args:
        texture: of the skin: RGB and how much it shines.
    Returns:
        RGB, shine, and bare skin (1) or not (0), in the atlas.
    """
    bare = np.ones((1, ROWS, COLUMNS), np.float32)
    painted = np.concatenate([texture.numpy(), bare])  # (5, R, S)
    shifts = rng.integers(ROWS * COLUMNS, size=2).tolist()

    def strands(texels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Single hairs, and how light they and the locks around them are."""
        fine = noise.shifted("down", texels, shifts[0])
        coarse = noise.shifted(6, texels, shifts[1])
        return fine, np.exp(0.22 * fine + 0.1 * coarse)

    # On the head: hair begins strand by strand, a hat at once.
    flat = painted.reshape(5, -1)  # the same memory
    masks = np.stack([outfit.hair, outfit.hat], 1).astype(np.float32)  # (H, 2)
    hair, hat = atlas.spread(masks).T  # (P,) each
    covered = hair > VISIBLE
    fine, shade = strands(atlas.texels[covered])
    dense = (3.5 * (hair[covered] - 0.5) + 0.5 + 0.35 * fine).clip(0, 1)
    colours = _hairs(shade, fine, outfit.hair_colour)
    _blend(flat, atlas.texels[covered], colours, hair[covered] * dense)
    covered = hat > VISIBLE
    weave, _ = strands(atlas.texels[covered])
    _blend(flat, atlas.texels[covered], _cloth(weave, outfit.hat_colour), hat[covered])

    # In the patches.
    everywhere = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    fine, shade = strands(everywhere[HAIR])
    painted[:, *HAIR] = _hairs(shade, fine, outfit.hair_colour)
    for patch, colour in ((CLOTH, outfit.cloth), (HAT, outfit.hat_colour)):
        weave = rng.standard_normal(painted[0, *patch].shape, np.float32)
        painted[:, *patch] = _cloth(weave, colour)
    painted[:, *FRAMES] = np.array([*outfit.frames, 1.5, 0])[:, None, None]
    _, width = painted[0, *TEETH].shape
    gaps = 0.7 + 0.3 * np.abs(np.sin(np.linspace(0, 6 * np.pi, width))) ** 0.3  # of six teeth
    painted[:3, *TEETH] = outfit.teeth[:, None, None] * gaps
    painted[3:, *TEETH] = np.array([1.5, 0])[:, None, None]
    painted[BARE, *MOUTH] = 0
    return torch.from_numpy(painted)


def _blend(flat: np.ndarray, texels: np.ndarray, colours: np.ndarray, weight: np.ndarray) -> None:
    """Paint over some texels of a flat texture, in place."""
    for channel, colour in zip(flat, colours, strict=True):
        before = channel[texels]
        channel[texels] = before + (colour - before) * weight


def _hairs(shade: np.ndarray, strands: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Strands of slightly different colour and shine, all five channels."""
    shine, bare = 0.6 + 0.3 * strands, 0 * shade
    return np.stack([*(shade * c for c in colour), shine, bare]).clip(0, 1)


def _cloth(weave: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Threads of slightly different colour, hardly shining, all five channels."""
    shade, shine, bare = 1 + 0.08 * weave, 0.05 + 0 * weave, 0 * weave
    return np.stack([*(shade * c for c in colour), shine, bare]).clip(0, 1)

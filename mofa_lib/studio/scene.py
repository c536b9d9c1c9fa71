"""What surrounds a face in a photograph: lamps, a background, things in front, a camera's faults.

Used in chapter 6.
"""

import io
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mofa_lib.camera import pose
from mofa_lib.lighting import project_irradiance

GAMMA = 2.2  # of the screen for which photographs are encoded
LAMPS = 3
CELLS = 48  # rows and columns of a background before it is blurred


@dataclass(frozen=True)
class Light:
    """The light of some photographs: an even sky, and lamps far away; linear RGB.

    Attributes:
        sky: irradiance of the whole sky.
        directions: unit vectors to the lamps.
        lamps: irradiance of a surface that faces the lamp; 0 for a lamp that is off.
        gloss: strength of the highlights of the first lamp.
        sharpness: exponent of a highlight on skin.
    """

    sky: Float[Tensor, "B 3"]
    directions: Float[Tensor, "B L 3"]
    lamps: Float[Tensor, "B L 3"]
    gloss: Float[Tensor, " B"]
    sharpness: Float[Tensor, " B"]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Light":
        """Light for one photograph, bright enough to see a face that looks at the camera."""
        tint = np.exp(rng.normal(0, 0.05, 3))
        sky = rng.uniform(0.1, 0.5) * tint * np.exp(rng.normal(0, 0.04, 3))
        # Lamps rather above than below the face, rather on the camera's side than behind.
        directions = rng.normal(0, [1.0, 0.7, 0.5], (LAMPS, 3)) + [0, 0.35, 0.8]
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lamps = rng.uniform(0.2, 1.2, (LAMPS, 1)) * tint * np.exp(rng.normal(0, 0.07, (LAMPS, 3)))
        lamps[rng.integers(1, LAMPS + 1) :] = 0

        # What falls on a surface that looks at the camera decides the exposure.
        front = sky.mean() + (directions[:, 2:].clip(0) * lamps).sum(0).mean()
        exposure = 1.05 * np.exp(rng.normal(0, 0.3)) / (front + 0.15)
        gloss = rng.uniform(0, 0.16, 1)
        sharpness = rng.uniform(6, 40, 1)
        return cls(
            sky=torch.from_numpy(exposure * sky[None]).float(),
            directions=torch.from_numpy(directions[None]).float(),
            lamps=torch.from_numpy(exposure * lamps[None]).float(),
            gloss=torch.from_numpy(exposure * gloss).float(),
            sharpness=torch.from_numpy(sharpness).float(),
        )

    @classmethod
    def even(cls) -> "Light":
        """White light from everywhere."""
        nothing = torch.zeros(1, LAMPS, 3)
        return cls(
            sky=torch.ones(1, 3),
            directions=nothing,
            lamps=nothing,
            gloss=torch.zeros(1),
            sharpness=torch.ones(1),
        )

    @classmethod
    def stack(cls, lights: list["Light"]) -> "Light":
        """One batch of several."""
        values = {}
        for field in fields(cls):
            values[field.name] = torch.cat([getattr(light, field.name) for light in lights])
        return cls(**values)

    def turned(self, angle: Float[Tensor, " B"]) -> "Light":
        """The same light in pictures that are turned by an angle, radians, counter-clockwise."""
        zero = torch.zeros_like(angle)
        rotation = torch.stack([zero, zero, angle], 1)  # pitch, yaw, roll
        return replace(self, directions=pose(self.directions, rotation, torch.zeros(len(angle), 3)))

    def irradiance(
        self, normals: Float[Tensor, "B 3 P"], open_sky: Tensor | float = 1.0
    ) -> Float[Tensor, "B 3 P"]:
        """Linear irradiance by Lambert's law.

        A surface that sees less of the sky gets less of all light.
        """
        cosine = (self.directions @ normals).clamp(min=0)  # (B, L, P)
        lit = self.lamps.mT @ cosine  # (B, 3, P)
        return (self.sky[..., None] + lit * (0.35 + 0.65 * open_sky)) * open_sky

    def highlights(
        self, normals: Float[Tensor, "B 3 P"], shine: Float[Tensor, "B 1 P"]
    ) -> Float[Tensor, "B 3 P"]:
        """Blinn's highlights of the first lamp.

        They are soft on skin and hair, sharp where the shine exceeds 2, in the eyes.
        """
        halfway = self.directions[:, :1] + torch.tensor([0.0, 0.0, 1.0])  # lamp and camera
        halfway = halfway / halfway.norm(dim=2, keepdim=True).clamp(min=1e-6)  # (B, 1, 3)
        exponent = torch.where(shine > 2, 120.0, self.sharpness[:, None, None])  # (B, 1, P)
        cosine = (halfway @ normals).clamp(min=1e-4)  # (B, 1, P)
        glint = torch.exp(exponent * cosine.log())  # cosine to the power of exponent
        colour = self.lamps[:, :1].clamp(max=1).mT  # (B, 3, 1)
        return (self.gloss[:, None, None] * colour) * (shine * glint)

    def harmonics(self) -> Float[Tensor, "B 3 9"]:
        """The nine coefficients that come nearest to this light in pixel values.

        They are in the renderer's convention.
        """

        def encoded(normals: Tensor) -> Tensor:
            return self.irradiance(normals.T[None]).mT ** (1 / GAMMA)

        return project_irradiance(encoded)


def background(size: int, rng: np.random.Generator) -> Float[Tensor, "3 H W"]:
    """A place out of focus: a gradient, edges of things, and clouds of colour, randomly blurred."""
    down, right = np.mgrid[0:CELLS, 0:CELLS] / CELLS
    middle = _tint(rng)[:, None, None]
    slope = (_tint(rng) - 0.5)[:, None, None] * rng.uniform(0, 1)
    picture = middle + slope * (down - 0.5)  # (3, CELLS, CELLS)
    for _ in range(rng.integers(0, 9)):
        inside = _outline(right, down, rng)
        picture = np.where(inside, _tint(rng)[:, None, None], picture)

    picture = torch.from_numpy(picture).float()[None]  # (1, 3, CELLS, CELLS)
    for grid in (3, 6, 12, 24):
        strength = rng.uniform(0, 0.1)
        grey = rng.normal(0, strength, (1, 1, grid, grid))
        clouds = grey * rng.normal(1, 0.12, (1, 3, 1, 1))
        picture = picture + F.interpolate(torch.from_numpy(clouds).float(), CELLS, mode="bilinear")

    focus = int(rng.integers(8, CELLS + 1))
    picture = F.interpolate(picture, focus, mode="area")
    return F.interpolate(picture, size, mode="bicubic")[0].clamp(0, 1)


def _outline(right: np.ndarray, down: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where a bar, a box or a disc is, or a row of them; places and sizes in picture widths."""
    x, y = rng.uniform(0, 1, 2)
    width = rng.uniform(0.02, 0.5)
    height = rng.uniform(0.05, 1)
    turn = rng.choice([0, rng.uniform(0, np.pi)])
    u = (right - x) * np.cos(turn) + (down - y) * np.sin(turn)
    v = (down - y) * np.cos(turn) - (right - x) * np.sin(turn)
    if rng.random() < 0.3:
        u = u % rng.uniform(0.1, 0.4)  # shelves, windows, fences
    if rng.random() < 0.35:
        return np.hypot(u, v) < width
    return (np.abs(u) < width / 2) & (np.abs(v) < height / 2)


def _tint(rng: np.random.Generator) -> np.ndarray:
    """A colour of any lightness, mostly near grey."""
    lightness = rng.beta(1.2, 1.2)
    deviation = rng.normal(0, 0.05, 3) * rng.choice([0.4, 1, 3], p=[0.5, 0.35, 0.15])
    return (lightness + deviation).clip(0, 1)


@dataclass(frozen=True)
class Thing:
    """Something between camera and face, as a picture of its surface.

    Attributes:
        alpha: 1 where it hides what is behind.
        normal: unit vectors, camera frame.
        colour: linear RGB.
    """

    alpha: Float[Tensor, "H W"]
    normal: Float[Tensor, "H W 3"]
    colour: Float[Tensor, "3"]


class _Capsule(NamedTuple):
    """A round bar with round ends, parallel to the picture; in picture widths, y down."""

    start: np.ndarray
    end: np.ndarray
    radius: float


def thing_in_front(size: int, skin: np.ndarray, rng: np.random.Generator) -> Thing:
    """A hand, a microphone, a cup or a bar: a few capsules somewhere over the lower or outer face.

    Args:
        skin: the person's colour, for a hand.
    """
    place = np.array([rng.uniform(0.15, 0.85), rng.uniform(0.45, 0.95)])
    kind = rng.choice(["hand", "microphone", "cup", "bar"], p=[0.55, 0.15, 0.15, 0.15])
    colour = (rng.uniform(0.03, 0.7) * np.exp(rng.normal(0, 0.3, 3))).clip(0.01, 0.9)
    if kind == "hand":
        colour = skin * np.exp(rng.normal(0, 0.12))
        capsules = _hand(place, rng)
    elif kind == "microphone":
        foot = place + rng.uniform([-0.5, 0.3], [0.5, 0.7])
        head = _Capsule(place, place + 0.02, rng.uniform(0.07, 0.1))
        capsules = [head, _Capsule(place, foot, 0.035)]
    elif kind == "cup":
        wide, tall = rng.uniform(0.09, 0.14), rng.uniform(0.1, 0.25)
        capsules = [_Capsule(place, place + [0, tall], wide)]
    else:
        turn, long = rng.uniform(0, np.pi), rng.uniform(0.3, 0.8)
        way = 0.5 * long * np.array([np.cos(turn), np.sin(turn)])
        capsules = [_Capsule(place - way, place + way, rng.uniform(0.02, 0.07))]
    alpha, normal = _draw_capsules(capsules, size)
    return Thing(alpha=alpha, normal=normal, colour=torch.from_numpy(colour).float())


def _hand(place: np.ndarray, rng: np.random.Generator) -> list[_Capsule]:
    """A palm that comes from below, four fingers side by side and a thumb."""
    lean = rng.normal(0, 0.5) + 0.8 * (0.5 - place[0])  # radians
    along = np.array([np.sin(lean), -np.cos(lean)])  # the way the fingers point
    aside = np.array([np.cos(lean), np.sin(lean)])
    side = rng.choice([-1, 1])  # a left or a right hand
    scale = rng.uniform(0.85, 1.15)
    spread = rng.uniform(0, 0.18)
    bent = rng.uniform(0.5, 1.0)  # the share of a finger's length that the camera sees

    radius = 0.036 * scale
    palm = _Capsule(place - 0.1 * along * scale, place - 0.75 * along, 0.085 * scale)  # and arm
    capsules = [palm]
    for k, long in enumerate((0.20, 0.24, 0.23, 0.17)):
        root = place + (k - 1.5) * 0.066 * scale * aside * side
        tip = root + long * bent * scale * (along + (k - 1.5) * spread * aside * side)
        capsules.append(_Capsule(root - 0.14 * scale * along, root, 1.12 * radius))
        capsules.append(_Capsule(root, tip, radius))
    thumb = place - 0.1 * scale * along - 0.1 * scale * aside * side
    thumb_tip = thumb + scale * (0.12 * along - 0.09 * aside * side)
    capsules.append(_Capsule(thumb, thumb_tip, 1.1 * radius))
    return capsules


def _draw_capsules(
    capsules: list[_Capsule], size: int
) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W 3"]]:
    """Capsules seen from the front: where there is one, and the normal of the nearest."""
    y, x = (np.mgrid[0:size, 0:size].astype(np.float32) + 0.5) / size
    nearest = np.full((size, size), -1.0, np.float32)
    normal = np.zeros((size, size, 3), np.float32)
    for start, end, radius in capsules:
        # Only the pixels of the box around it.
        low = np.floor((np.minimum(start, end) - radius) * size).clip(0, size).astype(int)
        high = np.ceil((np.maximum(start, end) + radius) * size).clip(0, size).astype(int)
        window = slice(low[1], high[1]), slice(low[0], high[0])

        # How far along its axis each pixel is, and how far beside it.
        px, py = x[window] - start[0], y[window] - start[1]
        way = end - start
        t = ((px * way[0] + py * way[1]) / max(way @ way, 1e-9)).clip(0, 1)
        dx, dy = px - t * way[0], py - t * way[1]
        height = np.sqrt((radius**2 - dx**2 - dy**2).clip(0))  # over its axis, to the camera
        closer = (height > 0) & (height > nearest[window])
        nearest[window] = np.where(closer, height, nearest[window])
        outwards = np.stack([dx, -dy, height], -1) / radius  # y points up in the camera's frame
        normal[window] = np.where(closer[..., None], outwards, normal[window])
    alpha = (nearest > 0).astype(np.float32)
    return torch.from_numpy(alpha), torch.from_numpy(normal)


def camera_faults(
    picture: Float[Tensor, "3 H W"], rng: np.random.Generator
) -> UInt8[Tensor, "3 H W"]:
    """Tint, saturation, contrast, a soft lens, sensor noise, eight bits, and mostly JPEG."""
    grey = picture.mean(0, keepdim=True)  # (1, H, W)
    saturation = 0.0 if rng.random() < 0.03 else float(rng.uniform(0.65, 1.25))
    tint = torch.from_numpy(np.exp(rng.normal(0, 0.03, 3))).float()[:, None, None]
    picture = (grey + (picture - grey) * saturation) * tint
    contrast, brightness = float(rng.uniform(0.85, 1.15)), float(rng.normal(0, 0.03))
    picture = 0.5 + (picture - 0.5) * contrast + brightness

    if rng.random() < 0.6:
        sigma = float(rng.uniform(0.3, 0.9)) * picture.shape[2] / 112  # as wide at every size
        picture = _blur(picture, sigma)
    noise = torch.from_numpy(rng.standard_normal(tuple(picture.shape), np.float32))
    picture = (picture + noise * float(0.016 * rng.beta(1, 2))).clamp(0, 1)
    pixels = (255 * picture).round().to(torch.uint8)
    if rng.random() < 0.6:
        pixels = _jpeg(pixels, quality=int(rng.integers(55, 97)))
    return pixels


def _blur(picture: Float[Tensor, "3 H W"], sigma: float) -> Float[Tensor, "3 H W"]:
    """A Gaussian, one direction after the other; the border repeats."""
    reach = max(1, round(2.5 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum())[None, None]  # (1, 1, 2 · reach + 1)
    padded = F.pad(picture[None], [reach] * 4, mode="replicate")[0][:, None]  # (3, 1, …, …)
    return F.conv2d(F.conv2d(padded, kernel[..., None, :]), kernel[..., None])[:, 0]


def _jpeg(pixels: UInt8[Tensor, "3 H W"], quality: int) -> UInt8[Tensor, "3 H W"]:
    """What a JPEG file keeps of a picture."""
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)

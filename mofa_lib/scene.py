"""What surrounds a face in a photograph: lamps, a background, things in front, a camera's faults. Used in chapter 6."""

import io
from dataclasses import dataclass, replace

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
        directions = rng.normal(0, [1.0, 0.7, 0.5], (LAMPS, 3)) + [0, 0.35, 0.8]
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lamps = rng.uniform(0.2, 1.2, (LAMPS, 1)) * tint * np.exp(rng.normal(0, 0.07, (LAMPS, 3)))
        lamps[rng.integers(1, LAMPS + 1) :] = 0
        front = sky.mean() + (directions[:, 2:].clip(0) * lamps).sum(0).mean()
        exposure = 1.05 * np.exp(rng.normal(0, 0.3)) / (front + 0.15)
        gloss, sharpness = rng.uniform(0, 0.16, 1), rng.uniform(6, 40, 1)
        values = (exposure * sky[None], directions[None], exposure * lamps[None], exposure * gloss, sharpness)
        return cls(*(torch.from_numpy(value).float() for value in values))

    @classmethod
    def even(cls) -> "Light":
        """White light from everywhere."""
        nothing = torch.zeros(1, LAMPS, 3)
        return cls(torch.ones(1, 3), nothing, nothing, torch.zeros(1), torch.ones(1))

    @classmethod
    def stack(cls, lights: list["Light"]) -> "Light":
        """One batch of several."""
        return cls(*(torch.cat(parts) for parts in zip(*(vars(light).values() for light in lights), strict=True)))

    def turned(self, angle: Float[Tensor, " B"]) -> "Light":
        """The same light in pictures that are turned by an angle, radians, counter-clockwise."""
        zero = torch.zeros_like(angle)
        directions = pose(self.directions, torch.stack([zero, zero, angle], 1), torch.zeros(len(angle), 3))
        return replace(self, directions=directions)

    def irradiance(self, normals: Float[Tensor, "B 3 P"], open_sky: Tensor | float = 1.0) -> Float[Tensor, "B 3 P"]:
        """Linear irradiance by Lambert's law; a surface that sees less of the sky gets less of all light."""
        lit = self.lamps.mT @ (self.directions @ normals).clamp(min=0)
        return (self.sky[..., None] + lit * (0.35 + 0.65 * open_sky)) * open_sky

    def highlights(self, normals: Float[Tensor, "B 3 P"], shine: Float[Tensor, "B 1 P"]) -> Float[Tensor, "B 3 P"]:
        """Blinn's highlights of the first lamp: soft on skin and hair, sharp where the shine exceeds 2, in the eyes."""
        halfway = self.directions[:, :1] + torch.tensor([0.0, 0.0, 1.0])
        halfway = halfway / halfway.norm(dim=2, keepdim=True).clamp(min=1e-6)
        exponent = torch.where(shine > 2, 120.0, self.sharpness[:, None, None])
        glint = torch.exp(exponent * (halfway @ normals).clamp(min=1e-4).log())
        return (self.gloss[:, None, None] * self.lamps[:, :1].clamp(max=1).mT) * (shine * glint)

    def harmonics(self) -> Float[Tensor, "B 3 9"]:
        """The nine coefficients, in the renderer's convention, that come nearest to this light in pixel values."""
        return project_irradiance(lambda normals: self.irradiance(normals.T[None]).mT ** (1 / GAMMA))


def background(size: int, rng: np.random.Generator) -> Float[Tensor, "3 H W"]:
    """A place out of focus: a gradient, clouds of colour, and edges of things, blurred by a random amount."""
    cells = 48
    down, right = np.mgrid[0:cells, 0:cells] / cells
    picture = _tint(rng)[:, None, None] + (_tint(rng) - 0.5)[:, None, None] * rng.uniform(0, 1) * (down - 0.5)
    for _ in range(rng.integers(0, 9)):  # bars, boxes and discs
        (x, y), width, height = rng.uniform(0, 1, 2), rng.uniform(0.02, 0.5), rng.uniform(0.05, 1)
        turn = rng.choice([0, rng.uniform(0, np.pi)])
        u = (right - x) * np.cos(turn) + (down - y) * np.sin(turn)
        v = (down - y) * np.cos(turn) - (right - x) * np.sin(turn)
        if rng.random() < 0.3:
            u = u % rng.uniform(0.1, 0.4)  # shelves, windows, fences
        inside = np.hypot(u, v) < width if rng.random() < 0.35 else (np.abs(u) < width / 2) & (np.abs(v) < height / 2)
        picture = np.where(inside, _tint(rng)[:, None, None], picture)
    picture = torch.from_numpy(picture).float()[None]
    for grid in (3, 6, 12, 24):
        grey = rng.normal(0, rng.uniform(0, 0.1), (1, 1, grid, grid)) * rng.normal(1, 0.12, (1, 3, 1, 1))
        picture = picture + F.interpolate(torch.from_numpy(grey).float(), cells, mode="bilinear")
    focus = int(rng.integers(8, cells + 1))
    picture = F.interpolate(F.interpolate(picture, focus, mode="area"), size, mode="bicubic")
    return picture[0].clamp(0, 1)


def _tint(rng: np.random.Generator) -> np.ndarray:
    return (rng.beta(1.2, 1.2) + rng.normal(0, 0.05, 3) * rng.choice([0.4, 1, 3], p=[0.5, 0.35, 0.15])).clip(0, 1)


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
        stick = place + rng.uniform([-0.5, 0.3], [0.5, 0.7])
        capsules = [(place, place + 0.02, rng.uniform(0.07, 0.1)), (place, stick, 0.035)]
    elif kind == "cup":
        wide, tall = rng.uniform(0.09, 0.14), rng.uniform(0.1, 0.25)
        capsules = [(place, place + [0, tall], wide)]
    else:
        turn, long = rng.uniform(0, np.pi), rng.uniform(0.3, 0.8)
        way = 0.5 * long * np.array([np.cos(turn), np.sin(turn)])
        capsules = [(place - way, place + way, rng.uniform(0.02, 0.07))]
    return Thing(*_draw_capsules(capsules, size), torch.from_numpy(colour).float())


def _hand(place: np.ndarray, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """A palm that comes from below, four fingers side by side and a thumb: ends and radii of capsules."""
    up = rng.normal(0, 0.5) + 0.8 * (0.5 - place[0])
    along, aside = np.array([np.sin(up), -np.cos(up)]), np.array([np.cos(up), np.sin(up)])
    side, scale = rng.choice([-1, 1]), rng.uniform(0.85, 1.15)
    spread, bent = rng.uniform(0, 0.18), rng.uniform(0.5, 1.0)
    radius = 0.036 * scale
    capsules = [(place - 0.1 * along * scale, place - 0.75 * along, 0.085 * scale)]  # wrist and arm
    for k, long in enumerate((0.20, 0.24, 0.23, 0.17)):
        root = place + (k - 1.5) * 0.066 * scale * aside * side
        tip = root + long * bent * scale * (along + (k - 1.5) * spread * aside * side)
        capsules += [(root - 0.14 * scale * along, root, 1.12 * radius), (root, tip, radius)]
    thumb = place - 0.1 * scale * along - 0.1 * scale * aside * side
    capsules.append((thumb, thumb + scale * (0.12 * along - 0.09 * aside * side), 1.1 * radius))
    return capsules


def _draw_capsules(capsules: list, size: int) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W 3"]]:
    """Round bars seen from the front: the nearest one at each pixel, and its normal."""
    y, x = (np.mgrid[0:size, 0:size].astype(np.float32) + 0.5) / size
    nearest, normal = np.full((size, size), -1.0, np.float32), np.zeros((size, size, 3), np.float32)
    for start, end, radius in capsules:
        low = np.floor((np.minimum(start, end) - radius) * size).clip(0, size).astype(int)
        high = np.ceil((np.maximum(start, end) + radius) * size).clip(0, size).astype(int)
        window = slice(low[1], high[1]), slice(low[0], high[0])
        px, py = x[window] - start[0], y[window] - start[1]
        way = end - start
        t = ((px * way[0] + py * way[1]) / max(way @ way, 1e-9)).clip(0, 1)
        dx, dy = px - t * way[0], py - t * way[1]
        height = np.sqrt((radius**2 - dx**2 - dy**2).clip(0))
        closer = (height > 0) & (height > nearest[window])
        nearest[window] = np.where(closer, height, nearest[window])
        here = np.stack([dx, -dy, height], -1) / radius
        normal[window] = np.where(closer[..., None], here, normal[window])
    return torch.from_numpy((nearest > 0).astype(np.float32)), torch.from_numpy(normal)


def camera_faults(picture: Float[Tensor, "3 H W"], rng: np.random.Generator) -> UInt8[Tensor, "3 H W"]:
    """Tint, saturation, contrast, a soft lens, sensor noise, eight bits, and JPEG for most pictures."""
    grey = picture.mean(0, keepdim=True)
    saturation = 0.0 if rng.random() < 0.03 else float(rng.uniform(0.65, 1.25))
    tint = torch.from_numpy(np.exp(rng.normal(0, 0.03, 3))).float()[:, None, None]
    picture = (grey + (picture - grey) * saturation) * tint
    picture = 0.5 + (picture - 0.5) * float(rng.uniform(0.85, 1.15)) + float(rng.normal(0, 0.03))
    if rng.random() < 0.6:
        picture = _blur(picture, float(rng.uniform(0.3, 0.9)) * picture.shape[2] / 112)
    noise = torch.from_numpy(rng.standard_normal(tuple(picture.shape), np.float32))
    picture = (picture + noise * float(0.016 * rng.beta(1, 2))).clamp(0, 1)
    pixels = (255 * picture).round().to(torch.uint8)
    if rng.random() < 0.6:
        file = io.BytesIO()
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=int(rng.integers(55, 97)))
        pixels = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    return pixels


def _blur(picture: Float[Tensor, "3 H W"], sigma: float) -> Float[Tensor, "3 H W"]:
    """A Gaussian, one direction after the other; the border repeats."""
    reach = max(1, round(2.5 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum())[None, None]
    padded = F.pad(picture[None], [reach] * 4, mode="replicate")[0][:, None]
    return F.conv2d(F.conv2d(padded, kernel[..., None, :]), kernel[..., None])[:, 0]

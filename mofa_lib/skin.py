"""Skin colour from pigment: melanin and haemoglobin in smooth, nearly symmetric fields. Used in chapter 3."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mofa_lib.exemplars import HeadShapes

# Absorption per unit of pigment in the red, green and blue bands (610, 545, 465 nm): melanin falls with wavelength,
# oxygenated haemoglobin is nearly transparent in the red. Relative values after Jacques 1998 and Prahl 1999.
MELANIN = np.array([1.0, 1.3, 1.65])
HAEMOGLOBIN = np.array([0.05, 1.0, 0.75])
BASE = np.array([0.80, 0.72, 0.65])  # reflectance of skin with no pigment at all

HAIR = np.array([[0.10, 0.08, 0.07], [0.17, 0.11, 0.08], [0.31, 0.20, 0.13], [0.55, 0.40, 0.24], [0.66, 0.63, 0.60]])
IRIS = np.array([[0.25, 0.15, 0.09], [0.36, 0.24, 0.13], [0.38, 0.38, 0.25], [0.38, 0.48, 0.56], [0.46, 0.51, 0.52]])


def skin_colour(melanin: np.ndarray, haemoglobin: np.ndarray) -> np.ndarray:
    """sRGB-encoded albedo in [0, 1] of skin with these amounts of pigment, by Beer and Lambert's law."""
    absorbed = np.multiply.outer(melanin, MELANIN) + np.multiply.outer(haemoglobin, HAEMOGLOBIN)
    return encode_srgb(BASE * np.exp(-absorbed))


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB pixel values (IEC 61966-2-1)."""
    return np.where(linear < 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


def hair_colour(attributes: dict[str, float], rng: np.random.Generator) -> np.ndarray:
    """A hair colour that fits ancestry and age."""
    dark = np.array([0.75, 0.2, 0.05, 0, 0])
    mixed = np.array([0.1, 0.3, 0.35, 0.25, 0])
    weights = attributes["caucasian"] * mixed + (1 - attributes["caucasian"]) * dark
    weights[4] = max(attributes["age"] - 0.75, 0) * 3
    return HAIR[rng.choice(5, p=weights / weights.sum())] * rng.uniform(0.85, 1.15)


class SkinPainter:
    """Paints vertex colours on the full head topology of `HeadShapes`."""

    def __init__(self, shapes: HeadShapes):
        self.points = shapes.mean.numpy().astype(np.float64)
        self.regions = {name: mask.numpy().astype(np.float64) for name, mask in shapes.regions.items()}
        marks = self.points[shapes.landmarks.numpy()]
        self.brows = [marks[17:22], marks[22:27]]
        self.mouth, self.nose_tip = marks[48:60].mean(0), marks[30]
        self.cheeks = [
            0.45 * marks[eye] + 0.2 * marks[corner] + 0.35 * marks[jaw]
            for eye, corner, jaw in [(36, 48, 2), (45, 54, 14)]
        ]
        eyes = self.regions["eyes"] > 0.5
        self.pupils = []
        for side in (-1, 1):
            eye = np.flatnonzero(eyes & (np.sign(self.points[:, 0]) == side))
            self.pupils.append((eye, self.points[eye[np.argmax(self.points[eye, 2])]]))

    def paint(self, attributes: dict[str, float], hair: np.ndarray, rng: np.random.Generator) -> Float[Tensor, "H 3"]:
        """Albedo of one random person's head without head hair, RGB in [0, 1]."""
        tan = 0.12 * attributes["caucasian"] + 0.35 * attributes["asian"] + 1.35 * attributes["african"]
        melanin = tan * np.exp(rng.normal(0, 0.25)) * np.exp(self.field(rng, 0.12, 40) + self.field(rng, 0.06, 12))
        flush = rng.uniform(0.12, 0.38) * np.exp(self.field(rng, 0.2, 40) + self.field(rng, 0.1, 12))
        for centre in (*self.cheeks, self.nose_tip):
            flush += rng.uniform(0, 0.22) * self.blob(centre, 17)
        flush += 0.12 * self.regions["ears"]
        freckles = self.field(rng, 0.35, 4.5).clip(0.25, None) - 0.25
        melanin = melanin + freckles * (rng.random() < 0.25) * self.blob(self.nose_tip, 40)
        melanin = melanin + rng.uniform(0.0, 0.22) * self.regions["eyelids"]
        lips = self.regions["lips"]
        flush += lips * rng.uniform(0.25, 0.85)
        colour = skin_colour(melanin * (1 - 0.25 * lips), flush)

        beard = attributes["gender"] * (rng.random() < 0.5) * rng.uniform(0.05, 0.5)
        colour = self._mix(colour, hair * 0.9, beard * self._beard_area() * (1 - lips))
        thickness, strength = rng.uniform(2.2, 4.2), rng.uniform(0.35, 0.85)
        lift, taper = rng.normal(0, 1.5), rng.uniform(0.2, 0.6)
        for brow in self.brows:
            colour = self._mix(colour, hair * 0.8, strength * self._brow(brow, thickness, lift, taper))
        colour = self._mix(colour, np.array([0.22, 0.07, 0.07]), self.regions["mouth"])
        colour = self._mix(colour, np.array([0.86, 0.83, 0.81]), self.regions["eyes"])
        iris = IRIS[rng.choice(5, p=[0.5, 0.2, 0.1, 0.12, 0.08])] if attributes["caucasian"] > 0.4 else IRIS[0]
        for eye, pupil in self.pupils:
            away = np.linalg.norm(self.points[eye] - pupil, axis=1)
            colour[eye] = self._mix(colour[eye], iris, _below(away, 6.3, 1.2))
            colour[eye] = self._mix(colour[eye], np.full(3, 0.04), _below(away, 2.6, 1.0))
        return torch.from_numpy(colour.clip(0.01, 0.98)).float()

    def field(self, rng: np.random.Generator, amplitude: float, scale: float, waves: int = 24) -> np.ndarray:
        """A smooth random field over the head (mm), nearly mirror-symmetric: random Fourier features."""
        points = self.points.copy()
        points[:, 0] = np.abs(points[:, 0]) + 0.06 * points[:, 0]
        phase = points @ rng.normal(0, 1 / scale, (3, waves)) + rng.uniform(0, 2 * np.pi, waves)
        return amplitude * np.sqrt(2 / waves) * np.cos(phase).sum(1)

    def blob(self, centre: np.ndarray, radius: float) -> np.ndarray:
        """A Gaussian bump in [0, 1] around a point, radius in mm."""
        return np.exp(-0.5 * ((self.points - centre) ** 2).sum(1) / radius**2)

    def _beard_area(self) -> np.ndarray:
        x, y, z = (self.points - self.mouth).T
        jaw = _below(y, 12 - 0.002 * x**2, 14) * _below(-z, 62, 14) * _below(-y, 52, 12)
        side = _below(-np.abs(x), -50, 6) * _below(y, 45, 10) * _below(-z, 62, 8) * _below(np.abs(x), 74, 4)
        return np.maximum(jaw, side) * (1 - self.regions["ears"])

    def _brow(self, line: np.ndarray, thickness: float, lift: float, taper: float) -> np.ndarray:
        """A soft stroke along the brow landmarks, thinner toward the temple."""
        ends = np.linspace(0, len(line) - 1, 40)
        stroke = np.stack([np.interp(ends, np.arange(len(line)), line[:, k]) for k in range(3)], 1)
        stroke[:, 1] += lift
        outward = np.abs(stroke[:, 0] - stroke[np.argmin(np.abs(stroke[:, 0])), 0])
        width = thickness * (1 - taper * outward / outward.max())
        away = np.linalg.norm(self.points[:, None] - stroke[None], axis=2) / width
        return np.exp(-0.5 * away.min(1) ** 4) * (1 - self.regions["eyelids"])

    @staticmethod
    def _mix(colour: np.ndarray, other: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return colour + (other - colour) * weight[:, None]


def _below(value: np.ndarray, limit: float | np.ndarray, softness: float) -> np.ndarray:
    """1 well below the limit, 0 well above, smooth between."""
    return 1 / (1 + np.exp(((value - limit) / (softness / 4)).clip(-40, 40)))

"""The light of photographs: an even sky and a few lamps. Used in chapter 6 by the studio."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

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
        """Light for one photograph: a large soft lamp, sometimes two more, a sky around."""
        tint = np.exp(rng.normal(0, [0.035, 0.015, 0.045]))
        sky = rng.uniform(0.25, 0.6) * tint
        directions = rng.normal(0, [0.9, 0.5, 0.4], (LAMPS, 3)) + [0, 0.45, 0.8]
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        warm = np.exp(rng.normal(0, [0.05, 0.02, 0.07], (LAMPS, 3)))
        lamps = rng.uniform(0.2, 1.0, (LAMPS, 1)) * tint * warm
        lamps[rng.integers(1, LAMPS + 1) :] = 0

        # What falls on a surface that looks at the camera decides the exposure.
        front = sky.mean() + (directions[:, 2:].clip(0) * lamps).sum(0).mean()
        exposure = np.exp(rng.normal(0, 0.22)) / (front + 0.12)
        return cls(
            sky=torch.from_numpy(exposure * sky[None]).float(),
            directions=torch.from_numpy(directions[None]).float(),
            lamps=torch.from_numpy(exposure * lamps[None]).float(),
            gloss=torch.from_numpy(exposure * rng.uniform(0.02, 0.14, 1)).float(),
            sharpness=torch.from_numpy(rng.uniform(8, 30, 1)).float(),
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
        """Linear irradiance by Lambert's law."""
        cosine = (self.directions @ normals).clamp(min=0)  # (B, L, P)
        return self.with_sky(self.lamps.mT @ cosine, open_sky)

    def with_sky(
        self, lit: Float[Tensor, "B 3 P"], open_sky: Tensor | float
    ) -> Float[Tensor, "B 3 P"]:
        """Irradiance by all lamps and the sky: who sees less of it gets less of all light."""
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

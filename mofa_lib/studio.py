"""Photographs of people who do not exist: exemplar heads with hair, clothes, lights, backgrounds and a camera's faults.

Nothing here uses the morphable model or spherical harmonics: what the autoencoder learns to explain is made in another
way than it explains it, as with a real photograph. Used in chapter 6 by `RenderedFaces`.
"""

import io
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mofa_lib.alignment import five_points, similarity
from mofa_lib.camera import Camera, pose
from mofa_lib.exemplars import Head, HeadShapes
from mofa_lib.lighting import vertex_normals
from mofa_lib.raster import interpolate, rasterize
from mofa_lib.skin import SkinPainter, hair_colour

SUPERSAMPLING = 2  # rendered at twice the size, then averaged: no jagged edges


@dataclass(frozen=True)
class Person:
    """One identity: a head, its skin and its hair, the same in every photograph.

    Attributes:
        head: shape, expressions and attributes.
        dressed: what hair and clothes add to the vertices of head, curtain and collar, mm.
        albedo: RGB of the vertices of head, curtain and collar.
        long_hair: whether the curtain of hair is worn.
    """

    head: Head
    dressed: Float[Tensor, "H 3"]
    albedo: Float[Tensor, "W 3"]
    long_hair: bool


class Studio:
    """Invites random people and takes their photographs."""

    def __init__(self):
        self.shapes = HeadShapes()
        self.painter = SkinPainter(self.shapes)
        self.camera = Camera()
        self._normals = vertex_normals(self.shapes.mean[None], self.shapes.faces)[0]
        self._curtain, curtain_faces = _sheet(
            np.linspace(-2.2, 2.2, 33),
            np.linspace(75, -135, 12),
            lambda y: 82 + 0.05 * (75 - y),
            squeeze=1.18,
        )
        self._collar, collar_faces = _sheet(
            np.linspace(-np.pi, np.pi, 41),
            np.linspace(-88, -190, 10),
            lambda y: 62 + 140 * ((-88 - y) / 102) ** 1.5,
            squeeze=0.9,
        )
        head, curtain = len(self.shapes.mean), len(self._curtain)
        self._with_curtain = torch.cat([self.shapes.faces, curtain_faces + head, collar_faces + head + curtain])
        self._without = torch.cat([self.shapes.faces, collar_faces + head + curtain])

    def person(self, rng: np.random.Generator) -> Person:
        """A random identity."""
        head = self.shapes.head(rng)
        hair = hair_colour(head.attributes, rng)
        skin = self.painter.paint(head.attributes, hair, rng)
        male = head.attributes["gender"]
        bald = rng.random() < 0.18 * male + 0.01
        length = 0.0 if bald else rng.uniform(3, 10 + 16 * (1 - male))
        scalp = self._scalp(rng) * (0.25 if bald else 1.0)
        shine = np.exp(self.painter.field(rng, 0.12, 3.0) + self.painter.field(rng, 0.1, 15))
        scalp_colour = torch.from_numpy(np.outer(shine, hair)).float().clamp(0, 1)
        head_albedo = skin + (scalp_colour - skin) * torch.from_numpy(scalp).float()[:, None]
        bumps = torch.from_numpy(scalp * length * np.exp(self.painter.field(rng, 0.2, 30))).float()
        strands = np.exp(rng.normal(0, 0.12, (33, 1)) + rng.normal(0, 0.04, (33, 12)))
        curtain = torch.from_numpy(np.outer(np.stack([strands, strands]), hair)).float().clamp(0, 1)
        clothes = torch.from_numpy(rng.uniform(0.03, 0.9) * rng.dirichlet([2, 2, 2]) * 1.8).float().clamp(0.02, 0.95)
        albedo = torch.cat([head_albedo, curtain, clothes.expand(len(self._collar), 3)])
        worn = not bald and rng.random() < 0.75 * (1 - male) + 0.04
        return Person(head, self._normals * bumps[:, None], albedo, bool(worn))

    def face(self, person: Person, rng: np.random.Generator) -> Float[Tensor, "H 3"]:
        """The person's head (mm, no hair) with the expression that a photograph's generator draws first."""
        strength = self.shapes.expression(rng)
        return person.head.neutral + torch.einsum("e,evc->vc", strength, person.head.expressions)

    def photograph(
        self, person: Person, rngs: list[np.random.Generator], template: Float[Tensor, "5 2"], size: int
    ) -> tuple[UInt8[Tensor, "B 3 H W"], Float[Tensor, "B 68 2"]]:
        """Pictures of one person, one for each generator, and the 68 landmarks in pixels.

        Every picture is aligned by its five points to `template` before it is drawn, with the small errors that a
        detector of the five points would make.
        """
        drawn = torch.stack([self.face(person, rng) for rng in rngs])
        dressed = drawn + person.dressed
        rest = torch.cat([self._curtain, self._collar]).expand(len(rngs), -1, -1)
        angles = torch.tensor(
            np.stack([rng.normal(0, [0.13, 0.28, 0.05]).clip(-0.65, 0.65) for rng in rngs]), dtype=torch.float32
        )
        nowhere = torch.zeros(len(rngs), 3)
        world = pose(torch.cat([dressed, rest], 1), angles, nowhere)
        marks = self.camera.project(pose(drawn[:, self.shapes.landmarks], angles, nowhere), size)
        screen = self.camera.project(world, size)
        landmarks = torch.empty(len(rngs), 68, 2)
        for i, rng in enumerate(rngs):
            found = five_points(marks[i, :, :2]) + torch.from_numpy(rng.normal(0, 0.008 * size, (5, 2))).float()
            turn, shift = similarity(found, template)
            screen[i, :, :2] = screen[i, :, :2] @ turn.T + shift
            landmarks[i] = marks[i, :, :2] @ turn.T + shift
        faces = self._with_curtain if person.long_hair else self._without
        images = self._develop(world, screen, faces, person.albedo, rngs, size)
        return images, landmarks

    def _develop(self, world: Tensor, screen: Tensor, faces: Tensor, albedo: Tensor, rngs: list, size: int) -> Tensor:
        scale = torch.tensor([SUPERSAMPLING, SUPERSAMPLING, 1.0])
        fragments = rasterize(screen * scale, faces, SUPERSAMPLING * size)
        normals = vertex_normals(world, faces)
        values = interpolate(fragments, faces, torch.cat([normals, albedo.expand(len(rngs), -1, -1)], 2))
        normal, colour = F.normalize(values[..., :3], dim=-1), values[..., 3:]
        seen = (fragments.face >= 0)[..., None]
        images = []
        for i, rng in enumerate(rngs):
            lit = colour[i] * _diffuse(normal[i], rng) + _gloss(normal[i], rng)
            picture = torch.where(seen[i], lit, _background(SUPERSAMPLING * size, rng))
            picture = F.avg_pool2d(picture.permute(2, 0, 1), SUPERSAMPLING)
            images.append(_camera_faults(picture.clamp(0, 1), rng))
        return torch.stack(images)

    def _scalp(self, rng: np.random.Generator) -> np.ndarray:
        """Where hair grows, in [0, 1]: above a wavy hairline that falls from the forehead to behind the ears."""
        _, y, z = self.shapes.mean.numpy().astype(np.float64).T
        line = 92 + rng.normal(0, 6) + 0.38 * (z - 30) + self.painter.field(rng, 5, 22)
        back = -45 + 400 * (z > -88 + rng.normal(0, 4))
        return 1 / (1 + np.exp(-(y - np.minimum(line, back)) / 1.8)) * (1 - self.shapes.regions["ears"].numpy())


def _diffuse(normal: Tensor, rng: np.random.Generator) -> Tensor:
    """Ambient light and one to three lamps, with the clamped cosine of Lambert's law."""
    light = torch.from_numpy(rng.uniform(0.25, 0.75) * rng.normal(1, 0.06, 3)).float().expand_as(normal)
    for _ in range(rng.integers(1, 4)):
        direction = torch.from_numpy(rng.normal(0, [1.0, 0.7, 0.5]) + [0, 0.35, 0.8]).float()
        colour = torch.from_numpy(rng.uniform(0.1, 0.75) * rng.normal(1, 0.1, 3)).float()
        light = light + (normal @ F.normalize(direction, dim=0)).clamp(min=0)[..., None] * colour
    return light


def _gloss(normal: Tensor, rng: np.random.Generator) -> Tensor:
    """A soft highlight, which the autoencoder's renderer knows nothing of."""
    halfway = torch.from_numpy(rng.normal(0, [0.4, 0.3, 0.1]) + [0, 0.3, 1.0]).float()
    shine = (normal @ F.normalize(halfway, dim=0)).clamp(min=0) ** float(rng.uniform(8, 40))
    return float(rng.uniform(0, 0.12)) * shine[..., None]


def _background(size: int, rng: np.random.Generator) -> Tensor:
    """An unsharp background: random tints on a few grids from coarse to fine."""
    picture = torch.from_numpy(rng.uniform(0.1, 0.9) + rng.normal(0, 0.1, 3)).float().expand(size, size, 3)
    for cells in (2, 3, 6, 12):
        grey = rng.normal(0, rng.uniform(0, 0.14), (1, 1, cells, cells)) * rng.normal(1, 0.4, (1, 3, 1, 1))
        coarse = torch.from_numpy(grey).float()
        picture = picture + F.interpolate(coarse, size=(size, size), mode="bicubic")[0].permute(1, 2, 0)
    return picture.clamp(0, 1)


def _camera_faults(picture: Float[Tensor, "3 H W"], rng: np.random.Generator) -> UInt8[Tensor, "3 H W"]:
    """Gain, gamma, sensor noise, eight bits, and JPEG for every second picture."""
    picture = picture * float(rng.uniform(0.85, 1.15))
    picture = picture.clamp(1e-4, 1) ** float(rng.uniform(0.85, 1.2))
    noise = torch.from_numpy(rng.normal(0, 1, tuple(picture.shape))).float()
    picture = (picture + noise * float(rng.uniform(0, 0.012))).clamp(0, 1)
    pixels = (255 * picture).round().to(torch.uint8)
    if rng.random() < 0.5:
        file = io.BytesIO()
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=int(rng.integers(70, 97)))
        pixels = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    return pixels


def _sheet(angles: np.ndarray, heights: np.ndarray, radius, squeeze: float) -> tuple[Tensor, Tensor]:
    """A surface bent around the back of the neck, visible from both sides: curtain of hair, or shoulders."""
    angle, height = np.meshgrid(angles, heights, indexing="ij")
    around = radius(height)
    points = np.stack([around * np.sin(angle), height, -55 - squeeze * around * np.cos(angle)], -1).reshape(-1, 3)
    rows, columns = angle.shape
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    a, b, c, d = corner, corner + 1, corner + columns, corner + columns + 1
    outside = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    faces = np.concatenate(
        [outside, outside[:, ::-1] + len(points)]
    )  # the inside has vertices, and normals, of its own
    return torch.from_numpy(np.concatenate([points, points])).float(), torch.from_numpy(faces).long()

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
from mofa_lib.atlas import CLOTH, COLUMNS, HAIR, ROWS, read_texture
from mofa_lib.camera import Camera, pose
from mofa_lib.exemplars import Head, HeadShapes
from mofa_lib.features import mix
from mofa_lib.lighting import vertex_normals
from mofa_lib.noise import smooth_field
from mofa_lib.raster import interpolate, rasterize
from mofa_lib.skin import SkinPainter, hair_colour

SUPERSAMPLING = 2  # rendered at twice the size, then averaged: no jagged edges
# Where hair begins, from the nape over the ear and the sideburn to the forehead: depth and height on the mean head, mm.
HAIRLINE = [-100, -75, -60, -48, -28, -8, 25, 60], [-50, -35, 30, 40, 22, 66, 90, 104]


@dataclass(frozen=True)
class Person:
    """One identity: a head, its skin and its hair, the same in every photograph.

    Attributes:
        head: shape, expressions and attributes.
        dressed: what hair and clothes add to the vertices of head, curtain and collar, mm.
        texture: RGB and shine of head, hair and cloth, in the atlas.
        long_hair: whether the curtain of hair is worn.
    """

    head: Head
    dressed: Float[Tensor, "H 3"]
    texture: Float[Tensor, "4 R S"]
    long_hair: bool


class Studio:
    """Invites random people and takes their photographs."""

    def __init__(self):
        self.shapes = HeadShapes()
        self.painter = SkinPainter(self.shapes)
        self.camera = Camera()
        self._normals = vertex_normals(self.shapes.mean[None], self.shapes.faces)[0]
        self._curtain, curtain_faces, curtain_places = _sheet(
            np.linspace(-1.85, 1.85, 33), np.linspace(75, -135, 12), lambda y: 80 + 0.06 * (75 - y), 1.15, HAIR
        )
        self._collar, collar_faces, collar_places = _sheet(
            np.linspace(-np.pi, np.pi, 41),
            np.linspace(-88, -190, 10),
            lambda y: 62 + 140 * ((-88 - y) / 102) ** 1.5,
            0.9,
            CLOTH,
        )
        head, curtain = len(self.shapes.mean), len(self._curtain)
        self._faces = torch.cat([self.shapes.faces, collar_faces + head + curtain, curtain_faces + head])
        self._places = torch.cat([self.shapes.texture_coordinates, collar_places, curtain_places])
        self._without_curtain = len(self._faces) - len(curtain_faces)
        self._occlusion = torch.cat([self.shapes.occlusion, torch.ones(curtain + len(self._collar))])

    def person(self, rng: np.random.Generator) -> Person:
        """A random identity."""
        head = self.shapes.head(rng)
        hair = hair_colour(head.attributes, rng)
        texture = self.painter.paint(head.attributes, hair, rng)
        male = head.attributes["gender"]
        bald = rng.random() < 0.18 * male + 0.01
        length = 0.0 if bald else rng.uniform(3, 10 + 16 * (1 - male))
        points, scalp = self.shapes.mean.numpy(), self._scalp(rng)
        scalp_texels = self.painter.atlas.spread(scalp[:, None])[:, 0]
        self._grow_hair(texture, scalp_texels * (0.25 if bald else 1.0), hair, rng)
        clothes = rng.uniform(0.03, 0.9) * rng.dirichlet([2, 2, 2]) * 1.8
        texture[:3, *CLOTH] = torch.from_numpy(clothes.clip(0.02, 0.95)).float()[:, None, None]
        texture[3, *CLOTH] = 0.05
        texture[:3, *CLOTH] *= 1 + 0.08 * torch.randn(texture[0, *CLOTH].shape, generator=_generator(rng))
        bumps = torch.from_numpy(scalp * (not bald) * length * np.exp(smooth_field(points, rng, 0.2, 30))).float()
        worn = not bald and rng.random() < 0.75 * (1 - male) + 0.04
        return Person(head, self._normals * bumps[:, None], texture, bool(worn))

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
        triangles = len(self._faces) if person.long_hair else self._without_curtain
        images = self._develop(world, screen, triangles, person.texture, rngs, size)
        return images, landmarks

    def _develop(self, world: Tensor, screen: Tensor, triangles: int, texture: Tensor, rngs: list, size: int) -> Tensor:
        scale = torch.tensor([SUPERSAMPLING, SUPERSAMPLING, 1.0])
        faces = self._faces[:triangles]
        fragments = rasterize(screen * scale, faces, SUPERSAMPLING * size)
        occlusion = self._occlusion[None, :, None].expand(len(rngs), -1, 1)
        values = interpolate(fragments, faces, torch.cat([vertex_normals(world, faces), occlusion], 2))
        normal, open_sky = F.normalize(values[..., :3], dim=-1), values[..., 3:]
        if size <= 128:  # a texel for each sample is enough
            texture = F.avg_pool2d(texture, 2)
        painted = read_texture(texture, self._places[:triangles], fragments)
        seen = (fragments.face >= 0)[..., None]
        images = []
        for i, rng in enumerate(rngs):
            colour, shine = painted[i, ..., :3], painted[i, ..., 3:]
            lit = colour * _diffuse(normal[i], open_sky[i], rng) + _gloss(normal[i], shine, rng) * open_sky[i]
            picture = torch.where(seen[i], lit, _background(size, rng))
            picture = F.avg_pool2d(picture.permute(2, 0, 1), SUPERSAMPLING)
            images.append(_camera_faults(picture.clamp(0, 1), rng))
        return torch.stack(images)

    def _scalp(self, rng: np.random.Generator) -> np.ndarray:
        """Where hair grows, in [0, 1]: above a wavy hairline that falls from the forehead to behind the ears."""
        points = self.shapes.mean.numpy()
        _, y, z = points.T
        line = np.interp(z, *HAIRLINE) + rng.normal(0, 6) + smooth_field(points, rng, 5, 22)
        return 1 / (1 + np.exp(-(y - line) / 4)) * (1 - self.shapes.regions["ears"].numpy())

    def _grow_hair(self, texture: Tensor, scalp: np.ndarray, hair: np.ndarray, rng: np.random.Generator) -> None:
        """Paint hair on the scalp and on the curtain: strands of slightly different colour, a ragged hairline."""
        flat, texels = texture.flatten(1), self.painter.atlas.texels
        every = np.arange(ROWS * COLUMNS)
        strands = self.painter.noise.draw(rng, "down", every)
        shade = np.exp(0.22 * strands + 0.1 * self.painter.noise.draw(rng, 6, every))
        coloured = np.concatenate([np.outer(shade, hair), 0.6 + 0.3 * strands[:, None]], 1).clip(0, 1)
        ragged = (3.5 * (scalp - 0.5) + 0.5 + 0.35 * strands[texels]).clip(0, 1) * (scalp / max(scalp.max(), 1e-6))
        painted = mix(flat[:, texels].numpy().T, coloured[texels], ragged * scalp.max())
        flat[:, texels] = torch.from_numpy(painted.T).float()
        texture[:, *HAIR] = torch.from_numpy(coloured.T.reshape(4, ROWS, COLUMNS)[:, *HAIR]).float()


def _generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**31)))


def _diffuse(normal: Tensor, open_sky: Tensor, rng: np.random.Generator) -> Tensor:
    """Ambient light where the sky is open, and one to three lamps with the clamped cosine of Lambert's law."""
    light = torch.from_numpy(rng.uniform(0.3, 0.8) * rng.normal(1, 0.06, 3)).float() * open_sky
    for _ in range(rng.integers(1, 4)):
        direction = torch.from_numpy(rng.normal(0, [1.0, 0.7, 0.5]) + [0, 0.35, 0.8]).float()
        colour = torch.from_numpy(rng.uniform(0.1, 0.75) * rng.normal(1, 0.1, 3)).float()
        light = light + (normal @ F.normalize(direction, dim=0)).clamp(min=0)[..., None] * colour
    return light


def _gloss(normal: Tensor, shine: Tensor, rng: np.random.Generator) -> Tensor:
    """A soft highlight on skin and hair, a sharp one in the eyes; the autoencoder's renderer knows of neither."""
    halfway = F.normalize(torch.from_numpy(rng.normal(0, [0.4, 0.3, 0.1]) + [0, 0.3, 1.0]).float(), dim=0)
    facing = (normal @ halfway).clamp(min=0)[..., None]
    soft, strength = float(rng.uniform(8, 40)), float(rng.uniform(0, 0.25))
    return strength * shine * facing ** torch.where(shine > 2, 120.0, soft)


def _background(size: int, rng: np.random.Generator) -> Tensor:
    """An unsharp background: random tints on a few grids from coarse to fine."""
    picture = torch.from_numpy(rng.uniform(0.1, 0.9) + rng.normal(0, 0.1, 3)).float()[:, None, None]
    for cells in (2, 3, 6, 12):
        grey = rng.normal(0, rng.uniform(0, 0.14), (1, 1, cells, cells)) * rng.normal(1, 0.4, (1, 3, 1, 1))
        coarse = torch.from_numpy(grey).float()
        picture = picture + F.interpolate(coarse, size=(size, size), mode="bicubic")[0]
    return F.interpolate(picture[None], scale_factor=SUPERSAMPLING)[0].permute(1, 2, 0).clamp(0, 1)


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


def _sheet(
    angles: np.ndarray, heights: np.ndarray, radius, squeeze: float, patch: tuple[slice, slice]
) -> tuple[Tensor, Tensor, Tensor]:
    """A surface bent around the back of the neck, visible from both sides: curtain of hair, or shoulders.

    Returns vertices, triangles, and the texture coordinates of their corners in a patch of the atlas.
    """
    angle, height = np.meshgrid(angles, heights, indexing="ij")
    around = radius(height)
    points = np.stack([around * np.sin(angle), height, -55 - squeeze * around * np.cos(angle)], -1).reshape(-1, 3)
    rows, columns = angle.shape
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
    # The inside has vertices, and normals, of its own.
    faces = torch.from_numpy(np.concatenate([outside, outside[:, ::-1] + len(points)]))
    both = torch.from_numpy(np.concatenate([places, places[:, ::-1]])).float()
    return torch.from_numpy(np.concatenate([points, points])).float(), faces, both

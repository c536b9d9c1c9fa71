"""Photographs of people who do not exist: exemplar heads with hair, clothes, lights, backgrounds
and a camera's faults.

Used in chapter 6 by `RenderedFaces`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from mofa_lib.camera import Camera, pose
from mofa_lib.faces import five_points
from mofa_lib.mesh import vertex_normals
from mofa_lib.procrustes import similarity
from mofa_lib.raster import interpolate, rasterize
from mofa_lib.studio.atlas import (
    CLOTH,
    COLUMNS,
    FRAMES,
    HAIR,
    HAT,
    MOUTH,
    ROWS,
    TEETH,
    read_texture,
)
from mofa_lib.studio.heads import Head, HeadShapes
from mofa_lib.studio.scene import GAMMA, Light, Thing, background, camera_faults, thing_in_front
from mofa_lib.studio.skin import SkinPainter, hair_colour
from mofa_lib.studio.wardrobe import Outfit, Wardrobe

SUPERSAMPLING = 2  # rendered at twice the size, then averaged: no jagged edges
AT_ONCE = 8  # pictures; larger batches fall out of the processor's cache
BARE = 4  # the channel of a texture that tells skin from what is worn on it

# Where the eyes, the tip of the nose and the corners of the mouth lie in an aligned picture, in
# shares of its side. It is `alignment.five_point_template`, which comes from the face model; the
# studio must not know that model.
TEMPLATE = torch.tensor(
    [
        [0.37031099, 0.38883105],
        [0.62085146, 0.38881660],
        [0.49540860, 0.52378964],
        [0.39564562, 0.67753726],
        [0.59535444, 0.67757702],
    ],
    dtype=torch.float64,
)


@dataclass(frozen=True)
class Person:
    """One identity: a head, its skin, its hair and its clothes, the same in every photograph.

    Attributes:
        head: shape, expressions and attributes.
        outfit: what the person wears.
        thickness: what hair and hat add to the vertices of the head, mm.
        worn: vertices of everything else that is worn, mm.
        triangles: of head and worn things.
        places: texture coordinates of the triangles' corners.
        texture: linear RGB, shine, and bare skin (1) or not (0), in the atlas.
    """

    head: Head
    outfit: Outfit
    thickness: Float[Tensor, "H 3"]
    worn: Float[Tensor, "W 3"]
    triangles: Int[Tensor, "F 3"]
    places: Float[Tensor, "F 3 2"]
    texture: Float[Tensor, "5 R S"]


@dataclass(frozen=True)
class Shot:
    """What chance decides about one photograph before the picture is drawn.

    Attributes:
        expression: strengths of the facial actions.
        rotation: pitch, yaw, roll in radians.
        distance: of the camera, mm.
        misread: errors of the five points by which the picture is aligned, image widths.
        light: for one picture.
        rng: for the rest: background, things in front, noise.
    """

    expression: Float[Tensor, " E"]
    rotation: Float[Tensor, "3"]
    distance: float
    misread: Float[Tensor, "5 2"]
    light: Light
    rng: np.random.Generator


@dataclass(frozen=True)
class Photographs:
    """Pictures of one person with what is true about them.

    Attributes:
        images: 8 bits.
        landmarks: the 68 points, pixels.
        skin: whether a pixel shows bare skin, eyes or lips, which a face model can explain; teeth
            it cannot.
    """

    images: UInt8[Tensor, "B 3 H W"]
    landmarks: Float[Tensor, "B 68 2"]
    skin: Bool[Tensor, "B H W"]

    @classmethod
    def joined(cls, parts: list["Photographs"]) -> "Photographs":
        """One batch of several."""
        return cls(
            images=torch.cat([part.images for part in parts]),
            landmarks=torch.cat([part.landmarks for part in parts]),
            skin=torch.cat([part.skin for part in parts]),
        )


class Studio:
    """Invites random people and takes their photographs.

    Args:
        plain: bald heads before a grey wall, by a perfect camera: to measure what the variety is
            good for.
    """

    def __init__(self, plain: bool = False):
        self.plain = plain
        self.shapes = HeadShapes()
        self.painter, self.wardrobe = SkinPainter(self.shapes), Wardrobe(self.shapes)
        atlas = self.painter.atlas
        near = [np.linalg.norm(atlas.points - cheek, axis=1) < 10 for cheek in self.painter.cheeks]
        self._cheeks = torch.from_numpy(atlas.texels[np.logical_or(*near)])
        self._normals = vertex_normals(self.shapes.mean[None], self.shapes.triangles)[0]

    def person(self, rng: np.random.Generator) -> Person:
        """A random identity."""
        head = self.shapes.head(rng)
        hair = hair_colour(head.attributes, rng)
        texture = self.painter.paint(head.attributes, hair, rng)
        outfit = self.wardrobe.dress(head, hair, rng)
        if self.plain:
            outfit = outfit.nothing()
        triangles, places, worn = [self.shapes.triangles], [self.shapes.texture_coordinates], []
        first = len(self.shapes.mean)  # number of the next vertex
        for name, points in outfit.parts.items():
            triangles.append(self.wardrobe.triangles[name] + first)
            places.append(self.wardrobe.places[name])
            worn += [torch.from_numpy(points)] * 2  # a part has two sides
            first += 2 * len(points)
        return Person(
            head=head,
            outfit=outfit,
            thickness=self._normals * torch.from_numpy(outfit.thickness).float()[:, None],
            worn=torch.cat(worn),
            triangles=torch.cat(triangles),
            places=torch.cat(places),
            texture=self._dress(texture, outfit, rng),
        )

    def shot(self, rng: np.random.Generator) -> Shot:
        """The part of a photograph that decides what is true about it; the same generator gives the
        same shot.
        """
        expression = self._smile(self.shapes.expression(rng), rng)
        rotation = rng.normal(0, [0.14, 0.33, 0.05]).clip(-0.9, 0.9)
        distance = np.exp(rng.uniform(np.log(700), np.log(1500)))
        misread = rng.normal(0, 0.008, (5, 2))
        return Shot(
            expression=expression,
            rotation=torch.from_numpy(rotation).float(),
            distance=float(distance),
            misread=torch.from_numpy(misread).float(),
            light=Light.even() if self.plain else Light.draw(rng),
            rng=rng,
        )

    def _smile(
        self, strength: Float[Tensor, " E"], rng: np.random.Generator
    ) -> Float[Tensor, " E"]:
        """People in front of a camera smile more often and more broadly than elsewhere, and show
        their teeth.
        """
        if rng.random() < 0.4:
            broad, corners = (
                rng.uniform(0.4, 1.2),
                rng.uniform(-0.25, 0.15),
            )  # drawn in or stretched
            actions = {
                "mouthSmile": 1.0,
                "mouthUpperUp": 0.45,
                "mouthLowerDown": 0.3,
                "cheekSquint": 0.4,
            }
            for name, share in (actions | {"mouthStretch": corners}).items():
                for side in ("Left", "Right"):
                    strength[self.shapes.actions.index(name + side)] = broad * share
            strength[self.shapes.actions.index("jawOpen")] = broad * rng.uniform(0, 0.2)
        return strength

    def face(self, person: Person, shot: Shot) -> Float[Tensor, "H 3"]:
        """The person's head with the expression of a shot, mm, not posed, without what is worn."""
        return person.head.neutral + torch.einsum(
            "e,evc->vc", shot.expression, person.head.expressions
        )

    def attributes(self, person: Person, shot: Shot) -> dict[str, float]:
        """What an analysis of errors by group may ask for: of the person, the outfit and the pose."""
        lightness = float((self._skin_of(person) ** (1 / GAMMA)).mean())
        about_the_shot = {"lightness": lightness, "yaw": float(shot.rotation[1])}
        return person.head.attributes | person.outfit.attributes | about_the_shot

    def light(self, person: Person, shot: Shot, size: int) -> Float[Tensor, "3 9"]:
        """The light of a shot as the aligned picture shows it, in the renderer's convention."""
        turn, _, _ = self._align(person, shot, size)
        return shot.light.turned(_angle(turn)).harmonics()[0]

    def photograph(self, person: Person, rngs: list[np.random.Generator], size: int) -> Photographs:
        """Pictures of one person, one for each generator.

        Every picture is aligned by its five points to `TEMPLATE` before it is drawn, with the small
        errors that a detector of the five points would make.
        """
        texture = (
            F.avg_pool2d(person.texture, 2) if size <= 128 else person.texture
        )  # a texel a sample is enough
        taken = []
        for first in range(0, len(rngs), AT_ONCE):
            shots = [self.shot(rng) for rng in rngs[first : first + AT_ONCE]]
            taken.append(self._photograph(person, texture, shots, size))
        return Photographs.joined(taken)

    def _photograph(
        self, person: Person, texture: Tensor, shots: list[Shot], size: int
    ) -> Photographs:
        dressed = torch.stack(
            [torch.cat([self.face(person, s) + person.thickness, person.worn]) for s in shots]
        )
        world = pose(dressed, torch.stack([s.rotation for s in shots]), torch.zeros(len(shots), 3))
        screen, landmarks, lights = [], [], []
        for shot, points in zip(shots, world, strict=True):
            turn, shift, marks = self._align(person, shot, size)
            seen = Camera(distance=shot.distance).project(points[None], size)[0]
            screen.append(torch.cat([seen[:, :2] @ turn.T + shift, seen[:, 2:]], 1))
            landmarks.append(marks @ turn.T + shift)
            lights.append(shot.light.turned(_angle(turn)))
        images, skin = self._develop(
            person, texture, shots, lights, world, torch.stack(screen), size
        )
        return Photographs(images, torch.stack(landmarks), skin)

    def _align(self, person: Person, shot: Shot, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """The turn and the shift that align a shot, and its landmarks before them, in pixels."""
        face = self.face(person, shot)[self.shapes.landmarks]
        posed = pose(face[None], shot.rotation[None], torch.zeros(1, 3))
        marks = Camera(distance=shot.distance).project(posed, size)[0, :, :2]
        turn, shift = similarity(
            five_points(marks) + size * shot.misread, (size * TEMPLATE).float()
        )
        return turn, shift, marks

    def _develop(
        self, person, texture, shots, lights, world, screen, size: int
    ) -> tuple[Tensor, Tensor]:
        """Shade and finish the pictures of posed vertices (B, V, 3) at places on the screen, and
        their skin masks.

        Args:
            lights: as the aligned pictures show them, for things in front.
        """
        fine = SUPERSAMPLING * size
        fragments = rasterize(
            screen * torch.tensor([SUPERSAMPLING, SUPERSAMPLING, 1.0]), person.triangles, fine
        )
        colour, shine, bare = _planes(read_texture(texture, person.places, fragments)).split(
            [3, 1, 1], 1
        )
        open_sky = torch.ones(world.shape[1])
        open_sky[: len(self.shapes.mean)] = self.shapes.occlusion
        values = torch.cat(
            [vertex_normals(world, person.triangles), open_sky.expand(len(shots), -1)[..., None]], 2
        )
        normal, open_sky = _planes(interpolate(fragments, person.triangles, values)).split(
            [3, 1], 1
        )
        normal = normal * (normal.square().sum(1, keepdim=True) + 1e-12).rsqrt()
        light = Light.stack([shot.light for shot in shots])
        lit = (
            colour * light.irradiance(normal, open_sky) + light.highlights(normal, shine) * open_sky
        )
        lit = lit.clamp(1e-4, 1) ** (1 / GAMMA)
        seen = (fragments.face >= 0).flatten(1)
        pictures, skin = [], []
        for i, shot in enumerate(shots):
            behind = torch.full((3, size, size), 0.5) if self.plain else background(size, shot.rng)
            behind = F.interpolate(behind[None], fine, mode="bilinear")[0].flatten(1)
            picture, shown = torch.where(seen[i], lit[i], behind), seen[i] * bare[i, 0]
            if not self.plain and shot.rng.random() < 0.15:
                thing = thing_in_front(fine, self._skin_of(person), shot.rng)
                picture, shown = _put_in_front(thing, picture, shown, lights[i])
            picture = _average(picture.unflatten(1, (fine, fine)))
            pictures.append(
                _eight_bits(picture) if self.plain else camera_faults(picture, shot.rng)
            )
            skin.append(_average(shown.unflatten(0, (fine, fine))) > 0.5)
        return torch.stack(pictures), torch.stack(skin)

    def _skin_of(self, person: Person) -> np.ndarray:
        """The mean colour of the person's cheeks, linear RGB."""
        return person.texture.flatten(1)[:3, self._cheeks].mean(1).numpy()

    def _dress(
        self, texture: Tensor, outfit: Outfit, rng: np.random.Generator
    ) -> Float[Tensor, "5 R S"]:
        """Paint hair and hat on the head, and the patches of what is worn; then colours become
        linear.
        """
        painted = np.concatenate([texture.numpy(), np.ones((1, ROWS, COLUMNS), np.float32)])
        flat, everywhere = painted.reshape(5, -1), np.arange(ROWS * COLUMNS)
        draws = rng.integers(ROWS * COLUMNS, size=2).tolist()

        def strands(texels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            kinds = zip(("down", 6), draws, strict=True)
            fine, coarse = (
                self.painter.noise.shifted(kind, texels, shift) for kind, shift in kinds
            )
            return fine, np.exp(0.22 * fine + 0.1 * coarse)

        texels = self.painter.atlas.texels
        masks = np.stack([outfit.hair, outfit.hat], 1).astype(np.float32)
        hair, hat = self.painter.atlas.spread(masks).T
        where = hair > 0.004
        fine, shade = strands(texels[where])
        weight = hair[where] * (3.5 * (hair[where] - 0.5) + 0.5 + 0.35 * fine).clip(
            0, 1
        )  # strand by strand
        _blend(flat, texels[where], _hairs(shade, fine, outfit.hair_colour), weight)
        where = hat > 0.004
        _blend(
            flat, texels[where], _cloth(strands(texels[where])[0], outfit.hat_colour), hat[where]
        )
        fine, shade = strands(everywhere.reshape(ROWS, COLUMNS)[HAIR])
        painted[:, *HAIR] = _hairs(shade, fine, outfit.hair_colour)
        painted[:, *CLOTH] = _cloth(
            rng.standard_normal(painted[0, *CLOTH].shape, np.float32), outfit.cloth
        )
        painted[:, *HAT] = _cloth(
            rng.standard_normal(painted[0, *HAT].shape, np.float32), outfit.hat_colour
        )
        painted[:, *FRAMES] = np.array([*outfit.frames, 1.5, 0])[:, None, None]
        gaps = (
            0.7
            + 0.3 * np.abs(np.sin(np.linspace(0, 6 * np.pi, painted[0, *TEETH].shape[1]))) ** 0.3
        )
        painted[:3, *TEETH] = outfit.teeth[:, None, None] * gaps
        painted[3:, *TEETH] = np.array([1.5, 0])[:, None, None]
        painted[BARE, *MOUTH] = 0
        finished = torch.from_numpy(painted)
        finished[:3] = finished[:3].clamp(0.01, 1) ** GAMMA
        return finished


def _blend(flat: np.ndarray, texels: np.ndarray, colours: np.ndarray, weight: np.ndarray) -> None:
    """Paint over some texels of a flat texture, in place."""
    for channel, colour in zip(flat, colours, strict=True):
        before = channel[texels]
        channel[texels] = before + (colour - before) * weight


def _hairs(shade: np.ndarray, strands: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Strands of slightly different colour and shine, all five channels."""
    return np.stack([*(shade * c for c in colour), 0.6 + 0.3 * strands, 0 * shade]).clip(0, 1)


def _cloth(weave: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.stack([*((1 + 0.08 * weave) * c for c in colour), 0.05 + 0 * weave, 0 * weave]).clip(
        0, 1
    )


def _angle(turn: Float[Tensor, "2 2"]) -> Float[Tensor, "1"]:
    """By how much a similarity of a picture turns it counter-clockwise, radians; y points down in
    pictures.
    """
    return torch.atan2(-turn[1, 0], turn[0, 0])[None]


def _planes(values: Float[Tensor, "B H W C"]) -> Float[Tensor, "B C P"]:
    """One plane for each channel, which is how the shading runs fastest."""
    return values.permute(0, 3, 1, 2).flatten(2).contiguous()


def _put_in_front(
    thing: Thing, picture: Float[Tensor, "3 P"], shown: Float[Tensor, " P"], light: Light
) -> tuple:
    """Paste a lit thing over a picture; what it hides is not shown."""
    surface = light.irradiance(thing.normal.reshape(1, -1, 3).mT, 0.9)[0] * thing.colour[:, None]
    alpha = thing.alpha.flatten()
    return torch.lerp(picture, surface.clamp(1e-4, 1) ** (1 / GAMMA), alpha), shown * (1 - alpha)


def _average(samples: Float[Tensor, "... S T"]) -> Float[Tensor, "... H W"]:
    """The mean of the samples of each pixel."""
    grid = [
        samples[..., i::SUPERSAMPLING, j::SUPERSAMPLING]
        for i in range(SUPERSAMPLING)
        for j in range(SUPERSAMPLING)
    ]
    return sum(grid) / len(grid)


def _eight_bits(picture: Float[Tensor, "3 H W"]) -> UInt8[Tensor, "3 H W"]:
    return (255 * picture.clamp(0, 1)).round().to(torch.uint8)

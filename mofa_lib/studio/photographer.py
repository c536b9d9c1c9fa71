"""Photographs of people who do not exist, with all that is true about them.

Exemplar heads get hair, clothes, lights, backgrounds and a camera's faults. Used in chapter 6 by
`RenderedFaces`.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from mofa_lib.camera import Camera, pose
from mofa_lib.faces import five_points
from mofa_lib.mesh import vertex_normals
from mofa_lib.procrustes import similarity
from mofa_lib.studio.darkroom import Samples, finish, finish_plainly, shade
from mofa_lib.studio.heads import Head, HeadShapes
from mofa_lib.studio.scene import GAMMA, Light
from mofa_lib.studio.skin import SkinPainter, hair_colour
from mofa_lib.studio.wardrobe import Outfit, Wardrobe, paint_outfit

AT_ONCE = 8  # pictures; larger batches fall out of the processor's cache

# Strengths of the actions of a broad smile that shows the teeth, on either side.
SMILE = {"mouthSmile": 1.0, "mouthUpperUp": 0.45, "mouthLowerDown": 0.3, "cheekSquint": 0.4}

# Where the eyes, the tip of the nose and the corners of the mouth lie in an aligned picture, in
# shares of its side. It is `alignment.five_point_template`, which comes from the face model; the
# studio must not know that model.
TEMPLATE = torch.tensor(
    [
        [0.37031099, 0.38883105],  # left eye
        [0.62085146, 0.38881660],  # right eye
        [0.49540860, 0.52378964],  # tip of the nose
        [0.39564562, 0.67753726],  # left corner of the mouth
        [0.59535444, 0.67757702],  # right corner of the mouth
    ],
    dtype=torch.float64,
)


@runtime_checkable
class Model(Protocol):
    """Whoever can be photographed: somebody with a head, which has a texture."""

    head: Head
    texture: Float[Tensor, "5 R S"]


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
        self._normals = vertex_normals(self.shapes.mean[None], self.shapes.triangles)[0]  # (H, 3)

    def person(self, rng: np.random.Generator) -> Person:
        """A random identity."""
        head = self.shapes.head(rng)
        hair = hair_colour(head.attributes, rng)
        skin = self.painter.paint(head.attributes, hair, rng)  # (4, R, S)
        outfit = self.wardrobe.dress(head, hair, rng)
        if self.plain:
            outfit = outfit.nothing()
        texture = paint_outfit(skin, outfit, self.painter.atlas, self.painter.noise, rng)
        texture[:3] = texture[:3].clamp(0.01, 1) ** GAMMA  # linear from here on

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
            texture=texture,
        )

    def shot(self, rng: np.random.Generator) -> Shot:
        """The part of a photograph that decides what is true about it.

        The same generator gives the same shot.
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
        """Smile in front of a camera more often and more broadly than elsewhere, with teeth."""
        if rng.random() >= 0.4:
            return strength
        broad = rng.uniform(0.4, 1.2)
        corners = rng.uniform(-0.25, 0.15)  # drawn in or stretched
        for name, share in (SMILE | {"mouthStretch": corners}).items():
            for side in ("Left", "Right"):
                strength[self.shapes.actions.index(name + side)] = broad * share
        strength[self.shapes.actions.index("jawOpen")] = broad * rng.uniform(0, 0.2)
        return strength

    def face(self, person: Model, shot: Shot) -> Float[Tensor, "H 3"]:
        """The person's head with the expression of a shot, mm, not posed, without what is worn."""
        moved = torch.einsum("e,evc->vc", shot.expression, person.head.expressions)
        return person.head.neutral + moved

    def attributes(self, person: Person, shot: Shot) -> dict[str, float]:
        """What an analysis of errors by group may ask for: of person, outfit and pose."""
        lightness = float((self._skin_of(person) ** (1 / GAMMA)).mean())
        about_the_shot = {"lightness": lightness, "yaw": float(shot.rotation[1])}
        return person.head.attributes | person.outfit.attributes | about_the_shot

    def light(self, person: Model, shot: Shot, size: int) -> Float[Tensor, "3 9"]:
        """The light of a shot as the aligned picture shows it, in the renderer's convention."""
        turn, _, _ = self._align(person, shot, size)
        return shot.light.turned(_angle(turn)).harmonics()[0]

    def photograph(self, person: Model, rngs: list[np.random.Generator], size: int) -> Photographs:
        """Pictures of one person, one for each generator.

        Every picture is aligned by its five points to `TEMPLATE` before it is drawn, with the small
        errors that a detector of the five points would make.
        """
        texture = person.texture
        if size <= 128:  # then a texel a sample is enough
            texture = F.avg_pool2d(texture, 2)
        taken = []
        for first in range(0, len(rngs), AT_ONCE):
            shots = [self.shot(rng) for rng in rngs[first : first + AT_ONCE]]
            taken.append(self._photograph(person, texture, shots, size))
        return Photographs.joined(taken)

    def _photograph(
        self, person: Person, texture: Tensor, shots: list[Shot], size: int
    ) -> Photographs:
        dressed = [
            torch.cat([self.face(person, shot) + person.thickness, person.worn]) for shot in shots
        ]
        rotations = torch.stack([shot.rotation for shot in shots])
        world = pose(torch.stack(dressed), rotations, torch.zeros(len(shots), 3))  # (B, V, 3)

        screen, landmarks, lights = [], [], []
        for shot, points in zip(shots, world, strict=True):
            turn, shift, marks = self._align(person, shot, size)
            seen = Camera(distance=shot.distance).project(points[None], size)[0]  # (V, 3)
            screen.append(torch.cat([seen[:, :2] @ turn.T + shift, seen[:, 2:]], 1))
            landmarks.append(marks @ turn.T + shift)
            lights.append(shot.light.turned(_angle(turn)))

        open_sky = torch.ones(world.shape[1])
        open_sky[: len(self.shapes.mean)] = self.shapes.occlusion
        samples = shade(
            world,
            torch.stack(screen),
            person.triangles,
            person.places,
            texture,
            open_sky,
            Light.stack([shot.light for shot in shots]),
            size,
        )
        images, skin = self._finish(samples, person, shots, lights, size)
        return Photographs(images=images, landmarks=torch.stack(landmarks), skin=skin)

    def _align(self, person: Model, shot: Shot, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """The turn and the shift that align a shot, and its landmarks before them, in pixels."""
        face = self.face(person, shot)[self.shapes.landmarks]  # (68, 3)
        posed = pose(face[None], shot.rotation[None], torch.zeros(1, 3))
        marks = Camera(distance=shot.distance).project(posed, size)[0, :, :2]  # (68, 2)
        read = five_points(marks) + size * shot.misread  # (5, 2)
        turn, shift = similarity(read, (size * TEMPLATE).float())
        return turn, shift, marks

    def _finish(
        self, samples: Samples, person: Person, shots: list[Shot], lights: list[Light], size: int
    ) -> tuple[Tensor, Tensor]:
        """Pictures and skin masks.

        Args:
            lights: as the aligned pictures show them, for things in front.
        """
        skin = self._skin_of(person)
        images, masks = [], []
        for i, (shot, light) in enumerate(zip(shots, lights, strict=True)):
            colour, hit, bare = samples.colour[i], samples.hit[i], samples.bare[i]
            if self.plain:
                image, mask = finish_plainly(colour, hit, bare, size)
            else:
                image, mask = finish(colour, hit, bare, light, skin, size, shot.rng)
            images.append(image)
            masks.append(mask)
        return torch.stack(images), torch.stack(masks)

    def _skin_of(self, person: Model) -> np.ndarray:
        """The mean colour of the person's cheeks, linear RGB."""
        return person.texture.flatten(1)[:3, self._cheeks].mean(1).numpy()


def _angle(turn: Float[Tensor, "2 2"]) -> Float[Tensor, "1"]:
    """By how much a similarity of a picture turns it counter-clockwise, radians.

    In pictures y points down.
    """
    return torch.atan2(-turn[1, 0], turn[0, 0])[None]

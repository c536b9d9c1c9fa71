"""Photographs of people who do not exist, with all that is true about them.

Everybody whom `Casting` invites gets lights, backgrounds and a camera's faults. Used in chapter 6
by `RenderedFaces`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from mofa_lib.camera import Camera, pose
from mofa_lib.faces import TEMPLATE, five_points
from mofa_lib.procrustes import similarity
from mofa_lib.studio.casting import Casting, Person
from mofa_lib.studio.darkroom import Surface, finish, finish_plainly, shade, solid
from mofa_lib.studio.light import Light

AT_ONCE = 8  # pictures; larger batches fall out of the processor's cache

# Strengths of the actions of a broad smile that shows the teeth, on either side.
SMILE = {"mouthSmile": 1.0, "mouthUpperUp": 0.45, "mouthLowerDown": 0.3, "cheekSquint": 0.4}

BROADEST = 0.9  # of a smile
# How much of an expression is left before a camera, by the beginnings of the actions' names.
POSED = 0.6
HELD_BACK = {
    "jawLeft": 0, "jawRight": 0, "mouthLeft": 0, "mouthRight": 0, "jawOpen": 0.35, "browDown": 0.3,
    "noseSneer": 0.3, "mouthFrown": 0.4, "mouthPucker": 0.3, "mouthFunnel": 0.3, "eyeLook": 0.5,
    "mouthShrug": 0.4, "jawForward": 0.2,
}  # fmt: skip


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
    Attributes:
        casting: whom it invites.
        shapes: what their heads are made of.
    """

    def __init__(self, plain: bool = False):
        self.plain = plain
        self.casting = Casting(plain)
        self.shapes = self.casting.shapes
        held_back = [
            next((share for start, share in HELD_BACK.items() if name.startswith(start)), POSED)
            for name in self.shapes.actions
        ]
        self._posed = torch.tensor(held_back)
        self._sky = torch.from_numpy(self.shapes.fine @ self.shapes.occlusion.numpy())

    def person(self, rng: np.random.Generator) -> Person:
        """A random identity."""
        return self.casting.person(rng)

    def shot(self, rng: np.random.Generator) -> Shot:
        """The part of a photograph that decides what is true about it.

        The same generator gives the same shot.
        """
        expression = self._smile(self._posed * self.shapes.expression(rng), rng)
        rotation = rng.normal(0, [0.12, 0.32, 0.05]).clip(-0.9, 0.9)
        distance = np.exp(rng.uniform(np.log(700), np.log(1500)))
        misread = rng.normal(0, 0.008, (5, 2))
        return Shot(
            expression=expression.clamp(max=BROADEST),
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

    def face(self, person: Person, shot: Shot) -> Float[Tensor, "H 3"]:
        """The person's head with the expression of a shot, mm, not posed, without what is worn."""
        moved = torch.einsum("e,evc->vc", shot.expression, person.head.expressions)
        return person.head.neutral + moved

    def attributes(self, person: Person, shot: Shot) -> dict[str, float]:
        """What an analysis of errors by group may ask for: of person and pose."""
        return person.attributes | {"yaw": float(shot.rotation[1])}

    def light(self, person: Person, shot: Shot, size: int) -> Float[Tensor, "3 9"]:
        """The light of a shot as the aligned picture shows it, in the renderer's convention."""
        turn, _, _ = self._align(person, shot, size)
        return shot.light.turned(_angle(turn)).harmonics()[0]

    def photograph(self, person: Person, rngs: list[np.random.Generator], size: int) -> Photographs:
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
        faces = [self.face(person, shot) for shot in shots]
        fine = [torch.from_numpy(self.shapes.fine @ face.numpy()) for face in faces]
        dressed = torch.stack([torch.cat([face, person.worn]) for face in fine])  # (B, V, 3)
        grown = torch.stack([person.strands.moved(face - person.head.neutral) for face in faces])
        strands = person.strands

        rotations = torch.stack([shot.rotation for shot in shots])
        still = torch.zeros(len(shots), 3)
        body, hair = pose(dressed, rotations, still), pose(grown, rotations, still)
        normals = pose(strands.normals.expand(len(shots), -1, -1), rotations, still)
        aligned = [self._align(person, shot, size) for shot in shots]
        body_seen, hair_seen = (self._seen(each, shots, aligned, size) for each in (body, hair))
        samples = shade(
            solid(body, body_seen, person.triangles, person.places),
            Surface(hair_seen, normals, strands.triangles, strands.places),
            texture,
            strands,
            torch.cat([self._sky, torch.ones(len(person.worn))]),
            Light.stack([shot.light for shot in shots]),
            size,
        )
        pictures = [
            finish_plainly(*sample, size) if self.plain else finish(*sample, size, shot.rng)
            for *sample, shot in zip(samples.colour, samples.hit, samples.bare, shots, strict=True)
        ]
        images, skin = (torch.stack(parts) for parts in zip(*pictures, strict=True))
        landmarks = torch.stack([marks @ turn.T + shift for turn, shift, marks in aligned])
        return Photographs(images=images, landmarks=landmarks, skin=skin)

    @staticmethod
    def _seen(
        world: Float[Tensor, "B V 3"], shots: list[Shot], aligned: list, size: int
    ) -> Float[Tensor, "B V 3"]:
        """Places of posed points in the aligned pictures, pixels, and their depths."""
        screen = []
        for points, shot, (turn, shift, _) in zip(world, shots, aligned, strict=True):
            seen = Camera(distance=shot.distance).project(points[None], size)[0]  # (V, 3)
            screen.append(torch.cat([seen[:, :2] @ turn.T + shift, seen[:, 2:]], 1))
        return torch.stack(screen)

    def _align(self, person: Person, shot: Shot, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """The turn and the shift that align a shot, and its landmarks before them, in pixels."""
        face = self.face(person, shot)[self.shapes.landmarks]  # (68, 3)
        posed = pose(face[None], shot.rotation[None], torch.zeros(1, 3))
        marks = Camera(distance=shot.distance).project(posed, size)[0, :, :2]  # (68, 2)
        read = five_points(marks) + size * shot.misread  # (5, 2)
        turn, shift = similarity(read, (size * TEMPLATE).float())
        return turn, shift, marks


def _angle(turn: Float[Tensor, "2 2"]) -> Float[Tensor, "1"]:
    """By how much a similarity of a picture turns it counter-clockwise, radians.

    In pictures y points down.
    """
    return torch.atan2(-turn[1, 0], turn[0, 0])[None]

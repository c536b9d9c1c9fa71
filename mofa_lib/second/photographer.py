"""Photographs of freshly drawn people, with all that is true about them.

What is as in the studio, above all how a picture is aligned, is inherited from there.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from mofa_lib.camera import Camera, pose
from mofa_lib.second import darkroom, scene
from mofa_lib.second.hair import FULL, Hairdresser, hair_colour
from mofa_lib.second.heads import Head, HeadShapes
from mofa_lib.second.looks import load_looks
from mofa_lib.second.skin import SkinPainter
from mofa_lib.second.strands import Strands
from mofa_lib.studio import garments
from mofa_lib.studio import photographer as first
from mofa_lib.studio.atlas import CLOTH, FRAMES, MOUTH, TEETH
from mofa_lib.studio.darkroom import finish_plainly
from mofa_lib.studio.photographer import Photographs, Shot
from mofa_lib.studio.scene import GAMMA, Light
from mofa_lib.studio.wardrobe import Wardrobe

BROADEST = 0.9  # of a smile
CLEARANCE = 1.5  # mm between rims and skin
# How much of an expression is left before a camera, by the beginnings of the actions' names.
POSED = 0.6
HELD_BACK = {
    "jawLeft": 0, "jawRight": 0, "mouthLeft": 0, "mouthRight": 0, "jawOpen": 0.35, "browDown": 0.3,
    "noseSneer": 0.3, "mouthFrown": 0.4, "mouthPucker": 0.3, "mouthFunnel": 0.3, "eyeLook": 0.5,
    "mouthShrug": 0.4, "jawForward": 0.2,
}  # fmt: skip


@dataclass(frozen=True)
class Person:
    """One identity: a head, its skin, its hair and its clothes, the same in every photograph.

    Attributes:
        head: shape, expressions and phenotype.
        strands: hair, beard and lashes.
        style, beard: what they are called; "" is no beard.
        glasses: "", "glasses" or "sunglasses".
        worn: vertices of clothes, glasses and teeth, mm.
        triangles: of the fine head and what is worn.
        places: texture coordinates of the triangles' corners.
        texture: linear RGB, shine, and bare skin (1) or not (0), in the atlas.
    """

    head: Head
    strands: Strands
    style: str
    beard: str
    glasses: str
    worn: Float[Tensor, "W 3"]
    triangles: Int[Tensor, "F 3"]
    places: Float[Tensor, "F 3 2"]
    texture: Float[Tensor, "5 R S"]


class Studio(first.Studio):
    """Invites random people and takes their photographs.

    Args:
        plain: bald heads before a grey wall, by a perfect camera: to measure what the variety is
            good for.
    """

    def __init__(self, plain: bool = False):
        self.plain = plain
        looks = load_looks()
        self.shapes = HeadShapes()
        self.painter = SkinPainter(self.shapes, looks)
        self.hairdresser = Hairdresser(self.shapes, looks, self.painter)
        self.wardrobe = Wardrobe(self.shapes)
        atlas = self.painter.atlas
        near = [np.linalg.norm(atlas.points - cheek, axis=1) < 10 for cheek in self.painter.cheeks]
        self._cheeks = torch.from_numpy(atlas.texels[np.logical_or(*near)])
        held_back = [
            next((share for start, share in HELD_BACK.items() if name.startswith(start)), POSED)
            for name in self.shapes.actions
        ]
        self._posed = torch.tensor(held_back)
        self._sky = torch.from_numpy(self.shapes.fine @ self.shapes.occlusion.numpy())

    def person(self, rng: np.random.Generator) -> Person:
        """A random identity."""
        head = self.shapes.head(rng)
        hair = hair_colour(head.phenotype, rng)
        skin = self.painter.paint(head.phenotype, hair, rng)  # (4, R, S)
        strands, cover, style, beard = self.hairdresser.dress(head, hair, rng)
        if self.plain:
            strands, cover, beard = self.hairdresser.lashes_of(head, rng), 0.0, ""
        parts, glasses = self._clothes(head, rng)
        texture = np.concatenate([skin.numpy(), np.ones_like(skin[:1])])  # (5, R, S)
        self._paint_roots(texture, cover, beard, hair, rng)
        _paint_worn(texture, rng)
        texture[:3] = texture[:3].clip(0.01, 1) ** GAMMA  # linear from here on

        triangles, places, worn = [self.shapes.fine_triangles], [self.hairdresser.fur.places], []
        count = self.shapes.fine.shape[0]  # number of the next vertex
        for name, points in parts.items():
            triangles.append(self.wardrobe.triangles[name] + count)
            places.append(self.wardrobe.places[name])
            worn += [torch.from_numpy(points)] * 2  # a part has two sides
            count += 2 * len(points)
        return Person(
            head=head,
            strands=strands,
            style=style,
            beard=beard,
            glasses=glasses,
            worn=torch.cat(worn),
            triangles=torch.cat(triangles),
            places=torch.cat(places),
            texture=torch.from_numpy(texture),
        )

    def _clothes(
        self, head: Head, rng: np.random.Generator
    ) -> tuple[dict[str, Float[np.ndarray, "P 3"]], str]:
        """The parts that somebody wears, with the teeth, and which glasses."""
        # The collar begins where the person's neck ends.
        higher = float(head.neutral[:, 1].min() - self.shapes.mean[:, 1].min()) + 8  # mm
        collar = garments.collar(rng) + np.array([0, higher, 0], np.float32)
        marks = head.neutral.numpy()[self.shapes.landmarks.numpy()]
        parts, glasses = {"collar": collar, "teeth": garments.teeth(marks, rng)}, ""
        if rng.random() < 0.14 + 0.25 * head.phenotype.old:
            against_the_sun = bool(rng.random() < 0.07)
            glasses = "sunglasses" if against_the_sun else "glasses"
            sides = self.shapes.mean[:, 0].numpy()
            worn = garments.glasses(marks, sides, sun=against_the_sun, rng=rng)
            parts |= _before_the_face(worn, head.neutral.numpy())
        if self.plain:
            parts, glasses = {"teeth": parts["teeth"]}, ""
        return parts, glasses

    def _paint_roots(
        self,
        texture: Float[np.ndarray, "5 R S"],
        cover: float,
        beard: str,
        hair: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """Colour the skin under hair and beard, in place."""
        where = self.painter.scalp if cover < FULL else self.painter.under_hair
        roots = cover * where * (0.9 + 0.1 * self.painter.grain(rng, 0.7)).clip(0, 1)
        if beard:
            grown = self.painter.features.beards[beard] * (1 - self.painter.regions["lips"])
            roots = np.maximum(roots, 0.6 * grown)
        texels = self.painter.atlas.texels
        for channel, tone in zip(texture.reshape(5, -1), [*(0.75 * hair), 0.3, 0], strict=True):
            channel[texels] += (tone - channel[texels]) * roots

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
            light=Light.even() if self.plain else scene.light(rng),
            rng=rng,
        )

    def attributes(self, person: Person, shot: Shot) -> dict[str, float]:
        """What an analysis of errors by group may ask for: of person, outfit and pose."""
        who = person.head.phenotype
        lightness = float((self._skin_of(person) ** (1 / GAMMA)).mean())
        about = {name: getattr(who, name) for name in ("gender", "weight", "years")}
        ancestry = {name: getattr(who, name) for name in ("african", "asian", "caucasian")}
        worn = {
            "glasses": float(person.glasses != ""),
            "sunglasses": float(person.glasses == "sunglasses"),
            "beard": float(person.beard != ""),
            "bald": float(person.style == "bald"),
        }
        return about | ancestry | worn | {"lightness": lightness, "yaw": float(shot.rotation[1])}

    def _photograph(
        self, person: Person, texture: Tensor, shots: list[Shot], size: int
    ) -> Photographs:
        faces = [self.face(person, shot) for shot in shots]
        fine = [torch.from_numpy(self.shapes.fine @ face.numpy()) for face in faces]
        dressed = torch.stack([torch.cat([face, person.worn]) for face in fine])  # (B, V, 3)
        grown = torch.stack([person.strands.moved(face - person.head.neutral) for face in faces])
        strands = person.strands

        rotations, still = (
            torch.stack([shot.rotation for shot in shots]),
            torch.zeros(len(shots), 3),
        )
        body, hair = pose(dressed, rotations, still), pose(grown, rotations, still)
        normals = pose(strands.normals.expand(len(shots), -1, -1), rotations, still)
        aligned = [self._align(person, shot, size) for shot in shots]
        samples = darkroom.shade(
            darkroom.solid(
                body, self._seen(body, shots, aligned, size), person.triangles, person.places
            ),
            darkroom.Surface(
                self._seen(hair, shots, aligned, size), normals, strands.triangles, strands.places
            ),
            texture,
            strands,
            torch.cat([self._sky, torch.ones(len(person.worn))]),
            Light.stack([shot.light for shot in shots]),
            size,
        )
        pictures = [
            finish_plainly(*sample, size)
            if self.plain
            else darkroom.finish(*sample, size, shot.rng)
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


def _before_the_face(
    glasses: dict[str, Float[np.ndarray, "P 3"]], head: Float[np.ndarray, "H 3"]
) -> dict[str, Float[np.ndarray, "P 3"]]:
    """Glasses moved forward until no rim cuts into brows or cheeks."""
    front = head[head[:, 2] > 0]
    rims = np.concatenate([points for name, points in glasses.items() if name.endswith("rim")])
    _, near = cKDTree(front[:, :2]).query(rims[:, :2])
    forward = np.clip((front[near, 2] - rims[:, 2]).max() + CLEARANCE, 0, 12)
    return {name: points + np.float32([0, 0, forward]) for name, points in glasses.items()}


def _paint_worn(texture: Float[np.ndarray, "5 R S"], rng: np.random.Generator) -> None:
    """Colour the patches of clothes, glasses and teeth, in place."""
    weave = 1 + 0.06 * rng.standard_normal(texture[0, *CLOTH].shape, np.float32)
    texture[:3, *CLOTH] = scene.cloth(rng)[:, None, None] * weave
    texture[3:, *CLOTH] = np.array([0.05, 0])[:, None, None]
    black = np.full(3, rng.uniform(0.02, 0.15))
    frames = black if rng.random() < 0.7 else 0.6 * scene.cloth(rng)
    texture[:, *FRAMES] = np.array([*frames, 1.5, 0])[:, None, None]
    _, width = texture[0, *TEETH].shape
    gaps = 0.75 + 0.25 * np.abs(np.sin(np.linspace(0, 6 * np.pi, width))) ** 0.3  # of six teeth
    enamel = np.array([0.84, 0.79, 0.70]) * rng.uniform(0.8, 1.1)
    texture[:3, *TEETH] = enamel[:, None, None] * gaps
    texture[3:, *TEETH] = np.array([1.2, 0])[:, None, None]
    texture[4, *MOUTH] = 0  # no bare skin

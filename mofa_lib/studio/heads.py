"""Example heads, mixed from the head blend shapes that the library ships.

An exemplar is one person's head in the full head topology: a person of the blend shapes' population
(age, sex, weight, ancestry), local changes of its features, an expression. The morphable model is
*learnt* from exemplars; the rendered training faces show exemplars, not model instances, so that
the autoencoder never simply inverts itself. Used in chapter 3 and by `RenderedFaces`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mofa_lib.artifacts import SHIPPED, load_tensors
from mofa_lib.procrustes import rigid_alignment

HEADS = SHIPPED / "models" / "anny_heads.safetensors"

# Standard deviation of a local change. Its artist drew it for −1 … 1, where it is a caricature.
LOCAL_SPREAD = 0.17


@dataclass(frozen=True)
class Head:
    """One person: the neutral head and what is known about the person.

    Attributes:
        neutral: vertices, mm, rigidly aligned to the mean head.
        expressions: what each facial action adds at full strength, mm.
        attributes: age, gender (0 female, 1 male), weight, african, asian, caucasian, each in [0,
            1].
    """

    neutral: Float[Tensor, "H 3"]
    expressions: Float[Tensor, "E H 3"]
    attributes: dict[str, float]


class HeadShapes:
    """The shipped blend shapes of heads, and random people made of them.

    Attributes:
        mean: the mean head, mm.
        triangles: of the full head, counter-clockwise seen from outside.
        regions: per-vertex masks in [0, 1] by name (lips, eyelids, ears, face, mouth, eyes).
        occlusion: the share of the sky that each vertex of the mean head sees.
        texture_coordinates: of the corners of each triangle in the atlas, [0, 1], to the right and
            down.
        model_vertices: the vertices that the morphable model keeps.
    """

    def __init__(self, path: Path = HEADS):
        tensors, metadata = load_tensors(path)
        self.mean: Float[Tensor, "H 3"] = tensors["mean"].float()
        self.triangles: Int[Tensor, "G 3"] = tensors["faces"].long()
        self.model_vertices: Int[Tensor, " V"] = tensors["model_vertices"].long()
        self.landmarks: Int[Tensor, " 68"] = tensors["landmarks"].long()
        self.regions = dict(zip(metadata["regions"], tensors["regions"].float().T, strict=True))
        self.occlusion: Float[Tensor, " H"] = tensors["occlusion"].float()
        self.texture_coordinates: Float[Tensor, "G 3 2"] = tensors["texture_coordinates"]
        self.actions: list[str] = metadata["actions"]

        self._person_shapes = tensors["person_shapes"].float().flatten(1)  # (K, 3H)
        self._people = tensors["people"].float()  # (N, K)
        self._people_attributes = tensors["people_attributes"].float()  # (N, 6)
        self._attribute_names: list[str] = metadata["attributes"]
        # Two shapes for each name, alternating: of positive and of negative strengths.
        self._local_shapes = unpack_shapes(tensors, "local_shapes", len(self.mean)).flatten(1)
        self._local_names: list[str] = metadata["locals"]
        self._action_shapes = unpack_shapes(tensors, "action_shapes", len(self.mean))  # (E, H, 3)
        self._mirror = _mirror_pairs(self._local_names)

    def head(self, rng: np.random.Generator) -> Head:
        """A random person: two people mixed, and local changes, nearly symmetric.

        The two come from the population of the blend shapes; there are a few dozen local changes.
        """
        pair = rng.choice(len(self._people), 2, replace=False)
        weight = rng.beta(0.4, 0.4)
        mix = torch.tensor([weight, 1 - weight], dtype=torch.float32)
        attributes = mix @ self._people_attributes[pair]  # (6,)
        local = torch.from_numpy(self._local_strengths(rng)).float()  # (L,)

        moved = (mix @ self._people[pair]) @ self._person_shapes  # (3H,)
        moved = moved + local.clamp(min=0) @ self._local_shapes[0::2]
        moved = moved + (-local).clamp(min=0) @ self._local_shapes[1::2]
        vertices = self.mean + moved.unflatten(0, (-1, 3))  # (H, 3)

        # A larger face makes larger movements: actions scale with its width, height and depth.
        face, mean_face = vertices[self.model_vertices], self.mean[self.model_vertices]
        rotation, translation = rigid_alignment(face, mean_face)
        scale = face.std(0) / mean_face.std(0)  # (3,)
        names_and_values = zip(self._attribute_names, attributes, strict=True)
        return Head(
            neutral=vertices @ rotation.T + translation,
            expressions=(self._action_shapes * scale) @ rotation.T,
            attributes={name: float(value) for name, value in names_and_values},
        )

    def expression(self, rng: np.random.Generator) -> Float[Tensor, " E"]:
        """Random strengths of the facial actions: few at a time, left and right mostly alike."""
        strength = rng.random(len(self.actions))
        takes_part = rng.random(len(self.actions)) < 0.12
        strength = strength * takes_part
        for index, name in enumerate(self.actions):
            if name.endswith("Right"):
                left = self.actions.index(name.removesuffix("Right") + "Left")
                strength[index] = strength[left] * rng.uniform(0.8, 1.2)

        for side in ("Left", "Right"):  # eyes seldom close
            strength[self.actions.index("eyeBlink" + side)] *= 0.5
        if rng.random() < 0.35:
            for side in ("Left", "Right"):
                strength[self.actions.index("mouthSmile" + side)] = rng.uniform(0.3, 0.9)
        return torch.from_numpy(strength.clip(0, 1) * rng.uniform(0.3, 1)).float()

    def _local_strengths(self, rng: np.random.Generator) -> np.ndarray:
        """Of the local changes, in [−1, 1]; what is right differs a little from what is left."""
        strength = rng.normal(0, LOCAL_SPREAD, len(self._local_names)).clip(-1, 1)
        for right, left in self._mirror:
            strength[right] = (strength[left] + rng.normal(0, LOCAL_SPREAD / 5)).clip(-1, 1)
        return strength


def pack_shapes(shapes: Float[Tensor, "K H 3"], name: str) -> dict[str, Tensor]:
    """Blend shapes of a part of the head as tensors of a file: only what moves, float16."""
    moves = shapes.norm(dim=2) > 0.01  # a hundredth of a millimetre
    shape, vertex = moves.nonzero().unbind(1)
    counts = torch.bincount(shape, minlength=len(shapes))
    return {
        f"{name}.values": shapes[shape, vertex].half(),
        f"{name}.vertices": vertex.int(),
        f"{name}.counts": counts.int(),
    }


def unpack_shapes(tensors: dict[str, Tensor], name: str, vertices: int) -> Float[Tensor, "K H 3"]:
    """The blend shapes that `pack_shapes` packed."""
    counts = tensors[f"{name}.counts"].long()
    shape = torch.repeat_interleave(torch.arange(len(counts)), counts)
    shapes = torch.zeros(len(counts), vertices, 3)
    shapes[shape, tensors[f"{name}.vertices"].long()] = tensors[f"{name}.values"].float()
    return shapes


def _mirror_pairs(names: list[str]) -> list[tuple[int, int]]:
    """Numbers of the changes of the right side, and of the same ones of the left."""
    pairs = []
    for right, name in enumerate(names):
        if name.startswith("r-"):
            pairs.append((right, names.index("l-" + name[2:])))
    return pairs

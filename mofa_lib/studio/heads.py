"""Heads of freshly drawn people, mixed from the head blend shapes that the library ships.

Nobody is a relative of anybody: each head is a person of its own in the space of sex, age, build
and ancestry, with local changes of its features. Used in chapter 3 and by `RenderedFaces`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from mofa_lib.artifacts import SHIPPED, load_tensors
from mofa_lib.mesh import butterfly
from mofa_lib.procrustes import rigid_alignment
from mofa_lib.studio.phenotype import Phenotype, closeness

HEADS = SHIPPED / "models" / "heads.safetensors"

# Standard deviation of a local change. Its artist drew it for −1 … 1, where it is a caricature.
LOCAL_SPREAD = 0.3
# What tells people apart varies more, by the beginnings of the changes' names.
TELLING = {"l-eye": 1.3, "r-eye": 1.3, "nose": 1.25, "mouth": 1.2}
FINER = 0.8  # the same for women, by whom the artist's men would show
LIMIT = 0.9  # of a local change


@dataclass(frozen=True)
class Head:
    """One person: the neutral head and who it is.

    Attributes:
        neutral: vertices, mm, rigidly aligned to the mean head.
        expressions: what each facial action adds at full strength, mm.
        phenotype: sex, age and so on.
    """

    neutral: Float[Tensor, "H 3"]
    expressions: Float[Tensor, "E H 3"]
    phenotype: Phenotype


class HeadShapes:
    """The shipped blend shapes of heads, and random people made of them.

    Attributes:
        mean: the head of a young adult in the middle of everything, mm.
        template: MakeHuman's base head, on which its hair hangs, mm.
        origin: what was taken away from MakeHuman's coordinates, mm.
        triangles: of the full head, counter-clockwise seen from outside.
        fine: a matrix that makes the vertices of a finer mesh from these, (H + E, H).
        fine_triangles: of that mesh, (4G, 3).
        regions: per-vertex masks in [0, 1] by name (lips, eyelids, ears, face, mouth, eyes).
        occlusion: the share of the sky that each vertex of the mean head sees.
        texture_coordinates: of the corners of each triangle in the atlas, [0, 1], to the right and
            down.
        model_vertices: the vertices that the morphable model keeps.
        landmarks: vertices of the 68 iBUG points.
        actions: names of the facial actions.
    """

    def __init__(self):
        tensors, metadata = load_tensors(HEADS)
        self.triangles: Int[Tensor, "G 3"] = tensors["faces"].long()
        self.model_vertices: Int[Tensor, " V"] = tensors["model_vertices"].long()
        self.landmarks: Int[Tensor, " 68"] = tensors["landmarks"].long()
        self.regions = dict(zip(metadata["regions"], tensors["regions"].float().T, strict=True))
        self.occlusion: Float[Tensor, " H"] = tensors["occlusion"].float()
        self.texture_coordinates: Float[Tensor, "G 3 2"] = tensors["texture_coordinates"]
        self.actions: list[str] = metadata["actions"]
        self.origin: Float[Tensor, 3] = tensors["origin"].float()
        self.template: Float[Tensor, "H 3"] = tensors["template"].float() - self.origin

        self._corners = tensors["corners"].float()  # (M, 26): the properties of each corner
        self._projection = tensors["projection"].float()  # (M, K)
        self._person_shapes = tensors["person_shapes"].float().flatten(1)  # (K, 3H)
        # Two shapes for each name, alternating: of positive and of negative strengths.
        local_shapes = unpack_shapes(tensors, "local_shapes", len(self.template))
        self._local_shapes = local_shapes.flatten(1)
        self._local_names: list[str] = metadata["locals"]
        self._spread = np.array([_spread(name) for name in self._local_names])
        self._mirror = _mirror_pairs(self._local_names)
        self._action_shapes = unpack_shapes(tensors, "action_shapes", len(self.template))
        self.mean: Float[Tensor, "H 3"] = self.average(Phenotype())

    @cached_property
    def _finer(self) -> tuple[sparse.csr_matrix, np.ndarray]:
        return butterfly(self.triangles.numpy(), len(self.template))

    @property
    def fine(self) -> sparse.csr_matrix:
        return self._finer[0]

    @cached_property
    def fine_triangles(self) -> Int[Tensor, "F 3"]:
        return torch.from_numpy(self._finer[1])

    def average(self, phenotype: Phenotype) -> Float[Tensor, "H 3"]:
        """The average head of such people, mm, not aligned to the mean head."""
        near = closeness([phenotype])  # (1, 26)
        weights = (near * self._corners + 1 - self._corners).prod(1)  # (M,)
        moved = (weights @ self._projection) @ self._person_shapes  # (3H,)
        return self.template + moved.unflatten(0, (-1, 3))

    def head(self, rng: np.random.Generator) -> Head:
        """A random person."""
        phenotype = Phenotype.draw(rng)
        local = torch.from_numpy(self._local_strengths(phenotype, rng)).float()  # (L,)
        moved = local.clamp(min=0) @ self._local_shapes[0::2]
        moved = moved + (-local).clamp(min=0) @ self._local_shapes[1::2]
        vertices = self.average(phenotype) + moved.unflatten(0, (-1, 3))  # (H, 3)

        # A larger face makes larger movements: actions scale with its width, height and depth.
        face, mean_face = vertices[self.model_vertices], self.mean[self.model_vertices]
        rotation, translation = rigid_alignment(face, mean_face)
        scale = face.std(0) / mean_face.std(0)  # (3,)
        return Head(
            neutral=vertices @ rotation.T + translation,
            expressions=(self._action_shapes * scale) @ rotation.T,
            phenotype=phenotype,
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

    def _local_strengths(self, phenotype: Phenotype, rng: np.random.Generator) -> np.ndarray:
        """Of the local changes; what is right differs a little from what is left."""
        strength = rng.normal(0, self._spread) * (1 if phenotype.male else FINER)
        age, weight = (phenotype.years - 40) / 40, 2 * phenotype.weight - 1
        leanings = {
            "head-age-incr": 0.7 * age,
            "head-fat-incr": 0.35 * weight,
            "neck-double-incr": 0.35 * (weight + age),
            "l-eye-bag-incr": 0.4 * age,
            "eyebrows-trans-up": 0.25,  # the artist's foreheads frown
        }
        for name, leaning in leanings.items():
            strength[self._local_names.index(name)] += leaning
        for right, left in self._mirror:
            strength[right] = strength[left] + rng.normal(0, LOCAL_SPREAD / 5)
        return strength.clip(-LIMIT, LIMIT)


def _spread(name: str) -> float:
    """Standard deviation of the local change of this name."""
    factors = [factor for start, factor in TELLING.items() if name.startswith(start)]
    return LOCAL_SPREAD * (factors[0] if factors else 1)


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

"""Faces to look at: rendered people with ground truth. Derived in chapter 6."""

import hashlib
import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from mofa_lib import exemplars, skin, studio
from mofa_lib.alignment import five_point_template
from mofa_lib.artifacts import cache_folder, write_bytes
from mofa_lib.studio import Person, Studio

SPLITS = ("train", "validation", "calibration", "test")
PER_IDENTITY = 4


@dataclass(frozen=True)
class Face:
    """One rendered picture and all that is true about it.

    Attributes:
        image: RGB in [0, 1], on the 8-bit grid.
        identity: number of the person; equal numbers within a data set are the same person.
        landmarks: the 68 iBUG points, pixels.
        vertices: the face with its expression in the model's topology, mm, not posed.
        attributes: age, gender, weight, african, asian, caucasian, each in [0, 1].
    """

    image: Float[Tensor, "3 H W"]
    identity: int
    landmarks: Float[Tensor, "68 2"]
    vertices: Float[Tensor, "V 3"]
    attributes: dict[str, float]


class RenderedFaces(Dataset):
    """Pictures of people who do not exist, with identities and ground truth; drawn once, then read from the cache.

    The splits share no identity: train, validation, calibration (benign pictures that set thresholds), test.

    Args:
        split: one of the four names above.
        count: number of pictures.
        seed: another seed gives other people.
        size: side of the pictures in pixels.
        per_identity: pictures of each person, one after the other.
    Attributes:
        images: all pictures, (N, 3, H, W) uint8.
        identities: (N,).
        landmarks: (N, 68, 2), pixels.
    """

    def __init__(self, split: str, count: int, seed: int = 0, size: int = 112, per_identity: int = PER_IDENTITY):
        if split not in SPLITS:
            raise ValueError(f"There is no split {split!r}: choose one of {', '.join(SPLITS)}.")
        if count < 1 or size < 8 or per_identity < 1:
            raise ValueError(
                f"RenderedFaces needs count ≥ 1, size ≥ 8 and per_identity ≥ 1, got {count}, {size} and {per_identity}."
            )
        self.split, self.count, self.seed, self.size, self.per_identity = split, count, seed, size, per_identity
        self.identities: Int[Tensor, " N"] = torch.arange(count) // per_identity
        folder = cache_folder() / "faces" / f"{split}-{count}-{seed}-{size}-{per_identity}-{_recipe()}"
        if not (folder / "landmarks.npy").is_file():
            self._draw(folder)
        self.images = torch.from_numpy(np.load(folder / "images.npy", mmap_mode="c"))
        self.landmarks: Float[Tensor, "N 68 2"] = torch.from_numpy(np.load(folder / "landmarks.npy"))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Face:
        if not 0 <= index < self.count:
            raise IndexError(f"There are {self.count} faces; there is no face {index}.")
        person = _studio_person(self.split, self.seed, index // self.per_identity)
        vertices = _studio().face(person, self._photo_rng(index))[_studio().shapes.model_vertices]
        return Face(
            self.batch([index])[0], int(self.identities[index]), self.landmarks[index], vertices, person.head.attributes
        )

    def batch(self, indices: list[int] | Tensor | slice) -> Float[Tensor, "B 3 H W"]:
        """The pictures with these indices as floats in [0, 1]."""
        return self.images[indices].float() / 255

    def pairs(self, count: int) -> tuple[Tensor, Tensor]:
        """Indices of `count` originals and as many targets that show other people, without repetition of a pair."""
        rng = np.random.default_rng([self.seed, 77])
        people = int(self.identities[-1]) + 1
        if people < 2:
            raise ValueError("Pairs of original and target need pictures of at least two people: raise count.")
        original = np.concatenate([rng.permutation(self.count) for _ in range(count // self.count + 1)])[:count]
        step = rng.integers(1, people, count)
        target = ((original // self.per_identity + step) % people) * self.per_identity
        target = np.minimum(target + rng.integers(0, self.per_identity, count), self.count - 1)
        return torch.from_numpy(original), torch.from_numpy(target)

    def _photo_rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng([1, SPLITS.index(self.split), self.seed, index])

    def _draw(self, folder: Path) -> None:
        images = np.empty((self.count, 3, self.size, self.size), np.uint8)
        landmarks = np.empty((self.count, 68, 2), np.float32)
        template = five_point_template(self.size)
        bar = tqdm(total=self.count, desc=f"rendering faces ({self.split})", unit="face", disable=self.count < 32)
        for person_start in range(0, self.count, self.per_identity):
            person = _studio_person(self.split, self.seed, person_start // self.per_identity)
            person_end = min(person_start + self.per_identity, self.count)
            for start in range(person_start, person_end, 8):  # larger batches fall out of the processor's cache
                shots = range(start, min(start + 8, person_end))
                pictures, marks = _studio().photograph(person, [self._photo_rng(i) for i in shots], template, self.size)
                images[start : shots.stop], landmarks[start : shots.stop] = pictures.numpy(), marks.numpy()
                bar.update(len(shots))
        bar.close()
        for name, array in {"images.npy": images, "landmarks.npy": landmarks}.items():
            write_bytes(folder / name, _npy(array))


@cache
def _studio() -> Studio:
    return Studio()


@cache
def _recipe() -> str:
    """A short hash of all that decides how a rendered face looks: stale pictures are never read."""
    total = hashlib.sha256(exemplars.HEADS.read_bytes())
    for module in (exemplars, skin, studio):
        total.update(Path(module.__file__).read_bytes())
    total.update(five_point_template(100).numpy().tobytes())
    return total.hexdigest()[:12]


def _studio_person(split: str, seed: int, identity: int) -> Person:
    return _studio().person(np.random.default_rng([0, SPLITS.index(split), seed, identity]))


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()

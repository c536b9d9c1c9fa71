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

from mofa_lib import alignment, atlas, camera, exemplars, features, lighting, noise, raster, skin, studio
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
        if count < 1 or size < 8 or per_identity < 1 or seed < 0:
            raise ValueError(
                f"RenderedFaces needs count ≥ 1, size ≥ 8, per_identity ≥ 1 and seed ≥ 0, "
                f"got {count}, {size}, {per_identity} and {seed}."
            )
        self.split, self.count, self.seed, self.size, self.per_identity = split, count, seed, size, per_identity
        self.identities: Int[Tensor, " N"] = torch.arange(count) // per_identity
        folder = cache_folder() / "faces" / f"{split}-{count}-{seed}-{size}-{per_identity}-{_recipe()}"
        arrays = self._read(folder)
        if arrays is None:
            self._draw(folder)
            arrays = self._read(folder)
        self.images, self.landmarks = map(torch.from_numpy, arrays)

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
        people = self.identities.numpy()
        possible = self.count**2 - int(np.square(np.bincount(people)).sum())
        if not possible:
            raise ValueError("Pairs of original and target need pictures of at least two people: raise count.")
        if count > possible:
            raise ValueError(f"{self.count} pictures make {possible} pairs, not {count}: raise the number of pictures.")
        rng, pairs, turn = np.random.default_rng([self.seed, 77]), [], 0
        while len(pairs) < count:  # in each turn every picture meets its next stranger
            for original in rng.permutation(self.count):
                strangers = np.flatnonzero(people != people[original])
                if turn < len(strangers) and len(pairs) < count:
                    order = np.random.default_rng([self.seed, 77, original]).permutation(strangers)
                    pairs.append((original, order[turn]))
            turn += 1
        original, target = torch.tensor(np.array(pairs)).unbind(1)
        return original, target

    def _photo_rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng([1, SPLITS.index(self.split), self.seed, index])

    def _read(self, folder: Path) -> tuple[np.ndarray, np.ndarray] | None:
        """Pictures and landmarks from the cache; nothing if they are not there, or damaged."""
        try:
            images, landmarks = (np.load(folder / f"{name}.npy", mmap_mode="c") for name in ("images", "landmarks"))
        except (OSError, ValueError, EOFError):
            return None
        whole = images.shape == (self.count, 3, self.size, self.size) and landmarks.shape == (self.count, 68, 2)
        return (images, landmarks) if whole else None

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
    for module in (exemplars, atlas, noise, features, skin, studio, raster, lighting, camera, alignment):
        total.update(Path(module.__file__).read_bytes())
    total.update(five_point_template(100).numpy().tobytes())
    return total.hexdigest()[:12]


def _studio_person(split: str, seed: int, identity: int) -> Person:
    return _studio().person(np.random.default_rng([0, SPLITS.index(split), seed, identity]))


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()

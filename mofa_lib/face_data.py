"""Faces to look at: rendered people with ground truth. Derived in chapter 6."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from mofa_lib.inputs import Indices, place, rows, standard_torch, whole
from mofa_lib.studio.session import SPLITS, PhotoSession


class Face(NamedTuple):
    """One rendered picture and all that is true about it.

    A `DataLoader` of torch makes batches of them, with all fields.

    Attributes:
        image: RGB in [0, 1], on the 8-bit grid.
        identity: number of the person; equal numbers within a data set are the same person.
        landmarks: the 68 iBUG points, pixels.
        skin: 1 where the picture shows the bare face, 0 on hair, glasses and background.
        vertices: the face with its expression in the model's topology, mm, not posed.
        illumination: 3 × 9 coefficients, in the renderer's convention, that come nearest to the
            lamps.
        attributes: gender (0 female, 1 male), weight, african, asian, caucasian, each in [0, 1];
            years of age; glasses, sunglasses, beard, bald, 0 or 1; lightness of the skin in [0, 1];
            yaw in radians.
    """

    image: Float[Tensor, "3 H W"]
    identity: int
    landmarks: Float[Tensor, "68 2"]
    skin: Float[Tensor, "H W"]
    vertices: Float[Tensor, "V 3"]
    illumination: Float[Tensor, "3 9"]
    attributes: dict[str, float]


class RenderedFaces(Dataset):
    """Pictures of people who do not exist, with identities and ground truth.

    They are drawn once, then read from the cache. A drawing that was interrupted goes on where it
    stopped; every part of the cache is checked before it is used. The splits share no identity:
    train, validation, calibration (benign pictures that set thresholds), test.

    Args:
        split: one of the four names above.
        count: number of pictures.
        seed: another seed gives other people.
        size: side of the pictures in pixels.
        per_identity: pictures of each person, one after the other.
        plain: bald heads before a grey wall in even light, by a perfect camera.
        start: so many pictures that these settings give are passed over; a multiple of
            `per_identity`. Then people can be drawn part by part.
    Attributes:
        images: all pictures, (N, 3, H, W) uint8.
        identities: (N,).
        landmarks: (N, 68, 2), pixels.
    Raises:
        TypeError: a number is no whole one.
        ValueError: there is no such split, a number is too small, or `start` parts a person's
            pictures.
        OSError: the cache cannot be written, or its disk is full.
        RuntimeError: a process that drew has failed, the pictures are not as it drew them, or there
            is no home folder for the cache.
    """

    @standard_torch()
    def __init__(
        self,
        split: str,
        count: int,
        seed: int = 0,
        size: int = 224,
        per_identity: int = 4,
        plain: bool = False,
        start: int = 0,
    ):
        if split not in SPLITS:
            raise ValueError(f"There is no split {split!r}: choose one of {', '.join(SPLITS)}.")
        count = whole("count", count, 1)
        self.seed = whole("seed", seed, 0)
        self.size = whole("size", size, 8)
        self.per_identity = whole("per_identity", per_identity, 1)
        start = whole("start", start, 0)
        if start % self.per_identity:
            raise ValueError(
                f"start must be a multiple of per_identity, so that a person's {self.per_identity} "
                f"pictures stay together, got {start}."
            )
        self.identities: Int[Tensor, " N"] = (torch.arange(count) + start) // self.per_identity

        self._session = PhotoSession(
            split, count, self.seed, self.size, self.per_identity, bool(plain), start
        )
        self._session.complete()
        arrays = self._session.cache.open()
        self.images = torch.from_numpy(arrays["images"])  # (N, 3, H, W), uint8
        self.landmarks = torch.from_numpy(arrays["landmarks"])  # (N, 68, 2)
        self._skin = torch.from_numpy(arrays["skin"])  # (N, H, W)

    def __len__(self) -> int:
        return len(self.identities)

    @standard_torch()
    def __getitem__(self, index: int) -> Face:
        index = place(index, len(self))
        studio = self._session.studio
        person = self._session.person(index // self.per_identity)
        shot = studio.shot(self._session.rng(index))
        return Face(
            image=self.batch([index])[0],
            identity=int(self.identities[index]),
            landmarks=self.landmarks[index].clone(),
            skin=self.skin([index])[0],
            vertices=studio.face(person, shot)[studio.shapes.model_vertices],
            illumination=studio.light(person, shot, self.size),
            attributes=studio.attributes(person, shot),
        )

    @property
    def recipe(self) -> str:
        """Twelve digits that change with all of the library that decides how the pictures look.

        They do not change with the versions of packages.
        """
        return self._session.recipe

    def batch(self, indices: Indices) -> Float[Tensor, "B 3 H W"]:
        """The pictures with these indices as floats in [0, 1]."""
        return self.images[rows(indices, len(self))].float() / 255

    def skin(self, indices: Indices) -> Float[Tensor, "B H W"]:
        """1 where a picture shows the bare face: where a face model has something to explain."""
        return self._skin[rows(indices, len(self))].float()

    def pairs(self, count: int) -> tuple[Tensor, Tensor]:
        """Originals, and as many targets that show other people; no pair comes twice.

        Args:
            count: number of pairs.
        Returns:
            Indices of the originals and of the targets, (count,) each.
        Raises:
            ValueError: the pictures do not make as many pairs.
        """
        count = whole("count", count, 1)
        people = self.identities.numpy()
        possible = len(self) ** 2 - int(np.square(np.bincount(people)).sum())
        if not possible:
            raise ValueError(
                "Pairs of original and target need pictures of at least two people: raise count."
            )
        if count > possible:
            raise ValueError(
                f"{len(self)} pictures make {possible} pairs, not {count}: "
                "raise the number of pictures."
            )

        rng = np.random.default_rng([self.seed, 77])
        pairs = []
        turn = 0
        while len(pairs) < count:  # in each turn every picture meets its next stranger
            for original in rng.permutation(len(self)):
                strangers = np.flatnonzero(people != people[original])
                if turn < len(strangers) and len(pairs) < count:
                    order = np.random.default_rng([self.seed, 77, original]).permutation(strangers)
                    pairs.append((original, order[turn]))
            turn += 1

        originals, targets = torch.tensor(np.array(pairs)).unbind(1)  # (count, 2)
        return originals, targets

    def couples(self) -> tuple[Tensor, Tensor]:
        """Originals and targets in which nobody comes twice, so that no pair depends on another.

        Returns:
            Indices of the first pictures of every second person, and of the next person, (C,) each.
        Raises:
            ValueError: there are no two people.
        """
        first = torch.arange(0, len(self), self.per_identity)
        count = len(first) // 2
        if not count:
            raise ValueError("A couple needs two people: raise count.")
        return first[: 2 * count : 2], first[1 : 2 * count : 2]

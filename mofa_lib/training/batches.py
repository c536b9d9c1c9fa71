"""Which faces a step of the training sees. Derived in chapter 6."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from mofa_lib.faces import Faces, mirrored


class Batch(NamedTuple):
    """What a step of the training sees.

    Attributes:
        faces: pictures in [0, 1], or codes.
        landmarks: pixels.
        skin: 1 where a picture shows the bare face; None where nobody asks.
        identities: numbers of the people.
    """

    faces: Float[Tensor, "B ..."]
    landmarks: Float[Tensor, "B P 2"]
    skin: Float[Tensor, "B H W"] | None
    identities: Int[Tensor, " B"]


class Pictures(Dataset):
    """Faces and their mirror images, in whole batches.

    A batch has images in [0, 1], landmarks, skin and identities. After all pictures come all mirror
    images, in the same order.
    """

    def __init__(self, faces: Faces):
        self.faces = faces

    def __len__(self) -> int:
        return 2 * len(self.faces)

    def __getitems__(self, indices: list[int]) -> Batch:
        faces = self.faces
        turned = torch.tensor(indices) >= len(faces)  # (B,)
        numbers = torch.tensor(indices) % len(faces)  # (B,)

        images = faces.batch(numbers)  # (B, 3, H, W)
        landmarks = faces.landmarks[numbers]  # (B, P, 2)
        skin = faces.skin(numbers)  # (B, H, W)

        images = torch.where(turned[:, None, None, None], images.flip(3), images)
        landmarks = torch.where(turned[:, None, None], mirrored(landmarks, faces.size), landmarks)
        skin = torch.where(turned[:, None, None], skin.flip(2), skin)
        return Batch(images, landmarks, skin, faces.identities[numbers])


class Codes(Dataset):
    """The same with codes in place of the images, no skin, and no mirror images."""

    def __init__(self, faces: Faces, codes: Float[Tensor, "N Z"]):
        self.faces = faces
        self.codes = codes

    def __len__(self) -> int:
        return len(self.codes)

    def __getitems__(self, indices: list[int]) -> Batch:
        faces = self.faces
        return Batch(
            faces=self.codes[indices],  # (B, Z)
            landmarks=faces.landmarks[indices],
            skin=None,
            identities=faces.identities[indices],
        )


class StepSampler(Sampler):
    """The indices of each step's batch, from the seed and the number of the step alone.

    Args:
        length: number of pictures.
        batch: pictures in a step.
        first, last: steps from which and before which.
        seed: of the drawing.
        process, processes: which equal share of each batch is given out.
    Raises:
        ValueError: the processes cannot share a batch equally.
    """

    def __init__(
        self,
        length: int,
        batch: int,
        first: int,
        last: int,
        seed: int,
        process: int = 0,
        processes: int = 1,
    ):
        check_share(batch, processes)
        self.length = length
        self.batch = batch
        self.first = first
        self.last = last
        self.seed = seed
        size = batch // processes
        self.share = slice(process * size, (process + 1) * size)

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.last):
            generator = torch.Generator().manual_seed(step_seed(self.seed, step))
            batch = torch.randint(self.length, (self.batch,), generator=generator)
            yield batch[self.share].tolist()


def check_share(batch: int, processes: int) -> None:
    """Refuse processes that cannot share a batch equally.

    Raises:
        ValueError: they cannot.
    """
    if batch % processes:
        raise ValueError(
            f"A batch of {batch} cannot be shared by {processes} processes: start another number."
        )


def step_seed(seed: int, step: int) -> int:
    """The seed of what a step draws, for any step up to ten million another than all others."""
    return seed * 10_000_019 + step  # a prime

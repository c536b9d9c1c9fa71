"""The type of number in which an attack searches; its result is judged in float32. Used in
chapter 7.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from mofa_lib.face_code import FaceCode
from mofa_lib.profiles import has_bfloat16

Code = TypeVar("Code", FaceCode, Tensor)

PRECISIONS = ("auto", "float32", "bfloat16")


def is_faster_in_bfloat16(images: Tensor) -> bool:
    """Whether to encode such pictures is: on a CPU that multiplies in it; others emulate it."""
    return images.device.type == "cpu" and images.dtype == torch.float32 and has_bfloat16()


def in_bfloat16(function: Callable) -> Callable:
    """The same encoder, or scores, under autocast: large products in bfloat16, both ways.

    Codes and scores come back in float32, so that what follows is computed in it. So do the
    gradients of float32 pictures.
    """

    def lowered(images: Tensor, *more: Code) -> Code | dict[str, Tensor]:
        with torch.autocast(images.device.type, torch.bfloat16):
            found = function(images, *more)
        return _float32(found)

    return lowered


def _float32(found: Code | Mapping[str, Tensor]) -> Code | dict[str, Tensor]:
    if isinstance(found, FaceCode):
        return FaceCode(**{group: part.float() for group, part in found.parts.items()})
    if isinstance(found, Mapping):
        return {name: values.float() for name, values in found.items()}
    return found.float() if isinstance(found, Tensor) else found  # or what only the distance knows

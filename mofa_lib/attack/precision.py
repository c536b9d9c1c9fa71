"""The type of number in which an attack searches; its result is judged in float32. Used in
chapter 7.
"""

from collections.abc import Callable
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


def in_bfloat16(encode: Callable[[Tensor], Code]) -> Callable[[Tensor], Code]:
    """The same encoder under autocast: large products in bfloat16, forward and backward.

    The codes come back in float32, so that a distance between them is computed in it. So do the
    gradients of float32 pictures.
    """

    def encode_lowered(images: Tensor) -> Code:
        with torch.autocast(images.device.type, torch.bfloat16):
            code = encode(images)
        return _float32(code)

    return encode_lowered


def _float32(code: Code) -> Code:
    if isinstance(code, FaceCode):
        return FaceCode(**{group: part.float() for group, part in code.parts.items()})
    return code.float() if isinstance(code, Tensor) else code  # or what only the distance knows

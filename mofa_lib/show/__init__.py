"""What a chapter shows: grids of pictures, heads that turn, pages that a slider turns."""

from mofa_lib.show.flipbooks import flipbook
from mofa_lib.show.pictures import (
    GREY,
    ORIGINAL,
    OTHER,
    TARGET,
    THIRD,
    amplified,
    grid,
    overlay,
    style,
)
from mofa_lib.show.viewer import head, sliders

__all__ = [
    "GREY",
    "ORIGINAL",
    "OTHER",
    "TARGET",
    "THIRD",
    "amplified",
    "flipbook",
    "grid",
    "head",
    "overlay",
    "sliders",
    "style",
]

"""What a chapter shows: grids of pictures, heads that turn, pages that a slider turns, questions
that take a guess first, and what is live where there is a kernel: a face under sliders, an attack
under one's hands.
"""

from mofa_lib.show.attack_panels import attack_panel
from mofa_lib.show.explorer import explore
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
from mofa_lib.show.predictions import prediction
from mofa_lib.show.viewer import head, sliders

__all__ = [
    "GREY",
    "ORIGINAL",
    "OTHER",
    "TARGET",
    "THIRD",
    "amplified",
    "attack_panel",
    "explore",
    "flipbook",
    "grid",
    "head",
    "overlay",
    "prediction",
    "sliders",
    "style",
]

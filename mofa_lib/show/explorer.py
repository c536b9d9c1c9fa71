"""A face under sliders: one for each of the most telling numbers of its code."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor

from mofa_lib.autoencoder import MoFA
from mofa_lib.face_code import SYMBOLS, UNITS, FaceCode
from mofa_lib.morphable import MorphableModel
from mofa_lib.renderer import FaceRenderer
from mofa_lib.show.live import Live, on_paper, png

DRAWN = 480  # side of the drawn picture, pixels; shrunk, its outlines are smoother
SHOWN = 420  # and as the notebook shows it
COMPONENTS = {"shape": 3, "expression": 2, "appearance": 2}  # how many have a slider
COEFFICIENT = 3.0  # how far a component goes to both sides of 0, standard deviations
ANGLES = {"pitch": 0.5, "yaw": 1.0, "roll": 0.5}  # the same of the pose, rad
HARMONICS = {"ambient": 0, "from above": 1, "from right": 3}  # the light's, by their numbers
LIGHT = 1.0  # how far each of them goes
LABELS = "100px"


@dataclass(frozen=True)
class Control:
    """What one slider moves.

    Attributes:
        group: of the code.
        label: beside the slider.
        numbers: which numbers of the group it moves, all by as much.
        reach: how far to both sides of 0.
    """

    group: str
    label: str
    numbers: Sequence[int]
    reach: float

    def value(self, code: FaceCode) -> float:
        """Where the slider stands for a code of one face: the mean of the numbers that it moves."""
        return float(getattr(code, self.group)[0, self.numbers].mean())


def explore(mofa: MoFA | FaceRenderer, start: FaceCode | None = None) -> "Explorer":
    """A face with sliders for shape, expression, appearance, pose and light.

    It needs a kernel and the extra `widgets`; `show.sliders` needs neither, and has no pose and no
    light. ``explorer = show.explore(mofa)``, shown at the end of a cell, keeps the code of the face
    in `explorer.code`.

    Args:
        mofa: the autoencoder whose renderer draws, or a renderer alone.
        start: the code of one face, where the sliders begin; None begins at the mean face.
    Raises:
        ValueError: `start` holds no face, or several.
    """
    return Explorer(mofa, start)


class Explorer(Live):
    """What `explore` makes.

    Args:
        mofa, start: as for `explore`.
    Attributes:
        code: of the face as it is shown, a `FaceCode` of one face.
        sliders: of ipywidgets, by their labels, once `widget` has been made.
    Raises:
        ValueError: `start` holds no face, or several.
    """

    def __init__(self, mofa: MoFA | FaceRenderer, start: FaceCode | None = None):
        renderer = mofa.renderer if isinstance(mofa, MoFA) else mofa
        start = FaceCode.mean(renderer.model) if start is None else start.detach()
        if len(start) != 1:
            raise ValueError(
                f"The explorer shows one face, got {len(start)}: choose one, as in codes[0]."
            )
        self.code = start
        self.sliders = {}
        self._start = start
        self._controls = controls(renderer.model)
        self._renderer = FaceRenderer(renderer.model, DRAWN, renderer.camera)

    def __repr__(self) -> str:
        return "Explorer: 1 face"

    def _build(self, ipywidgets: ModuleType):
        rows = []
        for group, members in groupby(self._controls, lambda control: control.group):
            unit = f" in {UNITS[group]}" if UNITS[group] else ""
            heading = f"<b>{group} {SYMBOLS[group]}</b>{unit}"
            rows.append(ipywidgets.HTML(heading, layout={"height": "24px", "margin": "0"}))
            for control in members:
                self.sliders[control.label] = self._slider(ipywidgets, control)
                rows.append(self.sliders[control.label])
        reset = ipywidgets.Button(description="Reset", layout={"margin": f"6px 0 0 {LABELS}"})
        reset.on_click(self._reset)

        side = f"{SHOWN}px"
        self._picture = ipywidgets.Image(
            value=png(self._drawn()), layout={"width": side, "height": side}
        )
        column = ipywidgets.VBox([*rows, reset], layout={"width": "340px"})
        return ipywidgets.HBox([column, self._picture], layout={"flex_flow": "row wrap"})

    def _slider(self, ipywidgets: ModuleType, control: Control):
        value = control.value(self._start)
        slider = ipywidgets.FloatSlider(
            value=value,
            min=min(-control.reach, value),
            max=max(control.reach, value),
            step=control.reach / 50,
            description=control.label,
            readout_format="+.2f",
            layout={"height": "24px", "margin": "0"},
            style={"description_width": LABELS},
        )
        slider.observe(self._move, "value")
        return slider

    def _move(self, _) -> None:
        """Read the sliders, and draw."""
        parts = {group: part.clone() for group, part in self._start.parts.items()}
        for control in self._controls:
            change = self.sliders[control.label].value - control.value(self._start)
            parts[control.group][:, control.numbers] += change
        self.code = FaceCode(**parts)
        self._picture.value = png(self._drawn())

    def _reset(self, _) -> None:
        """Put all sliders back, and draw once."""
        for control in self._controls:
            slider = self.sliders[control.label]
            slider.unobserve(self._move, "value")
            slider.value = control.value(self._start)
            slider.observe(self._move, "value")
        self._move(None)

    @torch.no_grad()
    def _drawn(self) -> Float[Tensor, "3 H W"]:
        return on_paper(self._renderer(self.code))[0]

    def _still(self) -> dict[str, Tensor]:
        return {"face": self._drawn()[None]}


def controls(model: MorphableModel) -> list[Control]:
    """The sliders for a face model, group by group; it may lack a group."""
    found = []
    for (group, wanted), size in zip(COMPONENTS.items(), model.sizes, strict=True):
        for number in range(min(wanted, size)):
            found.append(Control(group, f"{SYMBOLS[group]}{'₁₂₃'[number]}", [number], COEFFICIENT))
    for number, (label, reach) in enumerate(ANGLES.items()):
        found.append(Control("rotation", label, [number], reach))
    for label, number in HARMONICS.items():
        numbers = [number, number + 9, number + 18]  # red, green and blue
        found.append(Control("illumination", label, numbers, LIGHT))
    return found

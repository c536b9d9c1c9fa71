"""A head in a frame of its own, with sliders that need no kernel.

The page itself adds up mean and components. It is `page.html` beside this module; `viewer.js` draws
in it with k3d. Until that runs, and where it cannot, the page shows `still.py`'s picture. Chapters
call `show.head` and `show.sliders`.
"""

import base64
import html
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from IPython.display import HTML
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from mofa_lib.inputs import as_colours, check_finite, standard_torch, takes_arrays
from mofa_lib.morphable import MorphableModel
from mofa_lib.show.still import FIELD_OF_VIEW, YAW, still

HERE = Path(__file__).parent
# Where the viewer's library is: in the built book, else at its public address.
K3D = "3.1.1"  # as package.json pins it
SCRIPTS = ("../_static/vendor/k3d/standalone.js", f"https://unpkg.com/k3d@{K3D}/dist/standalone.js")

# k3d's lamps, and the factor that shows the front of a head in its own colours.
LIGHTING = 0.9
EXPOSURE = 1.35
HEIGHT = 380  # of the picture, pixels


@dataclass(frozen=True)
class Slider:
    """What one slider adds to a head.

    With one direction, the slider's value multiplies it. With several, value k means the k-th one
    alone, and the values between are blends of neighbours; 0 is none of them.

    Attributes:
        name: what a screen reader calls it.
        ends: the words to its left and right; with a unit, the value stands on the right.
        low, high, step: of the value; it starts at 0.
        vertices, colours: the directions, mm and RGB.
        unit: of the value; without one it is a share in percent, for screen readers only.
    """

    name: str
    ends: tuple[str, str]
    low: float
    high: float
    step: float
    vertices: Float[Tensor, "N V 3"]
    colours: Float[Tensor, "N V 3"]
    unit: str = ""


@takes_arrays
def head(
    vertices: Float[Tensor, "T V 3"],
    triangles: Int[Tensor, "F 3"],
    colours: Float[Tensor, "T V 3"] | UInt8[Tensor, "T V 3"],
    label: str,
    ends: tuple[str, str] = ("", ""),
    height: int = HEIGHT,
    lit: bool = False,
) -> HTML:
    """A head to turn by mouse, finger or arrow keys.

    With two or more key frames, a slider blends from first to last. It needs no kernel: in the
    built book the viewer's script is a local file, in a notebook it comes from its public address.
    Where neither can run, a still picture is shown.

    Args:
        vertices: key frames, mm.
        triangles: vertex indices of each.
        colours: RGB in [0, 1], or 8-bit, for each key frame.
        label: what the reader sees; also the alternative text.
        ends: what the slider's two ends mean.
        height: of the picture, pixels; the slider comes below.
        lit: whether the colours contain light already; else the viewer's lamps shine on them.
    Raises:
        TypeError: the colours are no tensor and no array.
        ValueError: vertices or colours are not finite, they are no key frames that fit each other,
            or there are more vertices than 16 bits can count.
    """
    colours = as_colours(colours)
    check_finite("A head's vertices", vertices)
    if vertices.shape != colours.shape or vertices.shape[2:] != (3,) or not len(vertices):
        raise ValueError(
            f"A head is key frames of vertices and of colours, (T, V, 3), got "
            f"{tuple(vertices.shape)} and {tuple(colours.shape)}; one is given as vertices[None]."
        )
    last = len(vertices) - 1
    blends = []
    if last:
        blend = Slider(
            name=label,
            ends=ends,
            low=0,
            high=last,
            step=last / 100,
            vertices=vertices[1:] - vertices[0],
            colours=colours[1:] - colours[0],
        )
        blends.append(blend)
    return frame(vertices[0], triangles, colours[0], blends, label, height, lit)


def sliders(
    model: MorphableModel,
    label: str,
    *,
    shape: Iterable[int] = (),
    expression: Iterable[int] = (),
    appearance: Iterable[int] = (),
    reach: float = 3.0,
) -> HTML:
    """The mean face with one slider for each component that is asked for.

    ``show.sliders(model, "Four shape components", shape=range(4))``. The page itself adds them up,
    with no kernel. Each component adds some 30 kB to the page.

    Args:
        model: the face model.
        label: what the reader sees; also the alternative text.
        shape, expression, appearance: numbers of components, counted from 0; the reader sees them
            counted from 1.
        reach: how far the sliders go to both sides, standard deviations.
    Raises:
        ValueError: the model has no such component, or more vertices than 16 bits can count.
    """
    wanted = {"shape": shape, "expression": expression, "appearance": appearance}
    components = [
        _component(model, group, int(number), reach)
        for group, numbers in wanted.items()
        for number in numbers
    ]
    return frame(
        model.mean_shape, model.faces, model.mean_appearance, components, label, HEIGHT, lit=False
    )


def _component(model: MorphableModel, group: str, number: int, reach: float) -> Slider:
    """The slider of one component of a group, counted from 0."""
    basis = getattr(model, f"{group}_basis")  # (V, 3, components)
    if not 0 <= number < basis.shape[2]:
        raise ValueError(
            f"There is no {group} component {number}: "
            f"the model has {basis.shape[2]}, counted from 0."
        )
    direction = basis[None, :, :, number]  # (1, V, 3)
    nothing = torch.zeros_like(direction)
    name = f"{group} {number + 1}"
    return Slider(
        name=name,
        ends=(name, ""),
        low=-float(reach),
        high=float(reach),
        step=0.1,
        vertices=nothing if group == "appearance" else direction,
        colours=direction if group == "appearance" else nothing,
        unit="σ",
    )


@standard_torch()
def frame(
    vertices: Float[Tensor, "V 3"],
    triangles: Int[Tensor, "F 3"],
    colours: Float[Tensor, "V 3"],
    sliders: list[Slider],
    label: str,
    height: int,
    lit: bool,
) -> HTML:
    """A head that turns, over its sliders.

    Args:
        vertices: mm, with all sliders at 0.
        triangles: vertex indices of each.
        colours: RGB in [0, 1], with all sliders at 0.
        sliders: from the first to the last.
        label: what the reader sees; also the alternative text.
        height: of the picture, pixels; the sliders come below.
        lit: whether the colours contain the light already; else the viewer's lamps shine on them.
    Raises:
        ValueError: there are more vertices than 16 bits can count.
    """
    if len(vertices) > 1 << 16:
        raise ValueError(
            f"The viewer shows at most {1 << 16} vertices, got {len(vertices)}; "
            "thin out the mesh first."
        )
    vertices = vertices.detach().cpu().float()
    colours = colours.detach().cpu().float()
    triangles = triangles.cpu()
    centre, distance = _stand(vertices, sliders)
    data = {
        "scripts": SCRIPTS,
        "view": {
            "centre": centre.tolist(),
            "distance": distance,
            "fov": FIELD_OF_VIEW,
            "yaw": YAW,
            "lighting": 0 if lit else LIGHTING,
            "exposure": 1 if lit else EXPOSURE,
        },
        "faces": _base64(triangles.numpy().astype("<u2").tobytes()),
        "vertices": _pack(vertices),
        "colours": _pack(colours),
        "sliders": [_slider_data(slider) for slider in sliders],
    }
    fillings = {
        "script": (HERE / "viewer.js").read_text(encoding="utf8"),
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        "still": still(vertices, triangles, colours, centre, distance, lit),
        "height": str(height),
        "label": html.escape(label),
    }
    page = (HERE / "page.html").read_text(encoding="utf8")
    # All at once, so that nothing is filled into what was filled in.
    page = re.sub(r"\{(script|data|still|height|label)\}", lambda mark: fillings[mark[1]], page)
    below = 70 + 32 * len(sliders)  # where the page may not set the height of its frame itself
    return HTML(
        f'<div><iframe srcdoc="{html.escape(page)}" title="{html.escape(label)}"'
        f' width="100%" height="{height + below}"'
        ' style="border:0;color-scheme:light" loading="lazy"></iframe></div>'
    )


def _slider_data(slider: Slider) -> dict:
    """What the page needs to know of a slider; no directions where all of them are zero."""
    vertices = slider.vertices if slider.vertices.any() else []
    colours = slider.colours if slider.colours.any() else []
    return {
        "name": slider.name,
        "ends": slider.ends,
        "low": slider.low,
        "high": slider.high,
        "step": slider.step,
        "unit": slider.unit,
        "vertices": [_pack(direction) for direction in vertices],
        "colours": [_pack(direction) for direction in colours],
    }


def _pack(values: Float[Tensor, "V 3"]) -> dict:
    """Values as 16-bit integers in base64, and the size of one unit."""
    values = values.detach().cpu().double().numpy()
    unit = max(float(np.abs(values).max()), 1e-9) / 32767  # the largest integer of 16 bits
    integers = np.rint(values / unit).astype("<i2")
    return {"unit": unit, "data": _base64(integers.tobytes())}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _stand(
    vertices: Float[Tensor, "V 3"], sliders: list[Slider]
) -> tuple[Float[Tensor, "3"], float]:
    """The middle of the head, and the camera's distance at which it fills the frame.

    That holds wherever the sliders are, all of them together.
    """
    # In the frame are the points of which ±out · x + z and ±out · y + z are less than the distance.
    out = 1 / math.tan(math.radians(FIELD_OF_VIEW / 2))
    sides = torch.tensor([[out, 0, 1], [-out, 0, 1], [0, out, 1], [0, -out, 1]])
    ways = torch.cat([torch.eye(3), -torch.eye(3), sides]).T  # (3, 10), first along the axes

    # How far vertices get each way: what the sliders add is added up, so each does its most.
    far = vertices @ ways  # (V, 10)
    for slider in sliders:
        added = slider.vertices.detach().cpu().float() @ ways  # (N, V, 10)
        if len(added) == 1:
            added = torch.cat([slider.low * added, slider.high * added])  # (2, V, 10)
        far = far + added.amax(0).clamp(min=0)
    front, back, needed = far.amax(0).split([3, 3, 4])
    centre = (front - back) / 2
    distance = (needed - sides @ centre).max()
    return centre, 1.03 * float(distance)  # a little more, for a margin

"""A head in a frame of its own, with sliders that need no kernel: the page adds up mean and components itself.

The page is `shipped/viewer/page.html`; `viewer.js` beside it draws with k3d. Until that runs, and where it cannot, the
page shows a still picture. The calls for chapters are in `show`.
"""

import base64
import html
import io
import json
import math
import re
from dataclasses import dataclass

import numpy as np
import torch
from IPython.display import HTML
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mofa_lib.artifacts import SHIPPED
from mofa_lib.camera import Camera, pose
from mofa_lib.lighting import irradiance, vertex_normals
from mofa_lib.raster import interpolate, rasterize

# Where the viewer's library is: in the built book, else at its public address.
K3D = "3.1.1"  # as package.json pins it
SCRIPTS = ("../_static/vendor/k3d/standalone.js", f"https://unpkg.com/k3d@{K3D}/dist/standalone.js")

FIELD_OF_VIEW = 16.0  # degrees: a portrait from a few metres, no large noses
YAW = 0.2  # radians by which the camera stands to the right
LIGHTING, EXPOSURE = 0.9, 1.35  # k3d's lamps, and the factor that shows the front of a head in its own colours
LAMPS = [-1.32, 0.24, 0.59, -0.07, 0.06, 0.12, 0.16, 0.07, -0.09]  # both as spherical harmonics, by least squares
STILL = 320  # pixels


@dataclass(frozen=True)
class Slider:
    """What one slider adds to a head.

    With one direction, the slider's value multiplies it. With several, value k means the k-th one alone, and the values
    between are blends of neighbours; 0 is none of them.

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


def frame(
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    colours: Float[Tensor, "V 3"],
    sliders: list[Slider],
    label: str,
    height: int,
    lit: bool,
) -> HTML:
    """A head that turns, over its sliders.

    Args:
        vertices: mm, with all sliders at 0.
        colours: RGB in [0, 1], with all sliders at 0.
        label: what the reader sees; also the alternative text.
        height: of the picture, pixels; the sliders come below.
        lit: whether the colours contain the light already; else the viewer's lamps shine on them.
    Raises:
        ValueError: there are more vertices than 16 bits can count.
    """
    if len(vertices) > 1 << 16:
        raise ValueError(f"The viewer shows at most {1 << 16} vertices, got {len(vertices)}; thin out the mesh first.")
    vertices, colours = vertices.detach().cpu().float(), colours.detach().cpu().float()
    faces = faces.cpu()
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
        "faces": _base64(faces.numpy().astype("<u2").tobytes()),
        "vertices": _pack(vertices),
        "colours": _pack(colours),
        "sliders": [
            {
                **{key: getattr(slider, key) for key in ("name", "ends", "low", "high", "step", "unit")},
                "vertices": [_pack(d) for d in slider.vertices] if slider.vertices.any() else [],
                "colours": [_pack(d) for d in slider.colours] if slider.colours.any() else [],
            }
            for slider in sliders
        ],
    }
    page = (SHIPPED / "viewer" / "page.html").read_text(encoding="utf8")
    parts = {
        "script": (SHIPPED / "viewer" / "viewer.js").read_text(encoding="utf8"),
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        "still": _still(vertices, faces, colours, centre, distance, lit),
        "height": str(height),
        "label": html.escape(label),
    }
    page = re.sub(r"\{(script|data|still|height|label)\}", lambda mark: parts[mark[1]], page)
    below = 70 + 32 * len(sliders)  # where the page may not set the height of its frame itself
    return HTML(
        f'<div><iframe srcdoc="{html.escape(page)}" title="{html.escape(label)}" width="100%" height="{height + below}"'
        ' style="border:0;color-scheme:light" loading="lazy"></iframe></div>'
    )


def _pack(values: Float[Tensor, "V 3"]) -> dict:
    """Values as 16-bit integers in base64, and the size of one unit."""
    values = values.detach().cpu().double().numpy()
    unit = max(float(np.abs(values).max()), 1e-9) / 32767
    return {"unit": unit, "data": _base64(np.rint(values / unit).astype("<i2").tobytes())}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _stand(vertices: Float[Tensor, "V 3"], sliders: list[Slider]) -> tuple[Float[Tensor, "3"], float]:
    """The middle of the head, and the camera's distance at which it fills the frame, wherever the sliders are."""
    shapes = [vertices]
    for slider in sliders:
        values = (slider.low, slider.high) if len(slider.vertices) == 1 else (1.0,)
        shapes += [vertices + value * d.detach().cpu() for d in slider.vertices for value in values]
    points = torch.cat(shapes)
    centre = (points.amin(0) + points.amax(0)) / 2
    x, y, z = (points - centre).unbind(1)
    slope = math.tan(math.radians(FIELD_OF_VIEW / 2))
    return centre, 1.03 * float((torch.maximum(x.abs(), y.abs()) / slope + z).max())


def _still(
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    colours: Float[Tensor, "V 3"],
    centre: Float[Tensor, "3"],
    distance: float,
    lit: bool,
) -> str:
    """The head as the viewer shows it first, as the address of a small transparent picture."""
    turn, nowhere = torch.tensor([[0.0, -YAW, 0.0]]), torch.zeros(1, 3)
    posed = pose((vertices - centre)[None], turn, nowhere)
    light = torch.zeros(1, 3, 9) if lit else torch.tensor(LAMPS).expand(1, 3, 9)
    values = colours.clamp(0, 1) * irradiance(vertex_normals(posed, faces), light)
    camera = Camera(1 / math.tan(math.radians(FIELD_OF_VIEW / 2)), distance)
    fragments = rasterize(camera.project(posed, 2 * STILL), faces, 2 * STILL)
    opaque = torch.cat([values, torch.ones_like(values[..., :1])], 2)
    smooth = avg_pool2d(interpolate(fragments, faces, opaque).permute(0, 3, 1, 2), 2)[0].clamp(0, 1)
    smooth[:3] /= smooth[3:].clamp(min=1e-6)  # the colour of an edge is that of the head, its opacity is less
    pixels = (255 * smooth.clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=80)
    return f"data:image/webp;base64,{_base64(file.getvalue())}"

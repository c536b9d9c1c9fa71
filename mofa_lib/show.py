"""Pictures of faces: grids, amplified perturbations, and heads that turn without a kernel."""

import html
from contextlib import contextmanager

import comm
import k3d
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

# Colours that colour-blind readers tell apart (Okabe and Ito); one meaning each in the whole book.
ORIGINAL, TARGET, OTHER, THIRD, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7F7F7F"

# Where the viewer's scripts are in the built book, and where k3d's own page looks for them.
REQUIRE = (
    "../_static/vendor/requirejs/require.js",
    "https://cdnjs.cloudflare.com/ajax/libs/require.js/2.3.6/require.min.js",
)
VIEWER = ("../_static/vendor/k3d/standalone.js", f"https://unpkg.com/k3d@{k3d.__version__}/dist/standalone.js")


def style() -> None:
    """The book's look of diagrams; call it once, beside the imports."""
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "figure.figsize": (6.4, 3.6),
            "savefig.bbox": "tight",
            "font.size": 9.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "axes.prop_cycle": plt.cycler(color=[ORIGINAL, TARGET, OTHER, THIRD, GREY]),
        }
    )


def grid(rows: dict[str, Float[Tensor, "B 3 H W"]], columns: list[str] | None = None, width: float = 1.15) -> Figure:
    """A table of pictures: one row for each name, one column for each picture of the batch.

    Args:
        rows: label → pictures; values outside [0, 1] are clamped. A row may have fewer pictures than another.
        columns: headings.
        width: of a picture, inches.
    """
    count = max(len(images) for images in rows.values())
    heading = 0.22 if columns else 0.0
    wide, high = width * count + 1.1, width * len(rows) + heading
    figure, axes = plt.subplots(len(rows), count, squeeze=False, figsize=(wide, high))
    figure.subplots_adjust(left=1.1 / wide, right=1, bottom=0, top=1 - heading / high, wspace=0.03, hspace=0.03)
    for (label, images), line in zip(rows.items(), axes, strict=True):
        for axis in line:
            axis.axis("off")
        for image, axis in zip(images, line, strict=False):
            axis.imshow(image.detach().cpu().clamp(0, 1).permute(1, 2, 0).numpy(), interpolation="nearest")
        line[0].text(-0.06, 0.5, label, ha="right", va="center", transform=line[0].transAxes, fontsize=8.5)
    for heading_text, axis in zip(columns or [], axes[0], strict=False):
        axis.text(0.5, 1.03, heading_text, ha="center", va="bottom", transform=axis.transAxes, fontsize=8.5)
    return figure


def amplified(perturbation: Float[Tensor, "B 3 H W"], times: float) -> Float[Tensor, "B 3 H W"]:
    """A perturbation around mid-grey, so many times as strong; write the number beside the picture."""
    return (0.5 + times * perturbation).clamp(0, 1)


def head(
    vertices: Float[Tensor, "T V 3"],
    faces: Int[Tensor, "F 3"],
    colours: Float[Tensor, "T V 3"],
    label: str,
    ends: tuple[str, str] = ("", ""),
    height: int = 380,
) -> HTML:
    """A head to turn with the mouse; with two or more key frames, a slider blends from the first to the last.

    It needs no kernel: in the built book the viewer is a local file, in a notebook it comes from its public address.

    Args:
        vertices: key frames, mm.
        colours: RGB in [0, 1] for each key frame.
        label: what the reader sees; also the alternative text.
        ends: what the slider's two ends mean.
    """
    frames = len(vertices)
    packed = [(255 * c.detach().cpu().clamp(0, 1)).round().long().numpy() for c in colours]
    hexed = [(c[:, 0] << 16 | c[:, 1] << 8 | c[:, 2]).astype(np.uint32) for c in packed]
    points = [v.detach().cpu().numpy().astype(np.float32) for v in vertices]
    with _no_widgets():
        plot = k3d.plot(
            height=height,
            grid_visible=False,
            camera_auto_fit=False,
            background_color=0xFFFFFF,
            menu_visibility=False,
            axes_helper=0,
            lighting=0.6,
        )
        plot.snapshot_type = "online"  # scripts by their addresses, which are replaced below
        plot.camera = [60, 30, 430, 0, 0, 0, 0, 1, 0]
        triangles = faces.cpu().numpy().astype(np.uint32)
        mesh = k3d.mesh(points[0], triangles, colors=hexed[0], flat_shading=False, side="double")
        if frames > 1:
            mesh.vertices = {str(t): p for t, p in enumerate(points)}
            mesh.colors = {str(t): c for t, c in enumerate(hexed)}
        plot += mesh
        slider = _SLIDER.replace("LAST", str(frames - 1)) if frames > 1 else ""
        page = plot.get_snapshot(9, additional_js_code=slider)
    for local, public in (REQUIRE, VIEWER):
        rescue = f"document.write('<script src=&quot;{public}&quot;><\\/script>')"
        page = page.replace(f'<script src="{public}"></script>', f'<script src="{local}" onerror="{rescue}"></script>')
    if frames > 1:
        page = page.replace('<div id="canvasTarget"></div>', _CONTROL % (html.escape(label), *map(html.escape, ends)))
    frame = f'<iframe srcdoc="{html.escape(page)}" title="{html.escape(label)}" width="100%" height="{height}"'
    return HTML(f'<div>{frame} style="border:0" loading="lazy"></iframe></div>')


_CONTROL = """<div id="canvasTarget"></div>
<div style="position:absolute;bottom:8px;width:100%%;text-align:center;font:14px sans-serif;color:#333">
<label>%s<br>%s
<input id="time" type="range" min="0" max="1" step="0.01" value="0" style="width:55%%"> %s</label></div>"""

_SLIDER = """
var slider = document.getElementById('time');
slider.oninput = function () { K3DInstance.setTime(LAST * parseFloat(slider.value)); };
"""


@contextmanager
def _no_widgets():
    """Objects of k3d that leave no widget state in the notebook."""
    create, comm.create_comm = comm.create_comm, comm.DummyComm
    try:
        yield
    finally:
        comm.create_comm = create

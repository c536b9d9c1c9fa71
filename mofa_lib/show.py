"""Pictures of faces: grids, amplified perturbations, heads and pages that turn without a kernel."""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import torch
from IPython.display import HTML
from jaxtyping import Float, Int
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from mofa_lib.flipbook import flipbook as flipbook
from mofa_lib.morphable import MorphableModel
from mofa_lib.raster import interpolate, rasterize
from mofa_lib.renderer import FaceRenderer, Rendering
from mofa_lib.viewer import Slider, frame

# Colours that colour-blind readers tell apart (Okabe and Ito); one meaning each in the whole book.
ORIGINAL, TARGET, OTHER, THIRD, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7F7F7F"

# The pictures of `overlay`: side and radius of a dot in pixels, mm between lines, a strong difference in colour.
ENLARGED, DOT, NET, STRONG = 448, 4.5, 10.0, 0.3


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
            shrunk = image.shape[-1] > width * figure.dpi  # else its pixels may be seen
            pixels = image.detach().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
            axis.imshow(pixels, interpolation="antialiased" if shrunk else "nearest")
        line[0].text(-0.06, 0.5, label, ha="right", va="center", transform=line[0].transAxes, fontsize=8.5)
    for heading_text, axis in zip(columns or [], axes[0], strict=False):
        axis.text(0.5, 1.03, heading_text, ha="center", va="bottom", transform=axis.transAxes, fontsize=8.5)
    return figure


def amplified(perturbation: Float[Tensor, "B 3 H W"], times: float) -> Float[Tensor, "B 3 H W"]:
    """A perturbation around mid-grey, so many times as strong; write the number beside the picture."""
    return (0.5 + times * perturbation).clamp(0, 1)


def overlay(
    images: Float[Tensor, "B 3 H W"], rendering: Rendering, renderer: FaceRenderer
) -> dict[str, Float[Tensor, "B 3 448 448"]]:
    """How well reconstructions fit their pictures, as rows of `grid`.

    ``show.grid(show.overlay(photos, mofa(photos), mofa.renderer))``

    Args:
        images: what was reconstructed, RGB in [0, 1].
        rendering: the reconstructions.
        renderer: what drew them; a MoFA has it as `renderer`.
    Returns:
        The pictures; the faces over them; over greyed pictures a net of lines, each 10 mm from the next on the mean
        face, with the 68 landmarks as dots; and the difference in colour, mean over RGB.
    """
    images, image, mask = (
        F.interpolate(x.detach().cpu().float(), ENLARGED) for x in (images, rendering.image.clamp(0, 1), rendering.mask)
    )
    paper = 0.5 + 0.5 * images.mean(1, keepdim=True).expand_as(images)
    net, dots = _net(rendering, renderer)
    blue, orange = (torch.tensor(to_rgb(colour))[:, None, None] for colour in (ORIGINAL, TARGET))
    difference = (image - images).abs().mean(1).div(STRONG).clamp(0, 1)
    heat = torch.from_numpy(plt.get_cmap("magma")(difference.numpy())[..., :3]).float().permute(0, 3, 1, 2)
    return {
        "picture": images,
        "reconstruction": torch.lerp(images, image, mask),
        "shape, landmarks": torch.lerp(torch.lerp(paper, blue, 0.7 * net), orange, dots),
        f"difference\nblack 0, yellow {STRONG}": torch.lerp(paper, heat, mask),
    }


def _net(rendering: Rendering, renderer: FaceRenderer) -> Float[Tensor, "2 B 1 448 448"]:
    """Where the lines of the net are, and the dots of the landmarks: 1 there, 0 elsewhere."""
    faces, cells = renderer.model.faces.cpu(), renderer.model.mean_shape.detach().cpu()[None] / NET
    net, dots = torch.zeros(2, len(rendering.vertices), 1, ENLARGED, ENLARGED)
    steps = torch.arange(ENLARGED) + 0.5
    pixels = torch.cartesian_prod(steps, steps).flip(1)  # x, y
    posed = rendering.vertices.detach().cpu()
    for i, points in enumerate(rendering.landmarks.detach().cpu() * (ENLARGED / renderer.size)):
        fragments = rasterize(renderer.camera.project(posed[i : i + 1], ENLARGED), faces, ENLARGED)
        cell = interpolate(fragments, faces, cells)[0, ..., :2].floor()
        new = ((cell[1:, 1:] != cell[1:, :-1]) | (cell[1:, 1:] != cell[:-1, 1:])).any(-1)
        net[i, 0, 1:, 1:] = new & (fragments.face[0, 1:, 1:] >= 0)
        dots[i, 0] = (DOT - torch.cdist(pixels, points).amin(1)).clamp(0, 1).view(ENLARGED, ENLARGED)
    return torch.stack([F.max_pool2d(net, 3, 1, 1), dots])


def head(
    vertices: Float[Tensor, "T V 3"],
    faces: Int[Tensor, "F 3"],
    colours: Float[Tensor, "T V 3"],
    label: str,
    ends: tuple[str, str] = ("", ""),
    height: int = 380,
    lit: bool = False,
) -> HTML:
    """A head to turn by mouse, finger or arrow keys; with two or more key frames, a slider blends from first to last.

    It needs no kernel: in the built book the viewer's script is a local file, in a notebook it comes from its public
    address. Where neither can run, a still picture is shown.

    Args:
        vertices: key frames, mm.
        colours: RGB in [0, 1] for each key frame.
        label: what the reader sees; also the alternative text.
        ends: what the slider's two ends mean.
        height: of the picture, pixels; the slider comes below.
        lit: whether the colours contain light already; else the viewer's lamps shine on them.
    """
    last = len(vertices) - 1
    blend = Slider(label, ends, 0, last, last / 100, vertices[1:] - vertices[0], colours[1:] - colours[0])
    return frame(vertices[0], faces, colours[0], [blend] if last else [], label, height, lit)


def sliders(
    model: MorphableModel,
    label: str,
    *,
    shape: Iterable[int] = (),
    expression: Iterable[int] = (),
    appearance: Iterable[int] = (),
    reach: float = 3.0,
    height: int = 380,
) -> HTML:
    """The mean face with one slider for each chosen component; the page itself adds them up, with no kernel.

    ``show.sliders(model, "Four shape components", shape=range(4))``. Each component adds some 30 kB to the page.

    Args:
        label: what the reader sees; also the alternative text.
        shape, expression, appearance: numbers of components, counted from 0; the reader sees them counted from 1.
        reach: how far the sliders go to both sides, standard deviations.
        height: of the picture, pixels; the sliders come below.
    Raises:
        ValueError: the model has no such component.
    """
    chosen, none = [], torch.zeros_like(model.mean_shape)[None]
    for group, wanted in {"shape": shape, "expression": expression, "appearance": appearance}.items():
        basis = getattr(model, f"{group}_basis")
        for i in wanted:
            if not 0 <= i < basis.shape[2]:
                raise ValueError(f"There is no {group} component {i}: the model has {basis.shape[2]}, counted from 0.")
            direction = basis[None, :, :, i]
            moved = (none, direction) if group == "appearance" else (direction, none)
            name = f"{group} {i + 1}"
            chosen.append(Slider(name, (name, ""), -reach, reach, 0.1, *moved, unit="σ"))
    return frame(model.mean_shape, model.faces, model.mean_appearance, chosen, label, height, lit=False)

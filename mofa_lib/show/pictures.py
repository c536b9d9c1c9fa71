"""Pictures of faces: grids, amplified perturbations, reconstructions over their pictures."""

from collections.abc import Iterable, Mapping

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from mofa_lib.faces import check_floats, check_images
from mofa_lib.inputs import as_colours, standard_torch, takes_arrays
from mofa_lib.raster import interpolate, rasterize
from mofa_lib.renderer import FaceRenderer, Rendering

# Colours that colour-blind readers tell apart (Okabe and Ito); one meaning each in the whole book.
ORIGINAL = "#0072B2"  # blue
TARGET = "#D55E00"  # vermilion
OTHER = "#009E73"  # bluish green
THIRD = "#CC79A7"  # reddish purple
GREY = "#7F7F7F"

# The pictures of `overlay`.
ENLARGED = 448  # side, pixels
DOT = 4.5  # radius of a landmark's dot, pixels
NET = 10.0  # between two lines, mm
STRONG = 0.3  # the difference in colour that is shown as the strongest


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


def grid(
    rows: Mapping[str, Iterable[Tensor]], columns: list[str] | None = None, width: float = 1.15
) -> Figure:
    """A table of pictures: one row for each name, one column for each picture of the batch.

    Args:
        rows: label → pictures, also of 8 bits; values outside [0, 1] are clamped. A row may have
            fewer pictures than another.
        columns: headings.
        width: of a picture, inches.
    Raises:
        TypeError: what is given for a picture is no tensor and no array.
        ValueError: there is no picture, or one has another shape, or values that are not finite.
    """
    rows = {label: _pictures(label, images) for label, images in rows.items()}
    count = max((len(images) for images in rows.values()), default=0)
    if not count:
        raise ValueError("A grid needs at least one picture.")
    margin = 1.1  # for the labels, inches
    heading = 0.22 if columns else 0.0  # inches
    wide = width * count + margin
    high = width * len(rows) + heading
    figure, axes = plt.subplots(len(rows), count, squeeze=False, figsize=(wide, high))
    figure.subplots_adjust(
        left=margin / wide, right=1, bottom=0, top=1 - heading / high, wspace=0.03, hspace=0.03
    )
    for axis in axes.flat:
        axis.axis("off")

    for (label, images), row in zip(rows.items(), axes, strict=True):
        for image, axis in zip(images, row, strict=False):
            shrunk = image.shape[-1] > width * figure.dpi  # else its pixels may be seen
            pixels = image.clamp(0, 1).permute(1, 2, 0).numpy()  # (H, W, 3)
            axis.imshow(pixels, interpolation="antialiased" if shrunk else "nearest")
        _write(row[0], -0.06, 0.5, label, ha="right", va="center")
    for text, axis in zip(columns or [], axes[0], strict=False):
        _write(axis, 0.5, 1.03, text, ha="center", va="bottom")
    return figure


def _pictures(label: str, images: Iterable) -> list[Float[Tensor, "3 H W"]]:
    """The pictures of a row, in colours between 0 and 1."""
    pictures = [as_colours(image) for image in images]
    for picture in pictures:
        if picture.ndim != 3 or picture.shape[0] != 3:
            raise ValueError(
                f"The row {label!r} needs pictures (B, 3, H, W), got one of {tuple(picture.shape)}."
            )
    return pictures


def _write(axis: Axes, x: float, y: float, text: str, **alignment: str) -> None:
    """A text beside a picture, at a place in shares of its width and height."""
    axis.text(x, y, text, transform=axis.transAxes, fontsize=8.5, **alignment)


@takes_arrays
def amplified(perturbation: Float[Tensor, "B 3 H W"], times: float) -> Float[Tensor, "B 3 H W"]:
    """A perturbation around mid-grey, so many times as strong; write the number beside it."""
    check_floats(perturbation)
    return (0.5 + times * perturbation).clamp(0, 1)


@standard_torch()
def overlay(
    images: Tensor, rendering: Rendering, renderer: FaceRenderer
) -> dict[str, Float[Tensor, "B 3 448 448"]]:
    """How well reconstructions fit their pictures, as rows of `grid`.

    ``show.grid(show.overlay(photos, mofa(photos), mofa.renderer))``

    Args:
        images: what was reconstructed, RGB in [0, 1], (B, 3, H, W).
        rendering: the reconstructions.
        renderer: what drew them; a MoFA has it as `renderer`.
    Returns:
        The pictures; the faces over them; over greyed pictures a net of lines, each 10 mm from the
            next on the mean face, with the 68 landmarks as dots; and the difference in colour, mean
            over RGB.
    """
    images = as_colours(images)
    check_images(images, renderer.size)
    if len(images) != len(rendering.image):
        raise ValueError(
            f"Each picture needs its reconstruction, got {len(images)} and {len(rendering.image)}."
        )
    images = _enlarged(images)  # (B, 3, 448, 448)
    faces = _enlarged(rendering.image.clamp(0, 1))  # (B, 3, 448, 448)
    mask = _enlarged(rendering.mask)  # (B, 1, 448, 448)

    grey = images.mean(1, keepdim=True).expand_as(images)
    paper = 0.5 + 0.5 * grey  # half as strong, on white
    net, dots = _net(rendering, renderer)  # (B, 1, 448, 448) each
    drawing = torch.lerp(paper, _colour(ORIGINAL), 0.7 * net)
    drawing = torch.lerp(drawing, _colour(TARGET), dots)

    difference = (faces - images).abs().mean(1)  # (B, 448, 448)
    shares = difference.div(STRONG).clamp(0, 1).numpy()
    heat = torch.from_numpy(plt.get_cmap("magma")(shares)[..., :3]).float()  # (B, 448, 448, 3)
    return {
        "picture": images,
        "reconstruction": torch.lerp(images, faces, mask),
        "shape, landmarks": drawing,
        f"difference\nblack 0, yellow {STRONG}": torch.lerp(paper, heat.permute(0, 3, 1, 2), mask),
    }


def _enlarged(pictures: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C 448 448"]:
    """Larger, so that lines and dots are finer than the pixels."""
    return F.interpolate(pictures.detach().cpu().float(), ENLARGED)


def _colour(name: str) -> Float[Tensor, "3 1 1"]:
    return torch.tensor(to_rgb(name))[:, None, None]


def _net(rendering: Rendering, renderer: FaceRenderer) -> Float[Tensor, "2 B 1 448 448"]:
    """Where the lines of the net are, and the dots of the landmarks: 1 there, 0 elsewhere."""
    vertices = rendering.vertices.detach().cpu()  # (B, V, 3)
    landmarks = rendering.landmarks.detach().cpu() * (ENLARGED / renderer.size)  # (B, 68, 2)
    steps = torch.arange(ENLARGED) + 0.5
    centres = torch.cartesian_prod(steps, steps).flip(1)  # (448², 2): x, y of every pixel

    net = torch.zeros(len(vertices), 1, ENLARGED, ENLARGED)
    dots = torch.zeros_like(net)
    for number, (posed, points) in enumerate(zip(vertices, landmarks, strict=True)):
        net[number, 0] = _lines(posed, renderer)
        inside = DOT - torch.cdist(centres, points).amin(1)  # (448²,), of the nearest dot
        dots[number, 0] = inside.clamp(0, 1).view(ENLARGED, ENLARGED)
    net = F.max_pool2d(net, 3, 1, 1)  # lines of one pixel become three pixels wide
    return torch.stack([net, dots])


def _lines(posed: Float[Tensor, "V 3"], renderer: FaceRenderer) -> Float[Tensor, "448 448"]:
    """Where a cell of the net begins, to the right of another or below it."""
    triangles = renderer.model.faces.cpu()
    places = renderer.model.mean_shape.detach().cpu()[None] / NET  # (1, V, 3), in cells of the net
    screen = renderer.camera.project(posed[None], ENLARGED)
    fragments = rasterize(screen, triangles, ENLARGED)
    cell = interpolate(fragments, triangles, places)[0, ..., :2].floor()  # (448, 448, 2)

    across = cell[1:, 1:] != cell[1:, :-1]
    down = cell[1:, 1:] != cell[:-1, 1:]
    seen = fragments.face[0, 1:, 1:] >= 0
    lines = torch.zeros(ENLARGED, ENLARGED)
    lines[1:, 1:] = (across | down).any(-1) & seen
    return lines

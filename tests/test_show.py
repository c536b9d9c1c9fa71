"""Figures: grids, perturbations, reconstructions over pictures. Heads that turn: test_viewer."""

import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from mofa_lib import FaceCode, FaceRenderer, show  # noqa: E402
from mofa_lib.show.pictures import ENLARGED  # noqa: E402


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def test_a_grid_has_a_row_for_each_name_and_a_column_for_each_picture():
    rows = {"original": torch.rand(3, 3, 8, 8), "attacked": torch.rand(2, 3, 8, 8)}
    figure = show.grid(rows, columns=["a", "b", "c"])
    assert len(figure.axes) == 6
    shown = [axis.images[0].get_array() if axis.images else None for axis in figure.axes]
    for i in range(3):
        np.testing.assert_allclose(shown[i], rows["original"][i].permute(1, 2, 0))
    assert shown[5] is None and shown[4] is not None
    texts = {text.get_text() for axis in figure.axes for text in axis.texts}
    assert texts == {"original", "attacked", "a", "b", "c"}


def test_a_grid_clamps_and_needs_no_detached_pictures():
    colour = torch.tensor([-1.0, 0.5, 2.0])[None, :, None, None]
    figure = show.grid({"x": colour.expand(1, 3, 2, 2).requires_grad_()})
    np.testing.assert_allclose(figure.axes[0].images[0].get_array()[0, 0], [0, 0.5, 1])


def test_a_grid_shrinks_smoothly_but_shows_the_pixels_of_small_pictures():
    for side, expected in ((400, "antialiased"), (8, "nearest")):
        (axis,) = show.grid({"x": torch.rand(1, 3, side, side)}).axes
        assert axis.images[0].get_interpolation() == expected


def test_amplified_perturbations_surround_grey():
    perturbation = torch.tensor([0.0, 0.01, -0.01, 0.5])[None, None, None].expand(1, 3, 1, 4)
    found = show.amplified(perturbation, 10.0)
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([0.5, 0.6, 0.4, 1.0]))


def test_the_style_can_be_drawn_with():
    with matplotlib.rc_context():
        show.style()
        figure, axis = plt.subplots()
        axis.plot([0, 1])
        figure.canvas.draw()
        assert axis.lines[0].get_color() == show.ORIGINAL


@pytest.fixture(scope="module")
def overlaid(tiny_model):
    """Two balls, one turned and moved, and their overlay over a grey and a coloured picture."""
    renderer = FaceRenderer(tiny_model, size=64)
    code = FaceCode.mean(tiny_model, 2)
    code.rotation[1] = torch.tensor([0.1, 0.3, 0.0])
    code.translation[1] = torch.tensor([10.0, 5.0, 0.0])
    rendering = renderer(code)
    images = torch.full((2, 3, 64, 64), 0.5)
    images[1] = torch.tensor([0.9, 0.3, 0.6])[:, None, None]
    return renderer, rendering, images, show.overlay(images, rendering, renderer)


def colours(name: str) -> torch.Tensor:
    return torch.tensor(matplotlib.colors.to_rgb(name))[:, None, None]


def test_overlaid_pictures_are_rows_of_a_grid(overlaid):
    _, rendering, images, rows = overlaid
    assert list(rows) == [
        "picture",
        "reconstruction",
        "shape, landmarks",
        "difference\nblack 0, yellow 0.3",
    ]
    for seen, expected in zip(rows.values(), (images, rendering.over(images)), strict=False):
        enlarged = expected.repeat_interleave(7, 2).repeat_interleave(7, 3)  # 448 = 7 × 64
        torch.testing.assert_close(seen, enlarged)
    assert len(show.grid(rows).axes) == 8


def test_the_difference_is_black_where_there_is_none_and_yellow_where_it_is_strong(overlaid):
    renderer, rendering, images, _ = overlaid
    face = rendering.mask > 0
    for change, strength in ((0.0, 0.0), (0.35, 1.0)):
        changed = (rendering.image - change).clamp(0, 1)
        *_, seen = show.overlay(changed, rendering, renderer).values()
        enough = face if change == 0 else face & (rendering.image > change).all(1, keepdim=True)
        found = seen[:, :, 3::7, 3::7].movedim(1, 3)[enough[:, 0]]
        assert len(found) > 1000
        colour = torch.tensor(matplotlib.colormaps["magma"](strength)[:3]).float()
        torch.testing.assert_close(found, colour.expand_as(found), atol=1e-2, rtol=0)
    *_, seen = show.overlay(images, rendering, renderer).values()
    # A picture of mean 0.6, half as strong, on white.
    around = seen[1, :, 3::7, 3::7].movedim(0, 2)[~face[1, 0]]
    torch.testing.assert_close(around, torch.full_like(around, 0.8))


def test_landmarks_are_dots_on_their_pixels(overlaid):
    _, rendering, _, rows = overlaid
    seen = rows["shape, landmarks"]
    for picture, points in zip(seen, rendering.landmarks * 7, strict=True):
        x, y = points.long().unbind(1)
        torch.testing.assert_close(picture[:, y, x], colours(show.TARGET)[..., 0].expand(3, 68))


def test_the_net_has_a_line_every_ten_millimetres_of_the_mean_face(overlaid):
    """On a ball of 80 mm, 3 mm above its middle, x = 0, ±10, … are where a pinhole puts them."""
    renderer, rendering, _, rows = overlaid
    camera, y = renderer.camera, 3.0
    x = 10.0 * torch.arange(-5, 6)
    z = (78.5**2 - x**2 - y**2).sqrt()  # the mesh lies inside the ball
    points = torch.stack([x, torch.full_like(x, y), z], 1)
    columns, lines, _ = camera.project(points[None], ENLARGED)[0].T
    row = rows["shape, landmarks"][0, :, int(lines[5])]
    grey = (row - 0.75).abs().amax(0) < 1e-3  # the paper: 0.5, half as strong, on white
    for column in columns:
        assert not grey[round(float(column)) - 3 : round(float(column)) + 4].all()
    between = ((columns[1:] + columns[:-1]) / 2).round().long()
    assert grey[between].float().mean() >= 0.8  # a landmark may cover one
    away = (rendering.mask[0, 0, int(lines[5]) // 7] == 0).repeat_interleave(7)
    assert grey[away].float().mean() > 0.95 and away.sum() > 50

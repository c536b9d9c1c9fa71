"""Figures and the kernel-free viewer."""

import html
import re

import comm
import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from mofa_lib import show  # noqa: E402


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
    figure = show.grid({"x": torch.tensor([-1.0, 0.5, 2.0])[None, :, None, None].expand(1, 3, 2, 2).requires_grad_()})
    np.testing.assert_allclose(figure.axes[0].images[0].get_array()[0, 0], [0, 0.5, 1])


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


def page_of(shown) -> str:
    """The page inside the frame."""
    return html.unescape(re.search(r'srcdoc="([^"]*)"', shown.data)[1])


def viewer(tiny_model, frames: int, **changes):
    vertices = tiny_model.mean_shape.expand(frames, -1, -1) * torch.linspace(1, 1.1, frames)[:, None, None]
    colours = tiny_model.mean_appearance.expand(frames, -1, -1)
    return show.head(vertices, tiny_model.faces, colours, **{"label": "A head", **changes})


def test_a_head_loads_its_scripts_locally_and_falls_back_to_their_addresses(tiny_model):
    page = page_of(viewer(tiny_model, 1))
    scripts = re.findall(r'<script src="([^"]*)"[^>]*>', page)
    assert scripts == [show.REQUIRE[0], show.VIEWER[0]]
    for local, public in (show.REQUIRE, show.VIEWER):
        assert re.search(rf'src="{re.escape(local)}" onerror="[^"]*{re.escape(public)}', page)
    assert 'type="range"' not in page


def test_a_head_with_key_frames_has_a_slider(tiny_model):
    page = page_of(viewer(tiny_model, 3, ends=("no smile", "smile")))
    assert page.count('type="range"') == 1 and "K3DInstance.setTime(2 *" in page
    assert "no smile" in page and "A head" in page


def test_labels_are_text_and_not_markup(tiny_model):
    label = '100 % <b>"bold"</b> & more'
    shown = viewer(tiny_model, 2, label=label, ends=("<i>", "%s"))
    assert html.unescape(re.search(r'title="([^"]*)"', shown.data)[1]) == label
    page = page_of(shown)
    assert html.escape(label) in page and "<b>" not in page and "<i>" not in page and "&lt;i&gt;" in page


def test_a_head_leaves_no_widgets_behind(tiny_model, monkeypatch):
    opened = []

    def create(*arguments, **named):
        opened.append(named)
        return comm.DummyComm()

    monkeypatch.setattr(comm, "create_comm", create)
    viewer(tiny_model, 2)
    assert not opened and comm.create_comm is create
    with pytest.raises(TypeError):
        show.head(None, tiny_model.faces, None, "broken")
    assert comm.create_comm is create

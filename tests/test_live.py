"""What is live in a notebook, without a notebook: its controls are set as a reader sets them, and
what it shows is compared with what the library computes. In JupyterLab: test_jupyterlab.
"""

import io
import re
import sys

import nbclient
import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

from mofa_lib import CodeDistance, FaceCode, FaceRenderer, LatentAttack, MoFA, show
from mofa_lib.attack import WEIGHTS, quantize
from mofa_lib.morphable import MorphableModel
from mofa_lib.show import live
from mofa_lib.show.explorer import DRAWN

SIZE = 32


@pytest.fixture(scope="module")
def mofa(tiny_model):
    """Untrained, but with gradients."""
    torch.manual_seed(0)
    mofa = MoFA(tiny_model, SIZE, encoder="tiny").eval().requires_grad_(False)
    torch.nn.init.normal_(mofa.head.weight, std=0.1)
    return mofa


@pytest.fixture(scope="module")
def pairs():
    return torch.rand(2, 3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def explorer(mofa):
    explorer = show.explore(mofa)
    assert explorer.widget is explorer.widget
    return explorer


@pytest.fixture
def panel(mofa, pairs):
    panel = show.attack_panel(mofa, *pairs)
    assert panel.widget
    return panel


def widgets(widget) -> list:
    """A widget and all within it, from top to bottom."""
    inner = [part for child in getattr(widget, "children", ()) for part in widgets(child)]
    return [widget, *inner]


def pictures(thing) -> list[bytes]:
    """The files that a panel shows, from top to bottom."""
    return [part.value for part in widgets(thing.widget) if type(part).__name__ == "Image"]


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).astype(int)


def drawn(code: FaceCode, model) -> np.ndarray:
    """The face of a code on light grey, 0 to 255."""
    rendering = FaceRenderer(model, DRAWN)(code)
    face = torch.where(rendering.mask > 0, rendering.image.clamp(0, 1), 0.93)
    return (255 * face[0]).round().permute(1, 2, 0).numpy()


def test_each_slider_moves_its_numbers_and_the_picture_follows(explorer, tiny_model):
    moved = {
        "α₃": ("shape", [2], 2.0),
        "δ₂": ("expression", [1], -1.5),
        "β₁": ("appearance", [0], 1.0),
        "pitch": ("rotation", [0], 0.2),
        "yaw": ("rotation", [1], -0.3),
        "roll": ("rotation", [2], 0.1),
        "ambient": ("illumination", [0, 9, 18], 0.4),
        "from above": ("illumination", [1, 10, 19], -0.5),
        "from right": ("illumination", [3, 12, 21], 0.3),
    }
    expected = {group: part.clone() for group, part in FaceCode.mean(tiny_model).parts.items()}
    for label, (group, numbers, value) in moved.items():
        before = pictures(explorer)
        explorer.sliders[label].value = value
        expected[group][:, numbers] = value
        for name, part in explorer.code.parts.items():
            torch.testing.assert_close(part, expected[name])
        (picture,) = pictures(explorer)
        assert [picture] != before
        np.testing.assert_array_equal(pixels(picture), drawn(explorer.code, tiny_model))


def test_light_comes_from_where_its_slider_says(explorer):
    (even,) = (pixels(file) for file in pictures(explorer))
    half = DRAWN // 2
    for label, bright, dark in (
        ("from right", np.s_[:, half:], np.s_[:, :half]),
        ("from above", np.s_[:half], np.s_[half:]),
    ):
        explorer.sliders[label].value = 0.5
        (lit,) = (pixels(file) for file in pictures(explorer))
        explorer.sliders[label].value = 0.0
        assert (lit - even)[bright].mean() > 1 and (lit - even)[dark].mean() < -1


def test_exploring_begins_at_a_code_and_comes_back_to_it(mofa, tiny_model):
    z = torch.randn(1, 42, generator=torch.Generator().manual_seed(2))
    start = FaceCode.from_vector(z, tiny_model)
    start.shape[0, 0] = 7.0  # beyond the slider's usual end
    explorer = show.explore(mofa.renderer, start)
    (first,) = pictures(explorer)
    assert explorer.sliders["α₁"].value == 7.0
    assert explorer.sliders["ambient"].value == pytest.approx(
        float(start.illumination[0, [0, 9, 18]].mean())
    )
    for slider in explorer.sliders.values():
        slider.value = 0.1
    assert pictures(explorer) != [first]
    (reset,) = [part for part in widgets(explorer.widget) if type(part).__name__ == "Button"]
    reset.click()
    assert pictures(explorer) == [first] and torch.equal(explorer.code.to_vector(), z)


def test_going_back_draws_one_picture(explorer, monkeypatch):
    for slider in explorer.sliders.values():
        slider.value = 0.1
    drawn, draw = [], explorer._drawn
    monkeypatch.setattr(explorer, "_drawn", lambda: drawn.append(None) or draw())
    (reset,) = [part for part in widgets(explorer.widget) if type(part).__name__ == "Button"]
    reset.click()
    assert len(drawn) == 1
    explorer.sliders["yaw"].value = 0.2  # the sliders still move the picture
    assert len(drawn) == 2 and explorer.code.rotation[0, 1] == pytest.approx(0.2)


@pytest.mark.parametrize("count", [0, 2])
def test_one_face_is_explored_at_a_time(mofa, tiny_model, count):
    with pytest.raises(ValueError, match=f"shows one face, got {count}: choose one, as in codes"):
        show.explore(mofa, FaceCode.mean(tiny_model, count))


def test_a_model_without_expressions_has_no_sliders_for_them(tiny_tensors):
    none = {"expression_basis": tiny_tensors["expression_basis"][..., :0]}
    explorer = show.explore(FaceRenderer(MorphableModel(tiny_tensors | none, "mute"), 16))
    headings = [part.value for part in widgets(explorer.widget) if type(part).__name__ == "HTML"]
    assert [re.search(r"<b>(\w+)", heading)[1] for heading in headings] == [
        "shape",
        "appearance",
        "rotation",
        "illumination",
    ]


def run(panel, steps: int) -> None:
    """Count on as the page does, so many times."""
    for _ in range(steps):
        panel.play.value += 1


def test_the_panel_finds_what_the_attack_finds(mofa, pairs, panel):
    weights = {"shape": 0.02, "appearance": 0.5, "rotation": 0.1, "expression": 0.0}
    chosen = {"pair": 2, "epsilon": 0.03, "steps": 7, "penalty": 0.01, **weights}
    for name, value in chosen.items():
        panel.settings[name].value = value
    run(panel, 7)
    distance = CodeDistance(mofa.model, WEIGHTS | weights)
    attack = LatentAttack(
        mofa.encode, distance, epsilon=0.03, steps=7, penalty=0.01, precision="float32"
    )
    expected = attack(*pairs[:, 1:2])
    for name in ("images", "perturbation", "distance", "saved_distance", "course"):
        torch.testing.assert_close(getattr(panel.result, name), getattr(expected, name))
    assert 0 < panel.result.perturbation.abs().max() <= 0.03 + 1e-6
    run(panel, 1)
    assert panel.play.value == 7, "no step is left"


def test_everything_moves_while_the_attack_runs(mofa, panel):
    shown = [pictures(panel)]
    for _ in range(3):
        run(panel, 1)
        shown.append(pictures(panel))
    original, attacked, target, *reconstructions, change = zip(*shown, strict=True)
    for still in (original, target, reconstructions[0], reconstructions[2]):
        assert len(set(still)) == 1
    for moving in (attacked, reconstructions[1], change):
        assert len(set(moving)) == 4
    saved = quantize(panel.result.images)
    np.testing.assert_array_equal(pixels(attacked[-1]), (255 * saved[0]).round().permute(1, 2, 0))
    assert (pixels(change[0]) == 128).all()


def test_an_attack_pauses_goes_on_and_goes_back(panel):
    first = panel.result
    run(panel, 3)
    paused = panel.result
    assert paused.distance < first.distance
    assert panel.result is paused, "nothing happens until the page counts on"
    panel.play.value = 9  # a page that was faster than the kernel
    assert panel.play.value == 4 and panel.result.course[4] <= paused.course[3]
    panel.play.value = 0
    torch.testing.assert_close(panel.result.images, first.images)
    run(panel, 3)
    torch.testing.assert_close(panel.result.images, paused.images)


def test_another_setting_begins_anew(panel, pairs):
    for name, value in {"pair": 3, "epsilon": 0.01, "steps": 2, "illumination": 0.0}.items():
        run(panel, 2)
        panel.settings[name].value = value
        assert panel.play.value == 0 and not panel.result.perturbation.any()
    torch.testing.assert_close(panel.result.images, pairs[0, 2:])
    assert panel.play.max == 2


def texts(thing) -> str:
    """All that a panel says."""
    return " ".join(part.value for part in widgets(thing.widget) if type(part).__name__ == "HTML")


def test_the_panel_draws_the_losses(panel):
    run(panel, 4)
    (line,) = re.findall(r'<polyline points="([^"]*)"', texts(panel))
    x, y = np.array([point.split(",") for point in line.split()], dtype=float).T
    assert len(x) == 5 and np.allclose(np.diff(x), np.diff(x)[0], atol=0.11)
    losses = panel.result.course[:5, 0].numpy()
    bottom = float(re.search(r"M\d+,\d+V(\d+)", texts(panel))[1])
    np.testing.assert_allclose((bottom - y) / (bottom - y[0]), losses / losses[0], atol=1e-3)
    assert f"Δ to the target: {losses[0]:.3f} → {panel.result.saved_distance[0]:.3f}" in texts(
        panel
    )
    assert "step 4 of 50" in texts(panel)


def test_a_panel_in_which_nothing_is_asked_for_says_so(panel):
    assert "nothing is asked for" not in texts(panel)
    for group in WEIGHTS:
        panel.settings[group].value = 0
    assert "Every λ is 0, so nothing is asked for: give a group a weight." in texts(panel)


def test_a_panel_refuses_what_are_no_pairs(mofa, pairs, unchecked):
    originals, targets = pairs
    for some in (targets[:2], targets[:0]):
        with pytest.raises(ValueError, match="each picture with its target, got 3 and"):
            show.attack_panel(mofa, originals, some)
    with pytest.raises(ValueError, match="got 0 and 0"):
        show.attack_panel(mofa, originals[:0], targets[:0])
    with pytest.raises(ValueError, match="must have shape"):
        show.attack_panel(mofa, originals[..., :30], targets)


def test_a_watched_cell_shows_the_widget_and_nothing_else(explorer, monkeypatch):
    monkeypatch.setattr(live, "_is_watched", lambda: True)
    shown = explorer._repr_mimebundle_()
    assert set(shown) == {"text/plain", live.VIEW}
    assert shown[live.VIEW]["model_id"] == explorer.widget.model_id


def test_without_ipywidgets_a_still_picture_says_what_to_install(mofa, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.setattr(live, "_is_watched", lambda: True)
    explorer = show.explore(mofa)
    shown = explorer._repr_mimebundle_()["text/html"]
    sentence = r'The controls need an extra \(.*ipywidgets.*\): pip install "mofa_lib\[widgets\]"\.'
    assert re.search(sentence, shown) and "<img" in shown
    with pytest.raises(ImportError, match=sentence):
        _ = explorer.widget


def test_a_notebook_that_a_program_runs_keeps_a_still_picture_and_no_widget():
    """And ipywidgets is not even imported."""
    source = """
from mofa_lib import FaceRenderer, load_morphable_model, show
shown = show.explore(FaceRenderer(load_morphable_model(), 16))
shown._repr_mimebundle_()
import sys
print("ipywidgets" in sys.modules)
shown
"""
    cell = nbformat.v4.new_code_cell(source)
    ran = nbclient.execute(nbformat.v4.new_notebook(cells=[cell]), kernel_name="python3")
    printed, output = ran.cells[0].outputs
    assert printed.text == "False\n"
    assert set(output.data) == {"text/plain", "text/html"}
    assert live.ELSEWHERE in output.data["text/html"] and "<img" in output.data["text/html"]
    assert "widgets" not in ran.metadata

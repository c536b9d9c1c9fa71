"""Heads that turn, with and without sliders: their page, and what a browser shows of it."""

import base64
import html
import io
import itertools
import json
import re

import numpy as np
import pytest
import torch
from browsers import ROOT, needs_chromium, served, violations
from PIL import Image

from mofa_lib import show
from mofa_lib.mesh import vertex_normals
from mofa_lib.show import viewer

pytestmark = pytest.mark.xdist_group("viewer")  # one page for all

LIBRARY = ROOT / "node_modules" / "k3d" / "dist" / "standalone.js"  # put there by `make book`


def head(model, frames: int = 1, **changes):
    vertices = model.mean_shape + 5 * torch.arange(frames)[:, None, None]
    colours = model.mean_appearance.expand(frames, -1, -1)
    return show.head(vertices, model.faces, colours, **{"label": "A head", **changes})


def page_of(shown) -> str:
    """The page inside the frame."""
    return html.unescape(re.search(r'srcdoc="([^"]*)"', shown.data)[1])


def data_of(shown) -> dict:
    script = re.search(r'<script id="data"[^>]*>(.*?)</script>', page_of(shown), re.DOTALL)
    return json.loads(script[1])


def still_of(shown) -> Image.Image:
    (content,) = re.findall(
        r'<img id="still" [^>]*src="data:image/webp;base64,([^"]*)"', page_of(shown)
    )
    return Image.open(io.BytesIO(base64.b64decode(content)))


def unpacked(packed: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["data"]), "<i2").reshape(-1, 3) * packed["unit"]


def test_the_page_holds_mean_and_components_to_within_half_a_unit(tiny_model):
    data = data_of(
        show.sliders(tiny_model, "Some", shape=(2,), expression=[0], appearance=range(1, 3))
    )
    expected = [
        (data["vertices"], tiny_model.mean_shape),
        (data["colours"], tiny_model.mean_appearance),
        (data["sliders"][0]["vertices"][0], tiny_model.shape_basis[:, :, 2]),
        (data["sliders"][1]["vertices"][0], tiny_model.expression_basis[:, :, 0]),
        (data["sliders"][2]["colours"][0], tiny_model.appearance_basis[:, :, 1]),
        (data["sliders"][3]["colours"][0], tiny_model.appearance_basis[:, :, 2]),
    ]
    for packed, true in expected:
        assert packed["unit"] == pytest.approx(float(true.abs().max()) / 32767)
        np.testing.assert_allclose(unpacked(packed), true, atol=0.51 * packed["unit"])
    names = [slider["name"] for slider in data["sliders"]]
    assert names == ["shape 3", "expression 1", "appearance 2", "appearance 3"]
    assert all(not slider["colours"] for slider in data["sliders"][:2])
    assert all(not slider["vertices"] for slider in data["sliders"][2:])
    faces = np.frombuffer(base64.b64decode(data["faces"]), "<u2").reshape(-1, 3)
    np.testing.assert_array_equal(faces, tiny_model.faces)


def test_key_frames_are_one_slider(tiny_model):
    (slider,) = data_of(head(tiny_model, 3, ends=("no smile", "smile")))["sliders"]
    assert (slider["low"], slider["high"]) == (0, 2)
    assert slider["ends"] == ["no smile", "smile"] and slider["name"] == "A head"
    for k, packed in enumerate(slider["vertices"], 1):
        np.testing.assert_allclose(unpacked(packed), 5 * k, rtol=1e-4)
    assert slider["colours"] == []
    assert data_of(head(tiny_model))["sliders"] == []


def test_labels_are_text_and_not_markup(tiny_model):
    label = '100 % <b>"bold"</b> & {still} </script>'
    shown = head(tiny_model, 2, label=label, ends=("<i>", "%s"))
    assert html.unescape(re.search(r'title="([^"]*)"', shown.data)[1]) == label
    page = page_of(shown)
    assert page.count(html.escape(label)) == 3 and "<b>" not in page and "<i>" not in page
    (slider,) = data_of(shown)["sliders"]
    assert (slider["name"], slider["ends"]) == (label, ["<i>", "%s"])


def test_a_page_with_six_components_of_the_default_model_is_small(model):
    shown = show.sliders(model, "Six", shape=range(3), expression=(0,), appearance=range(2))
    assert len(shown.data) < 600_000
    assert len(re.search(r"base64,([^\"]*)", page_of(shown))[1]) < 25_000


def test_the_still_picture_is_the_head_on_nothing(tiny_model):
    """Of a sphere of one colour, lit already: a disc of that colour, as wide as the frame."""
    colours = torch.tensor([0.2, 0.5, 0.8]).expand(1, len(tiny_model.mean_shape), 3)
    shown = show.head(tiny_model.mean_shape[None], tiny_model.faces, colours, "A ball", lit=True)
    pixels = np.asarray(still_of(shown).convert("RGBA")).astype(float) / 255
    side = len(pixels)
    np.testing.assert_allclose(pixels[side // 2, side // 2], [0.2, 0.5, 0.8, 1], atol=0.03)
    opaque = pixels[..., 3] > 0.5
    x, y = np.meshgrid(*2 * [np.arange(side) + 0.5 - side / 2])
    radius = (opaque.sum() / np.pi) ** 0.5
    assert 0.43 * side < radius < 0.5 * side
    assert (opaque == (np.hypot(x, y) < radius)).mean() > 0.985
    assert not opaque[[0, -1]].any() and not opaque[:, [0, -1]].any()


def test_lamps_darken_the_rim_of_the_still_picture_and_not_its_middle(tiny_model):
    colours = torch.full((1, len(tiny_model.mean_shape), 3), 0.6)
    shown = show.head(tiny_model.mean_shape[None], tiny_model.faces, colours, "A ball")
    pixels = np.asarray(still_of(shown))
    middle, rim = pixels[160, 160, 0] / 255, pixels[160, 300, 0] / 255
    assert middle == pytest.approx(0.6, abs=0.03) and rim < 0.75 * middle


def test_the_camera_keeps_the_head_in_the_frame_wherever_the_sliders_are(tiny_model):
    data = data_of(show.sliders(tiny_model, "Some", shape=range(2), reach=5))
    view = data["view"]
    slope = np.tan(np.radians(view["fov"] / 2))
    for k in range(2):
        for reach in (-5, 0, 5):
            vertices = tiny_model.mean_shape + reach * tiny_model.shape_basis[:, :, k]
            points = vertices.numpy() - view["centre"]
            depth = view["distance"] - points[:, 2]
            assert (np.abs(points[:, :2]) < slope * depth[:, None]).all()
    ball = data_of(head(tiny_model))["view"]
    assert ball["distance"] < view["distance"] and 80 / ball["distance"] > 0.95 * slope


@pytest.mark.parametrize("ends", list(itertools.product((0, 1), repeat=3)))
def test_the_camera_keeps_the_head_in_the_frame_with_all_sliders_at_their_ends(tiny_model, ends):
    shown = show.sliders(tiny_model, "Some", shape=range(2), expression=[0], reach=20)
    data = data_of(shown)
    view = data["view"]
    vertices = unpacked(data["vertices"])
    for slider, end in zip(data["sliders"], ends, strict=True):
        vertices = vertices + (slider["low"], slider["high"])[end] * unpacked(slider["vertices"][0])
    points = vertices - view["centre"]
    slope = np.tan(np.radians(view["fov"] / 2))
    assert (np.abs(points[:, :2]) < slope * (view["distance"] - points[:, 2:])).all()


def test_a_component_that_is_not_there_is_named(tiny_model):
    sentence = "There is no shape component -?[13]: the model has 3, counted from 0."
    for number in (3, -1):
        with pytest.raises(ValueError, match=sentence):
            show.sliders(tiny_model, "Some", shape=[number])


def test_a_mesh_too_large_for_16_bits_is_refused(tiny_model):
    many = torch.zeros(1, (1 << 16) + 1, 3)
    with pytest.raises(ValueError, match="at most 65536 vertices, got 65537"):
        show.head(many, tiny_model.faces, many, "Large")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder laid out as the built book, and its address."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "book" / "deeper").mkdir(parents=True)
    (folder / "_static" / "vendor").mkdir(parents=True)
    (folder / "_static" / "vendor" / "k3d").symlink_to(LIBRARY.parent)
    with served(folder) as address:
        yield folder, address


@pytest.fixture
def visit(browser, site):
    """Open a page that shows a viewer; a function that gives the page and the frame's inside.

    Args of the function: what is shown; more style; `local`, whether the site holds the viewer's
    library; `public`, whether its public address does; width of the window; options of the
    browser's context.
    """
    folder, address = site
    contexts = []

    def visit(shown, style="", local=True, public=False, width=700, **options):
        context = browser.new_context(viewport={"width": width, "height": 700}, **options)
        contexts.append(context)
        context.route(
            re.compile("^https:"),
            lambda route: route.fulfill(path=LIBRARY) if public else route.abort(),
        )
        page = context.new_page()
        page.asked, page.errors = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on(
            "console",
            lambda message: page.errors.append(message.text) if message.type == "error" else None,
        )
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        place = "book" if local else "book/deeper"  # where ../_static is, or is not
        text = (
            f'<!doctype html><meta charset="utf-8"><style>{style}</style><p>Above.</p>{shown.data}'
        )
        (folder / place / "page.html").write_text(text, encoding="utf8")
        page.goto(f"{address}/{place}/page.html")
        return page, page.frames[1]

    yield visit
    for context in contexts:
        context.close()


def ready(inside) -> None:
    inside.wait_for_selector("form:not([hidden])")
    drawn(inside)


def drawn(inside) -> None:
    """Wait for two frames: a slider draws in the next one."""
    inside.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


def picture(page, inside) -> np.ndarray:
    """What the canvas shows, with what lies behind it."""
    drawn(inside)
    return pixels_of(inside.locator("canvas"))


def pixels_of(element) -> np.ndarray:
    """What a browser shows in the place of an element, 0 to 255."""
    screenshot = Image.open(io.BytesIO(element.screenshot()))
    return np.asarray(screenshot.convert("RGB")).astype(int)


def mesh(inside, name: str) -> np.ndarray:
    drawn(inside)
    script = f"() => [...K3DInstance.getWorld().ObjectsById[1].geometry.attributes.{name}.array]"
    return np.array(inside.evaluate(script)).reshape(-1, 3)


@needs_chromium
def test_the_page_adds_up_what_the_model_adds_up(tiny_model, visit):
    shown = show.sliders(
        tiny_model, "Some", shape=(0, 2), expression=(1,), appearance=(3,), reach=2.0
    )
    page, inside = visit(shown)
    ready(inside)
    np.testing.assert_allclose(mesh(inside, "position"), tiny_model.mean_shape, atol=0.01)
    first = picture(page, inside)

    sliders = inside.get_by_role("slider")
    sliders.nth(0).press("End")
    sliders.nth(1).press("Home")
    for _ in range(2):
        sliders.nth(2).press("ArrowRight")
    sliders.nth(3).press("End")
    code = {"shape": torch.tensor([[2.0, 0.0, -2.0]]), "expression": torch.tensor([[0.0, 0.2]])}
    np.testing.assert_allclose(mesh(inside, "position"), tiny_model.vertices(**code)[0], atol=0.01)
    skin = tiny_model.appearance(torch.tensor([[0.0, 0.0, 0.0, 2.0]]))[0].clamp(0, 1)
    np.testing.assert_allclose(mesh(inside, "color"), viewer.EXPOSURE * skin, atol=1e-3)
    normals = vertex_normals(tiny_model.vertices(**code), tiny_model.faces)[0]
    np.testing.assert_allclose(mesh(inside, "normal"), normals, atol=1e-3)
    moved = picture(page, inside)
    assert (np.abs(moved - first).max(2) > 20).mean() > 0.02

    values = inside.locator("output").all_text_contents()
    assert values == ["+2.0 σ", "−2.0 σ", "+0.2 σ", "+2.0 σ"]
    assert [slider.get_attribute("aria-valuetext") for slider in sliders.all()] == values
    inside.get_by_role("button", name="Reset").click()
    np.testing.assert_allclose(mesh(inside, "position"), tiny_model.mean_shape, atol=0.01)
    assert np.abs(picture(page, inside) - first).mean() < 0.5
    assert [url.rpartition("/")[2] for url in page.asked] == ["page.html", "standalone.js"]
    assert not page.errors


@needs_chromium
def test_a_slider_over_key_frames_goes_from_each_to_the_next(tiny_model, visit):
    vertices = torch.stack([tiny_model.mean_shape * size for size in (1.0, 0.5, 0.9)])
    colours = tiny_model.mean_appearance.expand(3, -1, -1)
    page, inside = visit(
        show.head(vertices, tiny_model.faces, colours, "A ball", ("small", "large"))
    )
    ready(inside)
    slider = inside.get_by_role("slider", name="A ball")
    for keys, size in (
        ([], 1.0),
        (["PageUp"] * 2, 0.8),
        (["PageUp"] * 3, 0.5),
        (["PageUp"] * 4, 0.82),
        (["End"], 0.9),
    ):
        for key in keys:  # a page is a tenth
            slider.press(key)
        np.testing.assert_allclose(
            mesh(inside, "position"), size * tiny_model.mean_shape, atol=0.01
        )
    assert slider.get_attribute("aria-valuetext") == "100 %"
    assert inside.locator("label").inner_text().split() == ["small", "large"]


@needs_chromium
def test_colours_that_are_lit_already_are_shown_as_they_are(tiny_model, visit):
    colours = torch.tensor([0.2, 0.5, 0.8]).expand(1, len(tiny_model.mean_shape), 3)
    shown = show.head(tiny_model.mean_shape[None], tiny_model.faces, colours, "A ball", lit=True)
    page, inside = visit(shown)
    ready(inside)
    pixels = picture(page, inside)
    middle = pixels[pixels.shape[0] // 2 - 90 : pixels.shape[0] // 2 + 90, pixels.shape[1] // 2]
    np.testing.assert_allclose(middle, np.tile([51, 127.5, 204], (180, 1)), atol=4)


@needs_chromium
def test_the_still_picture_is_what_the_viewer_shows_first(model, visit):
    page, inside = visit(
        show.head(model.mean_shape[None], model.faces, model.mean_appearance[None], "Mean"),
        width=380,
    )
    ready(inside)
    alive = picture(page, inside)
    inside.evaluate("() => { document.querySelector('#still').hidden = false; }")
    inside.evaluate("() => { document.querySelector('canvas').style.visibility = 'hidden'; }")
    still = pixels_of(inside.locator("#still"))
    head_there, head_here = (alive.min(2) < 250), (still.min(2) < 250)
    assert (head_there == head_here).mean() > 0.985 and head_there.mean() > 0.3
    assert np.abs(alive - still).mean(2)[head_there & head_here].mean() < 12  # of 255


@needs_chromium
def test_the_head_turns_by_keys_and_by_mouse_but_not_to_its_back(tiny_model, visit):
    page, inside = visit(head(tiny_model))
    ready(inside)

    def azimuth():
        drawn(inside)
        return inside.evaluate("() => K3DInstance.getWorld().controls.getAzimuthalAngle()")

    canvas = inside.get_by_role("img", name="A head. Drag it, or use the arrow keys, to turn it.")
    before, start = picture(page, inside), azimuth()
    assert start == pytest.approx(viewer.YAW, abs=1e-3)
    canvas.press("ArrowLeft")
    assert azimuth() == pytest.approx(start + 0.1, abs=1e-3)
    for _ in range(30):
        canvas.press("ArrowLeft")
    assert azimuth() == pytest.approx(1.8, abs=1e-3)
    assert (np.abs(picture(page, inside) - before).max(2) > 20).mean() > 0.02
    inside.get_by_role("button", name="Reset").click()
    assert azimuth() == pytest.approx(start, abs=1e-3)
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert azimuth() < start - 0.1


@needs_chromium
@pytest.mark.parametrize("trouble", ["no scripts", "no library", "no WebGL"])
def test_where_the_viewer_cannot_run_a_still_picture_stands(trouble, tiny_model, visit):
    shown = show.sliders(tiny_model, "Two components", shape=range(2))
    if trouble == "no WebGL":
        shown.data = shown.data.replace("&quot;webgl2&quot;", "&quot;webgl of another world&quot;")
    page, inside = visit(
        shown, local=trouble != "no library", java_script_enabled=trouble != "no scripts"
    )
    still = inside.locator("#still")
    inside.locator("#sorry").wait_for(state="visible")
    assert still.get_attribute("alt") == "Two components"
    assert (np.ptp(pixels_of(still).reshape(-1, 3), 0) > 100).all()
    assert not inside.locator("form").is_visible()
    assert inside.get_by_text("Two components").is_visible()


@needs_chromium
def test_without_a_local_file_the_library_comes_from_its_public_address(tiny_model, visit):
    """As in a notebook, whose frames know no ../_static."""
    page, inside = visit(head(tiny_model), local=False, public=True)
    ready(inside)
    assert page.asked[1].endswith("/book/_static/vendor/k3d/standalone.js") and page.asked[2:] == [
        viewer.SCRIPTS[1]
    ]
    assert len(np.unique(picture(page, inside).reshape(-1, 3), axis=0)) > 100


@needs_chromium
@pytest.mark.parametrize("width", [360, 760])
def test_the_viewer_wears_the_page_around_it(width, tiny_model, visit):
    shown = show.sliders(tiny_model, "Some", shape=range(3), appearance=range(2))
    dark = "html.dark { color-scheme: dark } .dark body { background: #121212; color: #ddd }"
    dark += " body { margin: 0 }"
    page, inside = visit(shown, style=dark, width=width)
    ready(inside)
    theme = "() => document.documentElement.dataset.theme"
    corners = [[0, 0, -1, -1], [0, -1, 0, -1]]
    assert inside.evaluate(theme) == "light" and (picture(page, inside)[*corners] == 255).all()
    assert not violations(inside)
    page.evaluate("() => { document.documentElement.className = 'dark'; }")
    inside.wait_for_function(f"{theme[6:]} === 'dark'")
    assert (picture(page, inside)[*corners] == 0x12).all()  # the page shines through

    elements = [inside.locator("canvas"), *inside.locator("label, button").all()]
    boxes = [element.bounding_box() for element in elements]
    frame = page.locator("iframe").bounding_box()
    for box in boxes:  # all inside the frame, nothing over the head
        assert box["x"] >= frame["x"]
        assert box["x"] + box["width"] <= frame["x"] + frame["width"] <= width
        assert box["y"] + box["height"] <= frame["y"] + frame["height"]
    assert all(box["y"] >= boxes[0]["y"] + boxes[0]["height"] for box in boxes[1:])
    end = boxes[-1]["y"] + boxes[-1]["height"] - frame["y"]
    assert frame["height"] - end < 20  # no empty space below
    for _ in range(2):
        page.keyboard.press("Tab")
    outline = inside.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert inside.evaluate("() => document.activeElement.type") == "range" and outline == "solid"

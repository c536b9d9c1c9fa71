"""What a notebook shows of codes, renderings and attacks: tables and pictures that say what the
objects hold.
"""

import base64
import io
import re
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from IPython.core.formatters import HTMLFormatter
from PIL import Image

from mofa_lib import FaceCode, FaceRenderer, LatentAttack
from mofa_lib.attack import quantize
from mofa_lib.displays import png
from mofa_lib.face_code import GROUPS


def shown(thing) -> ElementTree.Element:
    """The table that a notebook shows, as its HTML formatter makes it; well-formed."""
    page = HTMLFormatter()(thing)
    return ElementTree.fromstring(re.sub(r"(<img[^>]*)>", r"\1/>", page))


def pictures(table) -> dict[str, np.ndarray]:
    """The strips (height, width, 4) by the names of their rows."""
    found = {}
    for row in table.iter("tr"):
        for image in row.iter("img"):
            start, _, content = image.attrib["src"].partition("base64,")
            assert start == "data:image/png;"
            found[row.find("th").text] = np.array(Image.open(io.BytesIO(base64.b64decode(content))))
    return found


@pytest.fixture
def code(tiny_model):
    return FaceCode.from_vector(
        torch.randn(3, 42, generator=torch.Generator().manual_seed(0)), tiny_model
    )


def attacked(images, steps=2):
    random = torch.Generator().manual_seed(2)
    matrix = torch.randn(images[:1].numel() if len(images) else 75, 4, generator=random)
    attack = LatentAttack(
        lambda x: x.flatten(1) @ matrix, lambda a, b: (a - b).abs().sum(1), 0.05, steps
    )
    return attack(images, images.flip(3))


def random_images(count: int, side: int = 5) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_a_code_shows_shapes_and_norms_of_its_groups(code):
    code = code.with_parts(rotation=torch.tensor([[3.0, 0, 4], [0, 0, 0], [0, 1, 0]]))
    table = shown(code)
    assert table.find("caption").text == "FaceCode: 3 faces"
    rows = {
        row.find("th").text: [cell.text for cell in row.iter("td")] for row in table.find("tbody")
    }
    assert tuple(rows) == GROUPS
    assert [cells[1] for cells in rows.values()] == [
        str(tuple(getattr(code, group).shape)) for group in GROUPS
    ]
    assert rows["rotation"][2] == "2 (0–5) rad"
    assert shown(code[0]).find("caption").text == "FaceCode: 1 face"
    assert [cell.text for cell in shown(code[0]).iter("td")][11] == "5 rad"


def test_a_rendering_shows_its_faces_where_there_are_any(tiny_model, code):
    rendering = FaceRenderer(tiny_model, size=56)(code)
    (strip,) = pictures(shown(rendering)).values()
    faces = strip[::2, :, :].reshape(56, 3, -1, 4)[:, :, :112:2]  # each pixel twice, then a gap
    expected = (255 * rendering.image.clamp(0, 1)).round().permute(2, 0, 3, 1)
    np.testing.assert_array_equal(faces[..., :3], expected)
    np.testing.assert_array_equal(faces[..., 3], 255 * rendering.mask[:, 0].permute(1, 0, 2))
    assert "3 faces, 56 × 56 pixels" in shown(rendering).find("caption").text


def test_an_attack_shows_before_and_after_and_what_was_added():
    images = random_images(2, 112)
    result = attacked(images, steps=4)
    table = shown(result)
    original, adversarial, change = (
        x.reshape(112, 2, 116, 4)[:, :, :112] for x in pictures(table).values()
    )
    for strip, expected in ((original, images), (adversarial, result.images)):
        np.testing.assert_allclose(strip[..., :3], 255 * expected.permute(2, 0, 3, 1), atol=0.51)
    times = int(list(pictures(table))[2].removeprefix("|δ| × "))
    expected = 255 * (times * result.perturbation.abs()).clamp(max=1)
    np.testing.assert_allclose(change[..., :3], expected.permute(2, 0, 3, 1), atol=0.51)
    assert change[..., :3].max() > 200, "amplified until it is seen"
    caption = table.find("caption").text
    linf, saved = (
        255 * float((x - images).abs().max()) for x in (result.images, quantize(result.images))
    )
    assert f"2 pictures, L∞ {linf:.3g}/255, saved {saved:.3g}/255" in caption
    first, last = (float(x.mean()) for x in (result.course[0], result.course[-1]))
    steps = f"4 steps of {result.precision}"
    assert f"mean loss {first:.3g} → {last:.3g} in {steps}" in caption and last < first


def test_pictures_have_alternative_texts_that_count_them():
    (first, *_) = shown(attacked(random_images(9))).iter("img")
    assert first.attrib["alt"] == "original: 6 of 9 pictures side by side"


@pytest.mark.parametrize("channels", [3, 4])
def test_a_picture_file_holds_the_pixels(channels):
    pixels = (255 * torch.rand(9, 7, channels)).byte()
    files = [png(pixels), png(pixels, small=True)]
    for file in files:
        np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(file))), pixels)
    assert len(files[1]) <= len(files[0])


@pytest.mark.parametrize("side", [5, 112, 300])
def test_strips_are_about_as_high_as_a_line_of_thumbnails(side):
    for strip in pictures(shown(attacked(random_images(2, side)))).values():
        assert 56 <= len(strip) <= 112


def test_nothing_changes_what_is_shown(tiny_model, code):
    """Not a graph, not another type of number; and what was never a number does not break the
    display.
    """
    renderer = FaceRenderer(tiny_model, size=20)
    fresh = FaceCode.from_vector(code.to_vector().requires_grad_(), tiny_model)
    assert fresh._repr_html_() == code._repr_html_()
    assert renderer(fresh)._repr_html_() == renderer(code)._repr_html_()
    result = attacked(random_images(2))
    tensors = {name: value for name, value in vars(result).items() if name != "precision"}
    half = replace(result, **{name: value.bfloat16() for name, value in tensors.items()})
    assert len(pictures(shown(half))) == 3
    broken = replace(renderer(code), image=torch.full((3, 3, 20, 20), torch.nan))
    assert pictures(shown(broken))["rendered"][..., :3].max() == 0


def test_empty_batches_are_said_to_be_empty(tiny_model, code):
    none = code[:0]
    assert "0 faces" in shown(none).find("caption").text
    rendering = FaceRenderer(tiny_model, size=20)(code)
    parts = ("image", "mask", "landmarks", "vertices")
    empty = replace(rendering, **{name: getattr(rendering, name)[:0] for name in parts})
    for thing, caption in (
        (empty, "0 faces, 20 × 20 pixels"),
        (attacked(random_images(0)), "0 pictures"),
    ):
        assert caption in shown(thing).find("caption").text
        assert not pictures(shown(thing))


def test_nothing_is_drawn_with_matplotlib():
    """Nor is torchvision loaded, before it is needed: it takes as long as torch."""
    source = (
        "import sys, torch; from mofa_lib import FaceCode;"
        "FaceCode(*map(torch.zeros, [(1, 2)] * 3 + [(1, 3)] * 2 + [(1, 27)]))._repr_html_();"
        "print(*{'matplotlib', 'torchvision', 'torch._dynamo'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True)
    assert ran.stdout == "\n"

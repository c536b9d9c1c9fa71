"""Pages that a slider turns: what they hold, and what a browser shows of them."""

import base64
import html
import io
import re

import matplotlib
import numpy as np
import pytest
from browsers import needs_chromium
from PIL import Image

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from mofa_lib import show  # noqa: E402

pytestmark = pytest.mark.xdist_group("flipbook")  # one page for all

COLOURS = ("red", "lime", "blue")


def figures(colours=COLOURS, **changes):
    """Figures that one can tell apart by a colour."""
    for colour in colours:
        figure = plt.figure(**{"figsize": (2.0, 1.0), "dpi": 100, **changes})
        figure.add_axes((0, 0, 1, 1), facecolor=colour, xticks=[], yticks=[])
        yield figure


def book(**changes):
    return show.flipbook(figures(), COLOURS, **{"label": "Colour", **changes})


def pages_of(shown) -> list[tuple[bool, str, str, Image.Image]]:
    """Of each page: whether it is hidden, its alternative text, its caption, its picture."""
    found = re.findall(
        r'<figure( hidden)?><img alt="([^"]*)"[^>]*src="data:image/webp;base64,([^"]*)">'
        r"<figcaption>(.*?)</figcaption></figure>",
        shown.data,
    )
    return [
        (
            bool(hidden),
            html.unescape(alt),
            html.unescape(caption),
            Image.open(io.BytesIO(base64.b64decode(content))),
        )
        for hidden, alt, content, caption in found
    ]


def middle(picture: Image.Image) -> list[int]:
    return list(picture.convert("RGB").getpixel((picture.width // 2, picture.height // 2)))


def test_every_figure_is_a_page_with_its_caption():
    pages = pages_of(book(start=1))
    assert [hidden for hidden, *_ in pages] == [True, False, True]
    assert [alt for _, alt, *_ in pages] == [f"Colour: {colour}" for colour in COLOURS]
    assert [caption for _, _, caption, _ in pages] == list(COLOURS)
    for number, (*_, picture) in enumerate(pages):
        np.testing.assert_allclose(middle(picture), 255 * np.eye(3)[number], atol=6)
    assert 'min="0" max="2" value="1"' in book(start=1).data


def test_the_figures_are_closed_so_that_a_notebook_does_not_show_them_again():
    before = plt.get_fignums()
    book()
    assert plt.get_fignums() == before


def test_pages_are_cut_along_the_same_edges():
    """One figure has a text above it: all pages are as high as that one, nothing of it is lost."""
    plain, tall = figures(("red", "red"))
    tall.text(0.5, 1.5, "above", ha="center")
    (*_, first), (*_, second) = pages_of(show.flipbook([plain, tall], ["plain", "tall"], "Height"))
    assert first.size == second.size and first.height > 140
    below = first.crop((0, 100, first.width, first.height))
    np.testing.assert_allclose(middle(below), [255, 0, 0], atol=6)
    above = [
        np.asarray(picture.crop((0, 0, picture.width, 40)).convert("L"))
        for picture in (first, second)
    ]
    assert above[0].min() > 245 and above[1].min() < 100


def test_texts_are_text_and_not_markup():
    caption, label = '100 % <b>"bold"</b> & </script>', "<i>x</i>"
    shown = show.flipbook(figures(), [caption] * 3, label)
    texts = [(alt, text) for _, alt, text, _ in pages_of(shown)]
    assert texts == 3 * [(f"{label}: {caption}", caption)]
    assert "<b>" not in shown.data and "<i>" not in shown.data
    assert html.escape(label) + "<input" in shown.data


@pytest.mark.parametrize(
    ("count", "captions", "start", "said"),
    [
        (0, [], 0, "A flipbook needs at least one figure."),
        (3, ["a", "b"], 0, "Each figure needs its caption, got 3 figures and 2 captions."),
        (2, ["a", "b"], 2, "There is no page 2 to start with: there are 2, counted from 0."),
        (2, ["a", "b"], -1, "There is no page -1 to start with: there are 2, counted from 0."),
    ],
)
def test_what_is_no_flipbook_is_refused_in_one_sentence(count, captions, start, said):
    with pytest.raises(ValueError) as error:
        show.flipbook(figures(COLOURS[:count]), captions, "Colour", start)
    assert str(error.value) == said
    plt.close("all")


def test_diagrams_are_exact_and_faces_small():
    """Noise in the place of skin weighs more than any face."""
    (*_, exact), *_ = pages_of(book())
    assert middle(exact) == [255, 0, 0]
    random = np.random.default_rng(0)
    drawn = list(figures(8 * ["white"], figsize=(6.5, 2.7), dpi=110))
    for figure in drawn:
        for axis in figure.subplots(2, 4).flat:
            axis.imshow(np.clip(random.normal(0.5, 0.05, (112, 112, 3)), 0, 1))
    assert len(show.flipbook(drawn, list("abcdefgh"), "Noise").data) < 700_000


@pytest.fixture
def visit(browser, tmp_path):
    """Open a page without a server or a network: a function of what is shown, gives the page."""
    contexts = []

    def visit(*shown, style="", width=700, **options):
        context = browser.new_context(
            viewport={"width": width, "height": 700}, offline=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.errors = []
        page.on(
            "console",
            lambda message: page.errors.append(message.text) if message.type == "error" else None,
        )
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        path = tmp_path / "page.html"
        body = "<p>Between.</p>".join(each.data for each in shown)
        path.write_text(
            f'<!doctype html><meta charset="utf-8"><style>{style}</style>{body}', encoding="utf8"
        )
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()


def seen(book) -> tuple[list[int], str]:
    """The colour in the middle of what a flipbook shows, and the caption below it."""
    (image,) = [each for each in book.locator("img").all() if each.is_visible()]
    (caption,) = [each for each in book.locator("figcaption").all() if each.is_visible()]
    return middle(Image.open(io.BytesIO(image.screenshot()))), caption.inner_text()


def shows(book, number: int) -> None:
    colour, caption = seen(book)
    np.testing.assert_allclose(colour, 255 * np.eye(3)[number], atol=6)
    assert caption == COLOURS[number]


@needs_chromium
def test_keys_turn_the_pages_of_one_of_two_flipbooks(visit):
    page = visit(book(label="First"), book(label="Second", start=2))
    first, second = page.locator(".flipbook").all()
    slider = page.get_by_role("slider", name="First")
    shows(first, 0)
    shows(second, 2)
    for key, number in (
        ("ArrowRight", 1),
        ("End", 2),
        ("ArrowRight", 2),
        ("ArrowLeft", 1),
        ("Home", 0),
    ):
        slider.press(key)
        shows(first, number)
        assert slider.get_attribute("aria-valuetext") == COLOURS[number]
        shows(second, 2)
    page.get_by_role("slider", name="Second").press("ArrowLeft")
    shows(second, 1)
    shows(first, 0)
    assert not page.errors


@needs_chromium
def test_a_notebook_may_insert_it_later(visit):
    """As notebooks do: the text becomes nodes, and its scripts are made anew: only new ones run."""
    page = visit(book(label="First"))
    page.evaluate(
        """(text) => {
            const output = document.body.appendChild(document.createElement("div"));
            output.innerHTML = text;
            for (const old of output.querySelectorAll("script")) {
                const script = document.createElement("script");
                script.textContent = old.textContent;
                old.replaceWith(script);
            }
        }""",
        book(label="Later").data,
    )
    first, later = page.locator(".flipbook").all()
    page.get_by_role("slider", name="Later").press("End")
    page.get_by_role("slider", name="First").press("ArrowRight")
    shows(later, 2)
    shows(first, 1)
    assert later.get_attribute("data-lm-suppress-shortcuts") == "true" and not page.errors


@needs_chromium
def test_nothing_moves_when_a_page_turns_and_a_phone_shows_all_of_it(visit):
    """Under a theme as the book's, which hides what is hidden for good."""
    long = "a caption that is much longer than the others and needs several lines on a phone"
    shown = show.flipbook(figures(figsize=(8.0, 3.0)), ["short", long, "short"], "Colour")
    page = visit(
        shown, width=360, style="[hidden] { display: none !important } body { margin: 8px }"
    )
    slider = page.get_by_role("slider")
    boxes = []
    for number in range(3):
        slider.fill(str(number))  # as a mouse or a finger does
        (image,) = [each for each in page.locator("img").all() if each.is_visible()]
        boxes.append((image.bounding_box(), slider.bounding_box()))
    assert boxes[0] == boxes[1] == boxes[2]
    image, slider = boxes[0]
    assert image["x"] >= 8 and 320 < image["width"] <= 344
    assert image["height"] == pytest.approx(image["width"] * 3 / 8, rel=0.05)
    assert slider["y"] > image["y"] + image["height"] and slider["width"] > 320
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360


@needs_chromium
def test_without_scripts_the_start_stands_alone(visit):
    page = visit(book(start=1), java_script_enabled=False)
    shows(page.locator(".flipbook"), 1)
    assert not page.locator("label").is_visible() and not page.get_by_role("slider").is_visible()

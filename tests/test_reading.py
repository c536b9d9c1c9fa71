"""What a page lets its reader do, in a browser: guess before the answer is shown, and enlarge a
figure.
"""

import pytest
from browsers import ROOT, needs_chromium

from mofa_lib import show

pytestmark = pytest.mark.xdist_group("reading")  # one browser for all

STATIC = ROOT / "book" / "_static"


@pytest.fixture
def visit(browser, tmp_path):
    """Open a page with this body and the book's own style, with no server and no network."""
    contexts = []

    def visit(body: str, script: str = "", width: int = 1000, **options):
        size = {"width": width, "height": 700}
        contexts.append(browser.new_context(viewport=size, offline=True, **options))
        page = contexts[-1].new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        path = tmp_path / "page.html"
        style, code = (
            (STATIC / name).read_text("utf8") if name else "" for name in ("custom.css", script)
        )
        path.write_text(
            f'<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8">'
            f"<title>Page</title><style>{THEME}{style}</style>{body}<script>{code}</script></html>",
            encoding="utf8",
        )
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()


# What the theme says of pictures.
THEME = "img { max-width: 100%; height: auto; filter: brightness(0.8); }"

QUESTION = 'Is <a> "half" left & more?'


def asked(truth: float = 37.2, **more) -> str:
    return show.prediction(QUESTION, truth, **{"unit": "%", **more}).data


@needs_chromium
def test_the_answer_is_shown_beside_the_guess_and_not_before(visit):
    page = visit(asked())
    form = page.locator("form.prediction")
    assert QUESTION in form.inner_text() and "37" not in form.inner_text()
    guess = page.get_by_role("spinbutton", name="Your guess")
    guess.press("Enter")  # nothing yet
    assert "came out" not in form.inner_text()
    guess.fill("74.4")
    guess.press("Enter")
    said = f"{QUESTION} your guess 74.4 % came out 37 %"
    assert " ".join(form.inner_text().split()) == said
    assert not guess.is_visible(), "no second guess"
    yours, truth = (bar.bounding_box()["width"] for bar in form.locator("i").all())
    assert truth / yours == pytest.approx(37 / 74.4, abs=0.02)
    assert not page.errors


@needs_chromium
def test_each_question_has_its_own_guess_and_another_output_takes_none_back(visit):
    """As notebooks do: a later output brings the script once more."""
    page = visit(asked(1) + asked(-2))
    first, second = page.locator("form.prediction").all()
    second.get_by_role("spinbutton").fill("0")
    second.get_by_role("button").click()
    page.evaluate(
        """(text) => {
            const output = document.body.appendChild(document.createElement("div"));
            output.append(document.createRange().createContextualFragment(text));
        }""",
        asked(3),
    )
    visible = [form.locator("dl").is_visible() for form in page.locator("form.prediction").all()]
    assert visible == [False, True, False]
    assert "-2 %" in second.inner_text() and first.get_by_role("spinbutton").is_visible()


@needs_chromium
def test_print_and_pages_without_scripts(visit):
    page = visit(asked(), java_script_enabled=False)
    form = page.locator("form.prediction")
    assert form.inner_text().strip() == QUESTION
    page.emulate_media(media="print")
    assert " ".join(form.inner_text().split()) == f"{QUESTION} came out 37 %"


def test_a_truth_is_a_finite_number_with_as_many_digits_as_are_wanted():
    assert "<dd>0.689</dd>" in show.prediction("JS?", 0.68887, digits=3).data
    assert "<dd>0 %</dd>" in asked(-1e-9)
    with pytest.raises(ValueError) as error:
        asked(float("nan"))
    assert str(error.value) == ("A prediction needs a finite number to be compared with, got nan.")


# 300 × 100 pixels, and one that leads elsewhere.
PICTURE = (
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='300' height='100'>"
    "<rect width='300' height='100' fill='teal'/></svg>"
)
FIGURES = f"""<article class="bd-article">
<figure><img alt="a sea" src="{PICTURE}"><figcaption>Figure 1</figcaption></figure>
<figure><a href="#elsewhere"><img alt="a way" src="{PICTURE}"></a></figure>
<p><img alt="no figure" src="{PICTURE}"></p></article>"""


@needs_chromium
@pytest.mark.parametrize("way", ["click", "keyboard"])
def test_a_figure_is_enlarged_and_put_back(visit, way):
    page = visit(FIGURES, "enlarge.js")
    (button,) = page.locator("article").get_by_role("button").all()
    assert button.bounding_box()["width"] <= 310, "in the page it stays as large as it was"
    if way == "click":
        button.locator("img").click()
    else:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    shown = page.get_by_role("dialog", name="Enlarged picture").get_by_role("img", name="a sea")
    box = shown.bounding_box()
    assert box["width"] >= 900 and box["height"] == pytest.approx(box["width"] / 3, abs=1)
    if way == "click":
        shown.click()
    else:
        page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()
    assert page.evaluate("document.activeElement.className") == "enlarge"
    assert not page.errors


@needs_chromium
def test_on_a_phone_an_enlarged_figure_is_wider_than_the_screen(visit):
    page = visit(FIGURES, "enlarge.js", width=360)
    page.get_by_role("button", name="a sea").click()
    box = page.get_by_role("dialog").get_by_role("img").bounding_box()
    assert box["width"] >= 700 and box["x"] <= 10
    overflow = "document.querySelector('dialog').scrollWidth > 600"
    assert page.evaluate(overflow), "one can push it about"

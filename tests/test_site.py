"""The built book in a browser: every page works with no other server, and shows what it should."""

import contextlib
import re

import pytest
from browsers import AT_REST, SITE, needs_chromium, violations

PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for path in SITE.rglob("*.html")
    if "_static" not in path.relative_to(SITE).parts
)

pytestmark = [
    pytest.mark.skipif(not PAGES, reason="no site: `make book` builds it"),
    needs_chromium,
]


# Text as read, without code (where `\(` may be meant) and scripts.
RAW_FORMULAS = r"""() => {
    const body = document.body.cloneNode(true);
    const others = "pre, code, script, style, mjx-container";
    body.querySelectorAll(others).forEach((node) => node.remove());
    return (body.textContent.match(/.{0,30}\\[(\[].{0,30}/g) || []);
}"""

# Pictures below the fold are loaded late: ask for them now.
BROKEN_IMAGES = """async () => {
    const images = [...document.images];
    images.forEach((image) => { image.loading = "eager"; });
    await Promise.all(images.map((image) => image.decode().catch(() => {})));
    return images.filter((image) => !image.naturalWidth).map((image) => image.src.slice(0, 200));
}"""


# What is folded away is read as well.
UNFOLD = """() => {
    document.querySelectorAll("details").forEach((node) => { node.open = true; });
    for (const node of document.querySelectorAll(".toggle-hidden")) {
        node.classList.remove("toggle-hidden");
    }
}"""


# A caption is smaller than the text of its page, not paler nor thinner.
PALE_CAPTIONS = """() => {
    const ink = (node) => getComputedStyle(node).color + getComputedStyle(node).fontWeight;
    return [...document.querySelectorAll("article figcaption .caption-text")]
        .filter((caption) => ink(caption) !== ink(document.querySelector("article")))
        .map((caption) => caption.textContent);
}"""

# How far down the first screen of a chapter one has to look for its question and its picture.
DEPTHS = """() => [
    document.querySelector(".first-picture img").getBoundingClientRect().bottom,
    document.querySelector(".admonition strong").getBoundingClientRect().bottom,
]"""


@pytest.fixture(scope="module")
def visit(browser):
    """One for all pages, so that MathJax and the fonts are read once."""
    with browser.new_context(reduced_motion="reduce") as context:
        yield context


def raw_formulas(page) -> list[str]:
    """Those that MathJax has not set after half a minute; usually it needs a second or two."""
    from playwright.sync_api import TimeoutError

    with contextlib.suppress(TimeoutError):
        page.wait_for_function(f"() => !({RAW_FORMULAS})().length", polling=300)
    return page.evaluate(RAW_FORMULAS)


@pytest.mark.parametrize("name", PAGES)
def test_page(name, address, visit):
    """What it asks for and shows, and what axe-core finds: by all rules in the light on a desk;
    in the dark, on a phone, by those that colours and widths can break.
    """
    page = visit.new_page()
    foreign, failed, errors = [], [], []

    def on_request(request):
        if not request.url.startswith((address, "data:", "blob:", "about:")):
            foreign.append(request.url)

    def on_response(response):
        if response.status >= 400:
            failed.append((response.status, response.url))

    def on_console(message):
        if message.type == "error":
            errors.append(message.text)

    page.on("request", on_request)
    page.on("response", on_response)
    page.on("requestfailed", lambda request: failed.append((request.failure, request.url)))
    page.on("console", on_console)
    page.on("pageerror", lambda error: errors.append(str(error)))

    page.goto(f"{address}/{name}", wait_until="networkidle")
    raw, broken = raw_formulas(page), page.evaluate(BROKEN_IMAGES)
    unnamed = page.evaluate("() => [...document.querySelectorAll('iframe:not([title])')].length")
    mute = page.evaluate(
        "() => [...document.querySelectorAll('article img:not([alt])')].map((i) => i.src)"
    )

    page.evaluate(UNFOLD)
    grave, pale = {}, []
    for scheme, width, rules in (
        ("light", 1280, ()),
        ("dark", 400, ("color-contrast", "scrollable-region-focusable")),
    ):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_selector(f"html[data-theme={scheme}]")
        page.wait_for_function(AT_REST)
        grave[scheme] = violations(page, *rules)
        pale += page.evaluate(PALE_CAPTIONS)
    page.close()

    assert not foreign
    assert not failed
    assert not errors
    assert not raw
    assert not broken
    assert not unnamed, "frames without a title"
    assert not mute, "pictures without an alternative text"
    assert not pale
    assert grave == {"light": [], "dark": []}


@pytest.mark.parametrize("name", [page for page in PAGES if re.match(r"book/\d\d_", page)])
def test_the_first_screen_of_a_chapter_says_and_shows_what_it_is_about(name, address, visit):
    page = visit.new_page()
    page.goto(f"{address}/{name}")
    assert page.locator("article .admonition-title").first.inner_text() == "In this chapter"
    assert page.locator("article .admonition strong").first.inner_text() == "You will learn"
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 800})
        assert max(page.evaluate(DEPTHS)) <= 800
    page.close()


def test_the_contents_number_the_chapters(address, visit):
    page = visit.new_page()
    page.goto(f"{address}/book/index.html")
    contents = page.locator(".bd-sidebar-primary .toctree-l1 > a")
    lines = [line.inner_text() for line in contents.all()]
    assert lines[1:3] == ["1. Introduction", "Conventions"]  # after the book itself
    numbers = [line.partition(". ")[0] for line in lines if re.match(r"\d+\. ", line)]
    assert numbers == [str(number) for number in range(1, 14)]
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_light(name):
    """With the pictures that it shows; scripts and fonts are the same for all."""
    page = SITE / name
    pictures = {
        page.parent / found
        for found in re.findall(r'src="([^":]*_images/[^"]+)"', page.read_text("utf8"))
    }
    assert sum(path.stat().st_size for path in (page, *pictures)) <= 1.5e6


# What the lab fetches once its reader asks for it: graphs, and the programs that run and draw them.
LAB = [SITE / "_static" / name for name in ("lab/data", "vendor/onnxruntime", "vendor/three")]


def test_the_whole_site_is_small():
    sizes = {path: path.stat().st_size for path in SITE.rglob("*") if path.is_file()}
    lab = sum(
        size for path, size in sizes.items() if any(path.is_relative_to(folder) for folder in LAB)
    )
    assert sum(sizes.values()) - lab <= 40e6
    assert lab <= 70e6

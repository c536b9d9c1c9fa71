"""Prints the built site as one PDF, _build/book.pdf: what `make pdf` runs after `make book`.

The articles of all pages, in the order of _toc.yml, become one document, so that links between
chapters work in the PDF, too. Chromium prints it twice: only after the first time is it known on
which page a chapter begins. Left out are what needs a click (the code that the site folds away) and
what moves: a head is printed as its still picture, a flipbook as the page it starts with.
"""

import io
import logging
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import yaml
from browsers import chromium, served  # tests/browsers.py
from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader, PdfWriter

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
PDF = ROOT / "_build" / "book.pdf"
ADDRESS = "/print.html"  # of the document; nothing with this name is written

STYLE = """
@page { size: A4; margin: 20mm 18mm; }
@page { @bottom-center { content: counter(page); font: 9pt sans-serif; } }
@page :first { @bottom-center { content: none; } }
html { font-size: 13px !important; }
h1 { font-size: 1.75rem !important; }
h2 { font-size: 1.4rem !important; }
body { background: #fff; }
article, nav { break-before: page; }
article:first-of-type { break-before: auto; }
h1, h2, h3, h4, .sig { break-after: avoid; }
/* Or else a heading at the top of a page counts twice. */
h1, h2, h3, h4 { padding-top: 2px; line-height: 1.3; }
figure, tr, .admonition-title, .math { break-inside: avoid; }
figcaption, figcaption span { color: #444 !important; }
figcaption .caption-text { font-weight: normal; }
figure img { max-height: 210mm; }
pre, pre span { white-space: pre-wrap !important; overflow-wrap: anywhere; }
.highlight pre, .output pre { font-size: 0.8em; overflow: visible; max-height: none; }
table { width: 100%; table-layout: auto; font-size: 0.85em; }
.pst-scrollable-table-container, .math { overflow: visible !important; }
.printed { display: block; max-width: 60%; margin: auto; }
.printed-contents li { display: flex; list-style: none; }
.printed-contents a { flex: 1; }
"""


def pages(toc: dict) -> list[tuple[str, list[str]]]:
    """The parts of the book with their captions and the names of their pages; first the root,
    without a caption.
    """
    parts = [(part["caption"], part["chapters"]) for part in toc["parts"]]
    return [("", [toc["root"]]), *((caption, list(_names(entries))) for caption, entries in parts)]


def _names(entries: list[dict]):
    for entry in entries:
        yield entry["file"]
        yield from _names(entry.get("sections", []))


def article(site: Path, name: str, names: set[str]) -> Tag:
    """What a page says, ready to stand among the others: anchors, links and pictures as seen from
    the site's root.
    """
    soup = BeautifulSoup((site / f"{name}.html").read_text(encoding="utf8"), "html.parser")
    found = soup.select_one("article.bd-article")
    for needless in found.select(".headerlink, details.hide, script"):
        needless.decompose()
    for frame in found.select("iframe"):
        frame.replace_with(_still(frame))
    for image in found.select("img"):
        image["loading"] = "eager"
        image["src"] = urljoin(f"/{name}.html", image["src"])
    for tag in found.find_all(id=True):
        if not tag.find_parent("svg"):  # a drawing refers to its own parts
            tag["id"] = f"{name}/{tag['id']}"
    for link in found.select("a[href]"):
        path, anchor = urldefrag(urljoin(f"/{name}.html", link["href"]))
        target = path.removeprefix("/").removesuffix(".html")
        if target in names:
            link["href"] = f"#{target}/{anchor}" if anchor else f"#{target}"
        elif path.startswith("/"):  # an index, a download: nothing that is printed
            del link["href"]
    found["id"] = name
    return found


def _still(frame: Tag) -> Tag:
    """The picture in a frame that is to be turned by hand."""
    image = BeautifulSoup(frame.get("srcdoc", ""), "html.parser").select_one("img")
    if image is None:
        raise ValueError(f"The frame {frame.get('title')!r} holds no still picture to print.")
    image["class"] = "printed"
    del image["id"]
    return image


def document(site: Path, toc: dict) -> BeautifulSoup:
    """All articles in one document, with the site's own styles and formulas, and a table of
    contents.
    """
    parts = pages(toc)
    names = {name for _, part in parts for name in part}
    whole = BeautifulSoup(
        "<!doctype html><html lang='en' data-theme='light'><head></head><body></body></html>",
        "html.parser",
    )
    whole.head.extend(_head(site, sorted(names)))
    contents = whole.new_tag("nav", attrs={"class": "printed-contents"})
    contents.append(whole.new_tag("h1", string="Contents"))
    for caption, part in parts:
        lines = whole.new_tag("ul")
        for name in part:
            text = article(site, name, names)
            lines.append(_line(whole, name, text.select_one("h1").get_text()))
            whole.body.append(text)
        if caption:
            contents.extend([whole.new_tag("h2", string=caption), lines])
        else:
            whole.title.string = text.select_one("h1").get_text()
            whole.body.append(contents)
    return whole


def _head(site: Path, names: list[str]) -> list[Tag]:
    """Styles of all pages, the script of the formulas and its settings, each once; a title that is
    still empty.
    """
    found = {}
    for name in names:
        soup = BeautifulSoup((site / f"{name}.html").read_text(encoding="utf8"), "html.parser")
        for tag in soup.select("link[rel=stylesheet], script"):
            for key in {"href", "src"} & set(tag.attrs):
                tag[key] = urljoin(f"/{name}.html", tag[key]).partition("?")[0]
            if (
                tag.name == "link"
                or "mathjax" in tag.get("src", "")
                or "window.MathJax" in tag.text
            ):
                found[str(tag)] = tag
    extra = BeautifulSoup(
        f"<meta charset='utf-8'><title></title><style>{STYLE}</style>", "html.parser"
    )
    return [*found.values(), *list(extra.children)]


def _line(whole: BeautifulSoup, name: str, title: str) -> Tag:
    line = whole.new_tag("li")
    line.append(whole.new_tag("a", href=f"#{name}", string=title))
    line.append(whole.new_tag("span", attrs={"data-page": name}))
    return line


# Pictures and formulas are there, and nothing is folded.
READY = """async () => {
    await window.MathJax?.startup?.promise;
    await document.fonts.ready;
    await Promise.all([...document.images].map((image) => image.decode()));
}"""
NUMBER = """(numbers) => {
    for (const span of document.querySelectorAll("[data-page]")) {
        span.textContent = numbers[span.dataset.page];
    }
}"""


def print_book(site: Path = SITE, toc: Path = ROOT / "_toc.yml", path: Path = PDF) -> int:
    """Write the PDF; return its number of pages."""
    whole = document(site, yaml.safe_load(toc.read_text(encoding="utf8")))
    with served(site) as address, chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(300_000)
        page.route(
            f"**{ADDRESS}",
            lambda route: route.fulfill(body=str(whole), content_type="text/html; charset=utf-8"),
        )
        page.goto(address + ADDRESS, wait_until="networkidle")
        page.evaluate(READY)
        page.evaluate(NUMBER, page_numbers(page.pdf(prefer_css_page_size=True), whole))
        printed = page.pdf(
            prefer_css_page_size=True, print_background=True, outline=True, tagged=True
        )
    writer = PdfWriter(clone_from=io.BytesIO(printed))
    writer.add_metadata({"/Title": whole.title.string})
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.write(path)
    return len(writer.pages)


def page_numbers(printed: bytes, whole: BeautifulSoup) -> dict[str, int]:
    """On which page each article begins."""
    reader = PdfReader(io.BytesIO(printed))
    targets = reader.named_destinations
    names = [span["data-page"] for span in whole.select("[data-page]")]
    return {name: reader.get_destination_page_number(targets[f"/{name}"]) + 1 for name in names}


if __name__ == "__main__":
    logging.getLogger("pypdf").setLevel(
        logging.ERROR
    )  # it warns of how Chromium counts its objects
    print(f"{PDF}: {print_book()} pages")

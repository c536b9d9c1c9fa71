"""The PDF of a tiny site: order, links between pages, contents with numbers, what is left out."""

import io

import pdf
import pytest
import yaml
from browsers import needs_chromium
from PIL import Image
from pypdf import PdfReader

TOC = {"root": "book/index", "parts": [{"caption": "Part", "chapters": [
    {"file": "book/two", "sections": [{"file": "book/more/three"}]}]}]}  # fmt: skip
PAGES = {
    "book/index": """<h1>The book<a class="headerlink" href="#book">#</a></h1>
        <p>Read <a href="more/three.html#deep">on</a>.</p>
        <a href="../genindex.html">index</a><a href="https://example.org/">elsewhere</a>""",
    "book/two": """<h1>Two</h1><p id="deep">deep in two</p>
        <details class="hide above-input"><p>folded</p></details>
        <iframe title="A head"
            srcdoc="&lt;img id='still' alt='A head' src='data:image/svg+xml,&lt;svg xmlns=%22http://www.w3.org/2000/svg%22/&gt;'&gt;">
        </iframe>""",
    "book/more/three": """<h1>Three</h1><div style="height: 1500px"></div><h2 id="deep">Deep</h2>
        <img src="../../_images/dot.png" alt="a dot"><svg><g id="tip"></g></svg>""",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "_images").mkdir()
    Image.new("RGB", (2, 2)).save(folder / "_images" / "dot.png")
    for name, text in PAGES.items():
        path = folder / f"{name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"<head></head><body><nav>menu</nav><article class='bd-article'>{text}</article></body>"
        )
    (folder / "_toc.yml").write_text(yaml.safe_dump(TOC))
    return folder


def test_the_order_is_that_of_the_contents():
    assert pdf.pages(TOC) == [("", ["book/index"]), ("Part", ["book/two", "book/more/three"])]


def test_anchors_links_and_pictures_find_their_way(site):
    whole = pdf.document(site, TOC)
    ids = [tag["id"] for tag in whole.find_all(id=True)]
    assert ids == [
        "book/index",
        "book/two",
        "book/two/deep",
        "book/more/three",
        "book/more/three/deep",
        "tip",
    ]
    links = {link.get_text(): link.get("href") for link in whole.select("article a")}
    assert links == {
        "on": "#book/more/three/deep",
        "index": None,
        "elsewhere": "https://example.org/",
    }
    assert [image["src"][:21] for image in whole.select("img")] == [
        "data:image/svg+xml,<s",
        "/_images/dot.png",
    ]
    assert not whole.select("iframe, details, .headerlink") and "menu" not in whole.text


def test_a_frame_without_a_picture_is_noticed(site, tmp_path):
    with pytest.raises(ValueError, match="'A film' holds no still picture"):
        pdf._still(
            pdf.BeautifulSoup("<iframe title='A film' srcdoc='<p>'></iframe>", "html.parser").iframe
        )


@needs_chromium
def test_it_prints(site):
    path = site / "book.pdf"
    assert pdf.print_book(site, site / "_toc.yml", path) == 5
    reader = PdfReader(io.BytesIO(path.read_bytes()))
    assert reader.metadata.title == "The book"
    texts = [" ".join(page.extract_text().split()) for page in reader.pages]
    assert texts[1] == "2 Contents Part Two 3 Three 4"
    assert "deep in two" in texts[2] and "folded" not in texts[2]
    marks = [mark for mark in reader.outline if not isinstance(mark, list)]
    titles = [(mark.title, reader.get_destination_page_number(mark)) for mark in marks]
    assert titles == [("The book", 0), ("Contents", 1), ("Two", 2), ("Three", 3)]
    (link, *_) = reader.pages[0]["/Annots"]
    assert (
        reader.get_destination_page_number(reader.named_destinations[link.get_object()["/Dest"]])
        == 4
    )

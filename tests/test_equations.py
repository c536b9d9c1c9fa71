"""The paper's equations carry the paper's numbers, and the others count by chapter."""

import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest

BOOK = Path(__file__).parents[1] / "book"
# Where chapters show the paper's equations.
SHOWN = {1: 7, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 9, 8: 10}


@pytest.fixture
def build(build_site):
    return lambda pages: build_site(pages, "equations")


def block(label: str) -> str:
    return f"$$\nx = y\n$$ ({label})\n\n"


def numbers(soup) -> list[str]:
    """At the equations of a page, in its order."""
    return [span.get_text().removesuffix("#").strip("()¶") for span in soup.select(".eqno")]


def test_numbers_are_the_paper_s_or_the_chapter_s(build):
    cited = ["eq-a", "eq-paper-7", "eq-b", "eq-paper-2", "eq-c"]
    pages = {
        "03_first": "# A\n\n" + block("eq-a") + block("eq-paper-7") + block("eq-b"),
        "11_second": "# B\n\n" + block("eq-paper-2") + block("eq-c"),
        "reading": "# C\n\n" + " ".join(f"{{eq}}`{label}`" for label in cited) + "\n",
    }
    site, warned = build(pages)
    assert not warned
    assert numbers(site["03_first"]) == ["3.1", "7", "3.2"]
    assert numbers(site["11_second"]) == ["2", "11.1"]
    links = site["reading"].select("article a[href*=equation], .body a[href*=equation]")
    assert [link.get_text() for link in links] == ["(3.1)", "(7)", "(3.2)", "(2)", "(11.1)"]
    for link in links:  # to where the number stands
        page, anchor = link["href"].split(".html#")
        assert site[page].find(id=anchor)

    # Another equation, before the others of a page that is read again.
    site, warned = build(
        pages | {"03_first": "# A\n\n" + block("eq-d") + block("eq-a") + block("eq-b")}
    )
    assert numbers(site["03_first"]) == ["3.1", "3.2", "3.3"]
    assert numbers(site["11_second"]) == ["2", "11.1"]
    assert "equation not found: eq-paper-7" in warned


def test_equations_outside_chapters_and_doubled_labels_are_reported(build):
    _, warned = build(
        {"page": "# A\n\n" + block("eq-a"), "01_b": "# B\n\n" + block("eq-b") + block("eq-b")}
    )
    assert "Equation eq-a has no number: its page is no chapter." in warned
    assert "duplicate label of equation eq-b" in warned


def texts() -> dict[str, str]:
    """What the pages of the book say, without code, by their names."""
    found = {path.stem: path.read_text(encoding="utf8") for path in BOOK.rglob("*.md")}
    for path in BOOK.glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        found[path.stem] = "\n\n".join(
            cell.source for cell in cells if cell.cell_type == "markdown"
        )
    return found


def test_each_equation_of_the_paper_is_labelled_once_in_its_chapter():
    found = [
        (int(number), int(name[:2]))
        for name, text in texts().items()
        for number in re.findall(r"^\$\$ \(eq-paper-(\d+)\)", text, re.MULTILINE)
    ]
    assert sorted(found) == sorted(SHOWN.items())


def test_every_reference_to_an_equation_finds_it():
    labels = Counter(
        label
        for text in texts().values()
        for label in re.findall(r"^\$\$ \((eq-[\w-]+)\)", text, re.MULTILINE)
    )
    cited = {label for text in texts().values() for label in re.findall(r"\{eq\}`([^`]+)`", text)}
    assert cited <= set(labels) and set(labels.values()) == {1}

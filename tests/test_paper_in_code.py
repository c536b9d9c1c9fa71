"""The page "The paper in the code" has all that the paper numbers, and its links lead somewhere."""

import re

import docstrings
import library_pages
import nbformat
import paper_in_code
import pytest
import verdicts

PAGE = library_pages.BOOK / "paper_in_code.md"
LINES = re.search(r"```\{paper-in-code\}\n(.*?)```", PAGE.read_text("utf8"), re.DOTALL)[1]
ITEMS = paper_in_code.items(LINES.splitlines())
ENTRIES = [entry for module in docstrings.read_library().values() for entry in module.walk()]
# What the paper numbers.
EQUATIONS, TABLES, FIGURES = range(1, 9), range(1, 3), range(1, 7)
PROGRAMMED = [*(f"Eq. {n}" for n in EQUATIONS), "Algorithm 1", *(f"Table {n}" for n in TABLES)]


def entry(source: str) -> docstrings.Entry:
    return docstrings.Entry("function", "mofa_lib.attack.f", f"Adds.\n\nSource: {source}")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("Teng 2021, Eq. 1; derived in chapter 7.", {"Eq. 1"}),
        ("Teng 2021, Eq. 4–6; derived in chapter 8.", {"Eq. 4", "Eq. 5", "Eq. 6"}),
        ("Teng 2021, Eq. 4 to 6 and Table 2.", {"Eq. 4", "Eq. 5", "Eq. 6", "Table 2"}),
        ("Teng 2021, Eq. 4\nand 6; derived in chapter 8.", {"Eq. 4", "Eq. 6"}),
        ("Teng 2021, section 3.1; Tewari et al. 2017, Eq. 9; Table 5.", set()),
        (
            "Madry et al. 2018, Figure 1; Teng\n2021, Algorithm 1, Figures 2 and 4.",
            {"Algorithm 1", "Figure 2", "Figure 4"},
        ),
    ],
)
def test_a_source_names_items_of_the_paper(source, expected):
    assert paper_in_code.cited(entry(source)) == expected


def test_the_page_lists_all_that_the_paper_numbers_and_no_more():
    assert sorted(ITEMS) == sorted([*PROGRAMMED, *(f"Figure {n}" for n in FIGURES)])
    assert set().union(*map(paper_in_code.cited, ENTRIES)) <= set(ITEMS)


@pytest.mark.parametrize("item", PROGRAMMED)
def test_what_the_paper_computes_is_implemented_and_derived(item):
    found = paper_in_code.implementing(item)
    assert found
    assert set().union(*map(docstrings.derived_in, found)) <= set(library_pages.labels())
    assert any(map(docstrings.derived_in, found))


def test_what_is_shown_is_a_figure_of_a_chapter_or_a_file_of_verdicts():
    drawn = {
        cell.metadata["mystnb"]["figure"]["name"]
        for path in library_pages.BOOK.glob("[0-9]*.ipynb")
        for cell in nbformat.read(path, as_version=4).cells
        if "figure" in cell.metadata.get("mystnb", {})
    }
    for what, shown in ITEMS.values():
        assert what and shown and set(shown) <= drawn | set(verdicts.JUDGED)


def test_verdicts_are_those_that_name_the_item_or_else_all(monkeypatch):
    rows = [{"paper": "Figure 5b", "verdict": "good"}, {"paper": "Figure 4", "verdict": "bad"}]
    monkeypatch.setattr(paper_in_code, "rows", lambda name: rows)
    assert paper_in_code.verdicts_on("Figure 5", "attack").endswith(": 1 *good*")
    assert paper_in_code.verdicts_on("Table 2", "attack").endswith(": 1 *good*, 1 *bad*")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The page beside the reference, and chapters that hold nothing but what it links to.

    Every warning is an error.
    """
    from bs4 import BeautifulSoup
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    source = tmp_path_factory.mktemp("site")
    for number, label in library_pages.labels().items():
        own = [name for name, chapter in paper_in_code.figures().items() if chapter == number]
        shown = [f":::{{figure}} x.png\n:name: {name}\n\nA figure.\n:::\n" for name in own]
        (source / f"{number:02}_chapter.md").write_text(
            f"({label})=\n# Chapter\n\n" + "\n".join(shown)
        )
    equations = [f"$$\nx\n$$ (eq-paper-{number})\n" for number in EQUATIONS]
    (source / "13_equations.md").write_text("# Equations\n\n" + "\n".join(equations))
    for path in (library_pages.BOOK / "library").glob("*.md"):
        if path.stem != "index":
            (source / path.name).write_text(path.read_text("utf8"), encoding="utf8")
    (source / "reproduction.md").write_text("(reproduction)=\n# Verdicts\n")
    text = PAGE.read_text("utf8").replace("{cite}`teng2021`", "")
    (source / "paper_in_code.md").write_text(text, encoding="utf8")
    (source / "x.png").touch()
    (source / "index.md").write_text("# All\n\n```{toctree}\n:glob:\n*\n```\n")
    settings = {
        "extensions": ["myst_parser", "library_pages", "equations", "paper_in_code"],
        "myst_enable_extensions": ["colon_fence", "dollarmath"],
        "numfig": True,
        "nitpicky": True,
    }
    with patch_docutils(str(source)), docutils_namespace():
        app = Sphinx(
            source, None, source / "html", source / "trees", "html",
            confoverrides=settings, warningiserror=True, status=None,
        )  # fmt: skip
        app.build()
    assert app.statuscode == 0
    pages = (source / "html").glob("*.html")
    return {path.stem: BeautifulSoup(path.read_text("utf8"), "html.parser") for path in pages}


def test_every_link_of_the_table_leads_somewhere(site):
    links = site["paper_in_code"].select("table a[href]")
    assert len(links) > 4 * len(ITEMS)
    for link in links:
        page, _, anchor = link["href"].partition(".html#")
        assert site[page].find(id=anchor), link["href"]


def test_a_line_says_where_all_of_it_is(site):
    lines = [
        [cell.get_text(" ", strip=True) for cell in line.select("td")]
        for line in site["paper_in_code"].select("table tbody tr")
    ]
    assert len(lines) == len(ITEMS)
    first = lines[0]
    assert first[0] == "Eq. (1)" and first[2] == "7"
    assert "CodeDistance" in first[3]
    assert first[4].startswith("Fig.")
    figure = next(line for line in lines if line[0] == "Figure 6")
    assert figure[2].split() == ["9", ",", "12"] and "reproduced" in figure[4]

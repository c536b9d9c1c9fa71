"""The map of the chapters and the page for teachers say what the chapters say."""

import ast
import base64
import re
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

import docstrings
import library_pages
import nbformat

BOOK = Path(__file__).parents[1] / "book"
CHAPTERS = {
    int(path.name[:2]): "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    for path in sorted(BOOK.glob("[0-9]*.ipynb"))
}
TEACHING = (BOOK / "teaching.md").read_text(encoding="utf8")
MAP = ElementTree.parse(BOOK / "_static" / "map.svg").getroot()
SVG = "{http://www.w3.org/2000/svg}"


def needs(chapter: int) -> set[int]:
    """The chapters that a chapter names under "You need"."""
    text = re.search(r"\*\*You need\*\*(.*?)\n\n", CHAPTERS[chapter], re.DOTALL)[1]
    by_label = [number for number, label in library_pages.labels().items() if f"`{label}`" in text]
    return {*by_label, *chain(*map(docstrings.numbers, re.findall(docstrings.CHAPTERS, text)))}


def behind(chapter: int) -> set[int]:
    """All that a chapter needs, also through others."""
    return needs(chapter).union(*map(behind, needs(chapter)))


def test_the_map_has_an_arrow_for_every_direct_need():
    drawn = {
        tuple(map(int, path.attrib["data-arrow"].split()))
        for path in MAP.iter(f"{SVG}path")
        if "class" in path.attrib
    }
    wanted = {
        (first, last) for last in CHAPTERS for first in needs(last)
        if not any(first in behind(other) for other in needs(last))
    }  # fmt: skip
    assert drawn == wanted


def test_the_map_leads_to_every_chapter_and_speaks():
    links = {link.attrib["href"]: link.attrib["aria-label"] for link in MAP.iter(f"{SVG}a")}
    assert sorted(links) == sorted(
        path.with_suffix(".html").name for path in BOOK.glob("[0-9]*.ipynb")
    )
    assert all(label.startswith(f"Chapter {int(href[:2])}: ") for href, label in links.items())
    spoken = MAP.find(f"{SVG}desc")
    assert MAP.attrib["aria-labelledby"].split() == [
        MAP.find(f"{SVG}title").attrib["id"],
        spoken.attrib["id"],
    ]


def test_teachers_are_sent_to_what_is_there():
    notebooks = "".join(path.read_text(encoding="utf8") for path in BOOK.glob("*.ipynb"))
    for name in re.findall(r"`((?:fig|ex)-\d\d-[\w-]+)`", TEACHING):
        assert re.search(rf"\b{name}\b", notebooks), name
    tables = "\n".join(line for line in TEACHING.splitlines() if line.startswith("|"))
    for title in re.findall(r'"([^"]+)"', tables):
        assert any(
            f"\n## {title}\n" in text or f"\n### {title}\n" in text for text in CHAPTERS.values()
        ), title


def test_every_week_has_a_chapter_and_an_exercise_of_it():
    course = TEACHING.partition("thirteen weeks\n")[2]
    weeks = re.findall(
        r"^\| (\d+) \| \{ref\}`(ch-[\w-]+)` \| \{ref\}`ex-(\d\d)-", course, re.MULTILINE
    )
    assert [int(week) for week, *_ in weeks] == list(range(1, 14))
    for _, label, exercise in weeks:
        assert library_pages.labels()[int(exercise)] == label


def test_an_assistant_is_told_of_every_chapter_and_only_of_what_is_there():
    tutor = (BOOK.parent / "TUTOR.md").read_text(encoding="utf8")
    assert "<../TUTOR.md>" in TEACHING
    listed = re.findall(r"`(\w+\.(?:ipynb|md))`", tutor)
    assert {path.name for path in BOOK.glob("*.ipynb")} <= set(listed)
    assert all((BOOK / name).exists() for name in listed)
    makefile = (BOOK.parent / "Makefile").read_text(encoding="utf8")
    for target in re.findall(r"`make (\w+)`", tutor):
        assert f"\n{target}: " in makefile, target


EXERCISE = re.compile(r"^:::\{exercise\}\n:label: (\S+)\n(.*?)^:::$", re.DOTALL | re.MULTILINE)
EFFORT = re.compile(r"\*(Easy|Medium|Hard), (\d+) minutes\.\*\n")


def exercises() -> list[tuple[str, str, str]]:
    """Of each exercise its label, its text, and the code of the cell below it."""
    found = []
    for path in sorted(BOOK.glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        for cell, below in zip(cells, [*cells[1:], None], strict=True):
            for label, text in EXERCISE.findall(cell.source):
                ends = cell.source.rstrip().endswith(f"{text}:::")
                code = below.source if ends and below.cell_type == "code" else ""
                found.append((label, text, code))
    return found


def test_every_exercise_says_how_hard_and_how_long_it_is():
    for label, text, _ in exercises():
        effort = EFFORT.match(text)
        assert effort and int(effort[2]) % 5 == 0, label


def test_a_prediction_is_asked_for_below_its_exercise_and_computed():
    asked = {label for label, _, code in exercises() if "show.prediction(" in code}
    assert asked and asked == {label for label, *_ in exercises() if label.endswith("-predict")}
    for label, _, code in exercises():
        for call in ast.walk(ast.parse(code)):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "show.prediction":
                truth = call.args[1]
                assert any(isinstance(node, ast.Name) for node in ast.walk(truth)), label


def test_below_each_exercise_with_a_stub_stands_what_right_looks_like():
    """Printed or drawn by code that is folded, or already printed above."""
    for label, text, code in exercises():
        if "    ...\n" in text or "    ...  #" in text:
            shown = "print(" in code or "show.grid(" in code or "are printed above" in text
            assert shown, label


def test_every_exercise_has_a_solution():
    for text in CHAPTERS.values():
        exercises = re.findall(r"\{exercise\}\n:label: (\S+)", text)
        assert exercises and exercises == re.findall(r"\{solution\} (\S+)", text)


def test_figures_are_taken_out_by_their_names(tmp_path, monkeypatch):
    picture = b"\x89PNG"
    cell = nbformat.v4.new_code_cell("", metadata={"mystnb": {"figure": {"name": "fig-x"}}})
    cell.outputs = [
        nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(picture).decode()})
    ]
    other = nbformat.v4.new_code_cell("", outputs=cell.outputs)
    monkeypatch.chdir(tmp_path)
    nbformat.write(nbformat.v4.new_notebook(cells=[other, cell]), "out.ipynb")
    exec(re.search(r"```python\n(.*?)```", TEACHING, re.DOTALL)[1], {})
    assert [path.name for path in tmp_path.glob("*.png")] == ["fig-x.png"]
    assert Path("fig-x.png").read_bytes() == picture

"""Sphinx extension: where the paper's equations, algorithm, tables and figures are in this book.

    ```{paper-in-code}
    Eq. 1 | the distance of two codes | fig-07-terms
    Figure 4 | what ε and the cap do | fig-07-epsilon attack
    ```

makes a table. A line names an item of the paper, says what it is, and which figures of ours show
it, or which result files hold verdicts on it. Who implements it, and which chapter derives that,
the docstrings say: "Source: Teng 2021, Eq. 1; derived in chapter 7."
"""

import json
import re
from collections import Counter
from functools import cache

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from docstrings import NUMBERS, Entry, derived_in, numbers, sections
from library_pages import BOOK, labels, library
from verdicts import JUDGED, rows

KINDS = {"Eq.": "Eq.", "Eqs.": "Eq.", "Algorithm": "Algorithm", "Table": "Table"}
KINDS |= {"Fig.": "Figure", "Figure": "Figure", "Figures": "Figure"}
LISTED = re.compile(rf"({'|'.join(map(re.escape, KINDS))})\s({NUMBERS})")
HEADINGS = ("in the paper", "what it is", "chapter", "implemented by", "shown in")


def cited(entry: Entry) -> set[str]:
    """The items of the paper that an entry's docstring gives as its source: Eq. 4, Table 1, …"""
    source = sections(entry.doc).get("Source", "")
    clauses = re.findall(r"Teng\s2021,\s([^;]*)", source)
    listed = [found for clause in clauses for found in LISTED.findall(clause)]
    return {f"{KINDS[kind]} {number}" for kind, text in listed for number in numbers(text)}


def implementing(item: str) -> list[Entry]:
    """The entries of the library whose source an item of the paper is."""
    return [
        entry for module in library().values() for entry in module.walk() if item in cited(entry)
    ]


@cache
def figures() -> dict[str, int]:
    """The names of the chapters' figures, in the metadata of their cells, and the chapters."""
    found = {}
    for path in BOOK.glob("[0-9]*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf8"))["cells"]:
            if figure := cell["metadata"].get("mystnb", {}).get("figure"):
                found[figure["name"]] = int(path.name[:2])
    return found


def items(lines: list[str]) -> dict[str, tuple[str, list[str]]]:
    """Of each item, what it is and what shows it."""
    parts = [[part.strip() for part in line.split("|")] for line in lines if line.strip()]
    return {item: (what, shown.split()) for item, what, shown in parts}


def verdicts_on(item: str, name: str) -> str:
    """How often a result file gives which verdict on an item, or on all if none is on that item."""
    found = [row for row in rows(name) if row["paper"].startswith(item)] or rows(name)
    words = Counter(row["verdict"] for row in found)
    counted = ", ".join(f"{n} *{word}*" for word, n in words.most_common())
    return f"{{ref}}`verdicts <reproduction>`: {counted}"


def row(item: str, what: str, shown: list[str]) -> str:
    """A line of the table, in Markdown."""
    kind, number = item.split()
    entries, drawn = implementing(item), [name for name in shown if name not in JUDGED]
    chapters = {chapter for entry in entries for chapter in derived_in(entry)}
    chapters = sorted(chapters or {figures()[name] for name in drawn})
    code = [f"{{py:obj}}`{entry.short} <{entry.name}>`" for entry in entries]
    proofs = [f"{{numref}}`{name}`" for name in drawn]
    proofs += [verdicts_on(item, name) for name in shown if name in JUDGED]
    cells = (
        f"Eq. {{eq}}`eq-paper-{number}`" if kind == "Eq." else item,
        what,
        ", ".join(f"{{ref}}`{chapter} <{labels()[chapter]}>`" for chapter in chapters),
        ", ".join(code) or "the chapter's cells",
        "; ".join(proofs),
    )
    return f"| {' | '.join(cells)} |"


class PaperInCode(SphinxDirective):
    """A table with a line for each item in the directive's content."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # docstrings, notebooks and result files may change
        lines = [row(item, *said) for item, said in items(self.content).items()]
        table = [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}", *lines]
        holder = nodes.container()
        self.state.nested_parse(StringList(table), self.content_offset, holder)
        return holder.children


def setup(app) -> dict[str, bool]:
    app.add_directive("paper-in-code", PaperInCode)
    return {"parallel_read_safe": True}

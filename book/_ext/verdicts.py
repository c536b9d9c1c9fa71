"""Sphinx extension: the verdicts on the paper's claims, as the result files hold them.

    ```{verdicts} attack
    ```

makes a forest plot of one result file: an axis for each quantity, and for each claim a row that
opens to rule, numbers, command and figure. `{verdict-count}` makes a sentence about all of them.
"""

import json
import re
from collections import Counter
from functools import cache
from itertools import chain
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

import forest
from mofa_lib.results import FROZEN_SEED, load_result, made_with

# Result files with verdicts.
JUDGED = (
    "attack",
    "judge",
    "detection",
    "defence",
    "adaptive",
    "attackers",
    "photographs",
    "claims",
)
BOOK = Path(__file__).parents[1]
RULE = re.compile(r"^- \*\*([^*]+?)\.?\*\*.*\n?(?:  .*\n?)*", re.MULTILINE)


def rows(name: str) -> list[dict]:
    """Claim, paper, ours, verdict, and what it rests on, as the chapter wrote them."""
    return load_result(name)["data"]["verdicts"]


@cache
def rules(name: str) -> dict[str, str]:
    """The rules below the label rules-NAME of a notebook, by the bold words they begin with."""
    for path in BOOK.glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf8"))["cells"]:
            _, label, below = "".join(cell["source"]).partition(f"(rules-{name})=\n")
            if label:
                return {x[1]: " ".join(x[0][2:].split()) for x in RULE.finditer(below)}
    raise ValueError(f"No notebook has the label rules-{name}.")


def table(row: dict) -> list[str]:
    """The numbers of a row, in Markdown, with the columns that it has."""
    heads = {"ours": "ours", "rival": row["rival"], "paper": "paper", "bound": "bound of the rule"}
    heads = {key: head for key, head in heads.items() if any(key in p for p in row["points"])}
    lines = [[row["axis"], *heads.values()], ["---"] * (1 + len(heads))]
    for point in row["points"]:
        lines.append([point["name"], *(estimate(point.get(key, [])) for key in heads)])
    return [f"| {' | '.join(line)} |" for line in lines] if row["points"] else []


def estimate(numbers: float | list[float]) -> str:
    """A number, one with its interval, or none."""
    found = [forest.signed(x) for x in (numbers if isinstance(numbers, list) else [numbers])]
    return f"{found[0]} ({' to '.join(found[1:])})" if found[1:] else "".join(found)


class chapter_picture(nodes.General, nodes.Element):
    """Stands for the picture of another page's figure until all pages have been read."""


def show_pictures(app, doctree, docname) -> None:
    """Put the pictures of figures in their places, where they lead to the figures."""
    labels = app.env.get_domain("std").anonlabels
    for waiting in list(doctree.findall(chapter_picture)):
        page, label = labels.get(waiting["name"], ("", ""))
        figures = list(app.env.get_doctree(page).findall(nodes.figure)) if page else []
        shown = [list(x.findall(nodes.image)) for x in figures if label in x["ids"]]
        if shown and shown[0]:
            address = f"{app.builder.get_relative_uri(docname, page)}#{label}"
            link = nodes.reference("", "", shown[0][0].deepcopy(), internal=True, refuri=address)
            waiting.replace_self(nodes.paragraph("", "", link))
        else:
            waiting.parent.remove(waiting)


class _FromResults(SphinxDirective):
    def parsed(self, *lines: str) -> list[nodes.Node]:
        holder = nodes.container()
        self.state.nested_parse(StringList(lines), self.content_offset, holder)
        return holder.children


class Verdicts(_FromResults):
    """A row for each claim, those of one quantity below their axis, and what made the numbers."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # the file, the chapter's rules and its pictures may change
        name = self.arguments[0]
        result = load_result(name)
        run = "the frozen run" if result["seed"] == FROZEN_SEED else "development"
        made = f"{run}, n = {result['n']} pairs · {made_with(result)}"
        drawn, quantities = [], dict.fromkeys(row["axis"] for row in rows(name))
        for quantity in sorted(quantities, key=bool, reverse=True):  # last, rows without a number
            some = [row for row in rows(name) if row["axis"] == quantity]
            axis = forest.ticks([x for row in some for x in row["points"]]) if quantity else []
            drawn.append(_raw(forest.heading(quantity, axis) if quantity else ""))
            drawn += chain(*(self.row(name, row, axis, made) for row in some))
        return [_raw('<div class="forest">'), *drawn, _raw("</div>"), *self.parsed(made)]

    def row(self, name: str, row: dict, axis: list[float], made: str) -> list[nodes.Node]:
        more = f"{{ref}}`Where the rule stands <rules-{name}>`"
        if row["figure"]:
            more += f" · {{numref}}`{row['figure']}`"
        said = self.parsed(
            rules(name)[row["rule"]], "",
            f"The paper: {row['paper']}. Ours: {row['ours']}.", "",
            *table(row), "", made, "", more,
        )  # fmt: skip
        above = f'<details data-verdict="{row["verdict"]}">{forest.summary(row, axis)}<div>'
        return [_raw(above), *said, chapter_picture(name=row["figure"]), _raw("</div></details>")]


class VerdictCount(_FromResults):
    """How many claims met which fate."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        found = [(name, row) for name in JUDGED for row in rows(name)]
        claims = {(name, row["rule"]) for name, row in found}
        words = Counter(row["verdict"] for _, row in found)
        counted = ", ".join(f"{n} *{word}*" for word, n in words.most_common())
        ours = sum(row["paper"].startswith("not in the paper") for _, row in found)
        early = sum(load_result(name)["seed"] != FROZEN_SEED for name, _ in found)
        said = (
            f"{len(found)} verdicts on {len(claims)} claims: {counted}. A claim has one for each "
            "reading of ε, attack and autoencoder on which it was tried. "
            f"{ours} are on questions that the paper does not ask."
        )
        return self.parsed(said + (f" {early} come from runs of development." if early else ""))


def _raw(html: str) -> nodes.raw:
    return nodes.raw("", html, format="html")


def setup(app) -> dict[str, bool]:
    app.add_directive("verdicts", Verdicts)
    app.add_directive("verdict-count", VerdictCount)
    app.connect("doctree-resolved", show_pictures)
    return {"parallel_read_safe": True}

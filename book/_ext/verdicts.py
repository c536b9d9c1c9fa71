"""Sphinx extension: the verdicts on the paper's claims, as the result files hold them.

    ```{verdicts} attack
    ```

makes the table of one result file, and `{verdict-count}` a sentence about all of them.
"""

from collections import Counter

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from mofa_lib.artifacts import SHIPPED
from mofa_lib.results import load_result, made_with

JUDGED = ("attack", "judge", "detection", "defence")  # result files with verdicts


def rows(name: str) -> list[dict[str, str]]:
    """Claim, paper, ours and verdict, as the chapter wrote them."""
    return load_result(name)["data"]["verdicts"]


class _FromResults(SphinxDirective):
    def show(self, *names: str) -> list[nodes.Node]:
        for name in names:
            self.env.note_dependency(str(SHIPPED / "results" / f"{name}.json"))
        holder = nodes.container()
        self.state.nested_parse(StringList(self.lines()), self.content_offset, holder)
        return holder.children


class Verdicts(_FromResults):
    """A line for each claim, and what the numbers were made with."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.show(self.arguments[0])

    def lines(self) -> list[str]:
        result = load_result(self.arguments[0])
        table = ["| claim | paper | ours | verdict |", "|---|---|---|---|"]
        table += [
            "| {claim} | {paper} | {ours} | **{verdict}** |".format(**row)
            for row in rows(self.arguments[0])
        ]
        return [*table, "", f"n = {result['n']} pairs · {made_with(result)}"]


class VerdictCount(_FromResults):
    """How many claims met which fate."""

    def run(self) -> list[nodes.Node]:
        return self.show(*JUDGED)

    def lines(self) -> list[str]:
        words = Counter(row["verdict"] for name in JUDGED for row in rows(name))
        return [
            f"{words.total()} verdicts: "
            + ", ".join(f"{n} *{word}*" for word, n in words.most_common())
            + "."
        ]


def setup(app) -> dict[str, bool]:
    app.add_directive("verdicts", Verdicts)
    app.add_directive("verdict-count", VerdictCount)
    return {"parallel_read_safe": True}

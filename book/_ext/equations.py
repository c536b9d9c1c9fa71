"""Sphinx extension: the paper's equations have the paper's numbers, others (7.1), (7.2) by chapter.

The label tells them apart: `eq-paper-4` is the paper's Eq. 4, whichever chapter shows it.
References show the same.
"""

import re

from sphinx.domains.math import MathDomain
from sphinx.util import logging

from chapters import chapter

PAPER = re.compile(r"eq-paper-(\d+)")


class Equations(MathDomain):
    """Numbers that a label and a page's name decide, in the place of one count over all pages."""

    def note_equation(self, docname, labelid, location=None):
        super().note_equation(docname, labelid, location)
        self.equations[labelid] = (docname, self._number(docname, labelid, location))

    def _number(self, docname, labelid, location) -> str:
        if paper := PAPER.fullmatch(labelid):
            return paper[1]
        number = chapter(docname)
        if not number:
            logging.getLogger(__name__).warning(
                "Equation %s has no number: its page is no chapter.", labelid, location=location
            )
            return "?"
        own = [
            label
            for label, (page, _) in self.equations.items()
            if page == docname and not PAPER.fullmatch(label)
        ]
        return f"{number}.{len(own)}"


def use_these(app, config):
    """Sphinx would else count equations as it counts figures, and ask no domain."""
    config.math_numfig = False


def setup(app):
    app.add_domain(Equations, override=True)
    app.connect("config-inited", use_these)
    return {"version": "0.1", "parallel_read_safe": True, "parallel_write_safe": True}

"""Sphinx extension: what makes a page a chapter.

It has the number of its file, in its title and in the contents, and so have its figures and
exercises: Figure 7.1. (Sphinx itself numbers whole parts of the contents, and begins anew with
each.) And its first picture stands also in the box "In this chapter", so that one sees at once what
it is about.
"""

import re

from docutils import nodes
from sphinx.environment.collectors.toctree import TocTreeCollector


def chapter(docname: str) -> int | None:
    """The number of the chapter on a page; None for a page that is no chapter."""
    found = re.match(r"\d\d(?=_)", docname.rpartition("/")[2])
    return int(found[0]) if found else None


def assign_section_numbers(self, env) -> list[str]:
    """To the titles of chapters, not to their sections. Returns the pages to be written again."""
    before, env.toc_secnumbers = env.toc_secnumbers, {}
    for docname, contents in env.tocs.items():
        if number := chapter(docname):
            title, *sections = contents.findall(nodes.reference)
            title["secnumber"] = env.titles[docname]["secnumber"] = (number,)
            env.toc_secnumbers[docname] = {"": (number,)}
            env.toc_secnumbers[docname] |= {section["anchorname"]: None for section in sections}
    return [name for name, numbers in env.toc_secnumbers.items() if before.get(name) != numbers]


def show_first_picture(app, doctree, docname) -> None:
    """In the first box of a chapter, where it leads to its figure."""
    box = next(doctree.findall(nodes.Admonition), None)
    figures = [figure for figure in doctree.findall(nodes.figure) if figure["ids"]]
    pictures = [(figure, image) for figure in figures for image in figure.findall(nodes.image)]
    if chapter(docname) and box and pictures:
        figure, image = pictures[0]
        link = nodes.reference(refid=figure["ids"][0], internal=True, classes=["first-picture"])
        link += nodes.image(uri=image["uri"], candidates=image["candidates"], alt=image["alt"])
        box.insert(1, nodes.paragraph("", "", link))


def setup(app):
    TocTreeCollector.assign_section_numbers = assign_section_numbers
    app.connect("doctree-resolved", show_first_picture)
    return {"version": "0.1", "parallel_read_safe": True, "parallel_write_safe": True}

"""Sphinx extension: the reference pages of the library, made from its docstrings, with links to the
chapters and back.

    ```{library} attack adapters
    ```

makes a section for each of these modules. `{library-names}` makes a table of what `from mofa_lib
import …` knows. The box at the top of a chapter gets a line "In the library" with whatever says in
its docstring that this chapter derives or uses it.
"""

import json
import re
from functools import cache
from itertools import groupby

from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from docstrings import (
    CHAPTERS,
    LIBRARY,
    Entry,
    derived_in,
    exported,
    items,
    path_of,
    read_library,
    sections,
)

BOOK = LIBRARY.parent / "book"
FIELDS = {
    "Args": "Arguments",
    "Attributes": "Attributes",
    "Returns": "Returns",
    "Raises": "Raises",
    "Source": "Source",
}
CODE = re.compile(r"(`+[^`]+`+)")
WIDE = 64  # characters of a signature beyond which every parameter gets a line

library = cache(read_library)


@cache
def names() -> dict[str, Entry]:
    """Modules and their classes and functions by full name, the only ones that a docstring can link
    to.
    """
    return {
        entry.name: entry for module in library().values() for entry in (module, *module.members)
    }


@cache
def aliases() -> dict[str, str]:
    """Full names under which a package gives an entry away, mofa_lib.show.grid, and the entry's
    own.
    """
    given = [
        (f"{module.name}.{name}", full)
        for module in library().values()
        for name, full in module.given.items()
    ]
    return {alias: full for alias, full in given if full in names()}


@cache
def labels() -> dict[int, str]:
    """The label of each chapter by its number, (ch-…)= in the first cell of its notebook."""
    found = {}
    for path in BOOK.glob("[0-9]*.ipynb"):
        first = "".join(json.loads(path.read_text(encoding="utf8"))["cells"][0]["source"])
        found[int(path.name[:2])] = re.match(r"\((ch-[\w-]+)\)=", first)[1]
    return found


def link_chapters(text: str) -> str:
    """Markdown in which every "chapter 7", and each number of "chapters 6, 8 and 10", is a link."""

    def link(mention: re.Match) -> str:
        if mention[1].isdecimal():
            return f"{{ref}}`{mention[0]} <{labels()[int(mention[1])]}>`"
        return re.sub(
            r"\d+", lambda number: f"{{ref}}`{number[0]} <{labels()[int(number[0])]}>`", mention[0]
        )

    return re.sub(CHAPTERS, link, text)


def target(name: str, entry: Entry, module: Entry) -> str | None:
    """The full name of what a docstring sets in code, where it is surely a name of the library.

    A lower-case word of another module, without an underscore, may as well be an ordinary variable.
    """
    own = {parameter.partition(":")[0] for parameter in entry.parameters or ()}
    if name in own:
        return None
    known = {full: full for full in names()} | aliases()
    local = f"{module.name}.{name}"
    if local in known:
        return known[local]
    outside = {entry for full, entry in known.items() if full.endswith(f".{name}")}
    sure = "." in name or "_" in name or name[0].isupper()
    return outside.pop() if sure and len(outside) == 1 else None


def to_myst(text: str, entry: Entry, module: Entry) -> str:
    """A docstring's Markdown with links to chapters and to other entries; indented code stays as it
    is.
    """
    blocks = groupby(text.splitlines(), key=lambda line: line.startswith("    "))
    return "\n".join(
        block if code else "".join(_linked(part, entry, module) for part in CODE.split(block))
        for code, block in ((code, "\n".join(lines)) for code, lines in blocks)
    )


def _linked(part: str, entry: Entry, module: Entry) -> str:
    """A piece of Markdown that is code as a whole, or holds none."""
    if not part.startswith("`"):
        return link_chapters(re.sub(r"<(?=\w)", r"\\<", part))
    code = part.strip("`")
    full = target(code.removesuffix("()"), entry, module)
    return f"{{py:obj}}`{code} <{full}>`" if full else part


def reference(full: str, shown: str) -> addnodes.pending_xref:
    """A link to an entry of the library."""
    return addnodes.pending_xref(
        "", nodes.literal("", shown, classes=["xref", "py"]),
        refdomain="py", reftype="obj", reftarget=full, refwarn=True, refexplicit=True,
    )  # fmt: skip


def separated(links: list[nodes.Node]) -> list[nodes.Node]:
    """Links with commas between them."""
    return [node for link in links for node in (nodes.Text(", "), link)][1:]


class Library(SphinxDirective):
    """The sections of some modules: what the module says, then its classes and functions in their
    order.
    """

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        return [self._module(library()[name]) for name in self.arguments[0].split()]

    def _module(self, module: Entry) -> nodes.section:
        self.env.note_dependency(str(path_of(module.short)))
        section = nodes.section(
            "", nodes.title("", "", nodes.literal("", module.name)), ids=[f"module-{module.name}"]
        )
        self.set_source_info(section)
        domain = self.env.get_domain("py")
        domain.note_module(module.name, section["ids"][0], module.doc.partition("\n")[0], "", False)
        domain.note_object(module.name, "module", section["ids"][0], location=section)
        self._say(module.doc, module, module, section)
        section += self._given(module)
        section += [self._entry(member, module) for member in module.members]
        return section

    def _given(self, module: Entry) -> list[nodes.Node]:
        """The line with the entries that a package gives away."""
        links = [reference(full, name) for name, full in module.given.items() if full in names()]
        if not links:
            return []
        return [
            nodes.paragraph("", "", nodes.Text("Gives away "), *separated(links), nodes.Text("."))
        ]

    def _entry(self, entry: Entry, module: Entry) -> addnodes.desc:
        signature = self._signature(entry, module)
        content = addnodes.desc_content()
        said = sections(entry.doc)
        self._say(said.pop(""), entry, module, content)
        if said:
            content += nodes.field_list(
                "", *(self._field(name, said[name], entry, module) for name in said)
            )
        content += [self._entry(member, module) for member in entry.members]
        self.env.get_domain("py").note_object(
            entry.name, entry.kind, entry.name, location=signature
        )
        return addnodes.desc(
            "",
            signature,
            content,
            domain="py",
            objtype=entry.kind,
            desctype=entry.kind,
            classes=["py", entry.kind],
        )

    def _signature(self, entry: Entry, module: Entry) -> addnodes.desc_signature:
        shown = entry.short + ("()" if entry.kind in ("function", "method") else "")
        signature = addnodes.desc_signature(
            "", "", ids=[entry.name], classes=["sig", "sig-object", "py"], module=module.name,
            fullname=entry.name, _toc_parts=(entry.short,),
            _toc_name=shown if entry.name in names() else "",
        )  # fmt: skip
        self.set_source_info(signature)
        if entry.prefix:
            signature += addnodes.desc_annotation(entry.prefix, entry.prefix)
        signature += addnodes.desc_name(entry.short, entry.short)
        if entry.parameters is not None:
            parameters = addnodes.desc_parameterlist()
            parameters["multi_line_parameter_list"] = len(", ".join(entry.parameters)) > WIDE
            parameters += [self._parameter(text) for text in entry.parameters]
            signature += parameters
        if entry.returns:
            signature += addnodes.desc_returns("", "", *self._types(entry.returns))
        if entry.name in names():
            signature += self._chapters(derived_in(entry) or derived_in(module))
        return signature

    def _parameter(self, text: str) -> addnodes.desc_parameter:
        name, _, rest = text.partition(":")
        parts = [addnodes.desc_sig_name("", name)]
        if rest:
            parts += [nodes.Text(":"), *self._types(rest)]
        return addnodes.desc_parameter("", "", *parts, noemph=True)

    def _types(self, text: str) -> list[nodes.Node]:
        """An annotation with the default behind it, in which the library's classes are links."""
        full = {entry.short: name for name, entry in names().items() if entry.kind == "class"}
        words = re.split(r"\b(" + "|".join(full) + r")\b", text)
        return [
            reference(full[word], word) if word in full else nodes.Text(word)
            for word in words
            if word
        ]

    def _chapters(self, chapters: set[int]) -> list[nodes.Node]:
        """Links to the chapters behind an entry, at the end of its signature."""
        if not chapters:
            return []
        paragraph = nodes.Element()
        text = f"chapter{'s' * (len(chapters) > 1)} {', '.join(map(str, sorted(chapters)))}"
        self._parse(link_chapters(text), paragraph)
        return [nodes.inline("", "", *paragraph[0].children, classes=["chapters"])]

    def _field(self, name: str, text: str, entry: Entry, module: Entry) -> nodes.field:
        body = nodes.field_body()
        if name == "Example":
            body += nodes.literal_block(text, text, language="pycon")
            return nodes.field("", nodes.field_name("", name), body)
        listed = items(text) if name in ("Args", "Attributes", "Raises") else {}
        self._say(
            "\n".join(f"- `{item}`: {said}" for item, said in listed.items()) or text,
            entry,
            module,
            body,
        )
        return nodes.field("", nodes.field_name("", FIELDS[name]), body)

    def _say(self, text: str, entry: Entry, module: Entry, node: nodes.Element) -> None:
        self._parse(to_myst(text, entry, module), node)

    def _parse(self, text: str, node: nodes.Element) -> None:
        self.state.nested_parse(StringList(text.splitlines()), self.content_offset, node)


class LibraryNames(SphinxDirective):
    """A table of the names that the package itself gives away."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(LIBRARY / "__init__.py"))
        rows = ["| name | what it is |", "|---|---|"]
        for name, full in sorted(exported().items(), key=lambda pair: pair[0].lower()):
            full = aliases().get(full, full)
            summary = sections(names()[full].doc)[""].partition("\n\n")[0].replace("\n", " ")
            rows.append(f"| {{py:obj}}`{name} <{full}>` | {link_chapters(summary)} |")
        holder = nodes.container()
        self.state.nested_parse(StringList(rows), self.content_offset, holder)
        return holder.children


def named_in(chapter: int) -> list[Entry]:
    """What a chapter derives or uses, by the docstrings: classes and functions, then modules."""
    found = [entry for entry in names().values() if chapter in derived_in(entry)]
    return sorted(found, key=lambda entry: entry.kind == "module")


def append_line(app, doctree):
    """The line "In the library" in the box of a chapter."""
    name = app.env.docname.rpartition("/")[2]
    entries = named_in(int(name[:2])) if re.match(r"\d\d_", name) else []
    box = next(iter(doctree.findall(nodes.admonition)), None)
    if not entries or box is None:
        return
    line = nodes.paragraph("", "", nodes.strong("", "In the library"), nodes.Text(": "))
    modules = [entry for entry in entries if entry.kind == "module"]
    for entry in entries:
        if entry is not entries[0]:
            line += nodes.Text("; " if modules and entry is modules[0] else ", ")
        if modules and entry is modules[0]:
            line += nodes.Text("the modules " if len(modules) > 1 else "the module ")
        link = reference(entry.name, entry.short)
        link["refdoc"] = app.env.docname
        line += link
    line += nodes.Text(".")
    box += line


def setup(app):
    app.add_directive("library", Library)
    app.add_directive("library-names", LibraryNames)
    app.connect("doctree-read", append_line)
    return {"version": "0.1", "parallel_read_safe": True, "parallel_write_safe": True}

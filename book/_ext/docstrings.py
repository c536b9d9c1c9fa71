"""What the library says about itself: public names, signatures and docstrings, read off its source,
never imported.

Public is what has no underscore before its name. The docstrings are Google's kind, written in
Markdown. (griffe would read the signatures, but not these shapes, nor sections without a blank line
before them.)
"""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[2] / "mofa_lib"

# jaxtyping's names of what an array holds; of the usual one, floats, nothing is said.
HOLDS = {"Float": "", "Int": "int ", "UInt8": "uint8 ", "Bool": "bool "}
CALLED = ("__call__", "__getitem__")  # special methods that readers write as f(x) and f[x]
NUMBERS = r"\d+(?:(?:,\s|\sand\s|\sto\s|–)\d+)*"
CHAPTERS = rf"[Cc]hapters?\s({NUMBERS})"
EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)
SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Source")


@dataclass(frozen=True)
class Entry:
    """A public module, class, function, method or property.

    Attributes:
        kind: module, class, function, method or property.
        name: the full one, mofa_lib.attack.LatentAttack.bound.
        doc: its docstring, or nothing.
        parameters: each as it stands in the signature; None where nothing is called.
        returns: the annotation of what comes back, or nothing.
        members: what a module or a class holds.
        prefix: words before the name: class, classmethod, …
        given: what a package imports from its own modules, to give it away, and the full names.
    """

    kind: str
    name: str
    doc: str
    parameters: list[str] | None = None
    returns: str = ""
    members: list["Entry"] = field(default_factory=list)
    prefix: str = ""
    given: dict[str, str] = field(default_factory=dict)

    @property
    def short(self) -> str:
        """The last part of the name; of a module, all but the library's."""
        return (
            self.name.partition(".")[2] if self.kind == "module" else self.name.rpartition(".")[2]
        )

    def walk(self) -> Iterator["Entry"]:
        """This entry and all that it holds."""
        yield self
        for member in self.members:
            yield from member.walk()


def read_library(folder: Path = LIBRARY) -> dict[str, Entry]:
    """The public modules of a library by their names without the library's, such as studio.skin.

    A package inside it is one of them where it defines anything, or gives away what its modules
    define.
    """
    found = {}
    for path in sorted(folder.rglob("*.py")):
        *packages, last = path.relative_to(folder).with_suffix("").parts
        names = packages if last == "__init__" else [*packages, last]
        if names and not any(name.startswith("_") for name in names):
            module = _module(path, ".".join([folder.name, *names]))
            if last != "__init__" or module.members or module.given:
                found[module.short] = module
    return found


def path_of(module: str) -> Path:
    """The file of a module, or of a package, by its name without the library's."""
    place = LIBRARY.joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def exported(folder: Path = LIBRARY) -> dict[str, str]:
    """The names that the package itself gives away, with the full names of what they are."""
    return _imported(ast.parse((folder / "__init__.py").read_text(encoding="utf8")))


def _imported(tree: ast.Module) -> dict[str, str]:
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"{node.module}.{alias.name}" for node in imports for alias in node.names}


def numbers(text: str) -> list[int]:
    """The chapters, or equations, that "6, 8 and 10 to 12" names."""
    found = []
    for first, last in re.findall(r"(\d+)(?:(?:\sto\s|–)(\d+))?", text):
        found += range(int(first), int(last or first) + 1)
    return found


def derived_in(entry: Entry) -> set[int]:
    """The chapters that derive or use an entry, by its own docstring."""
    named = re.findall(rf"(?:derived\sin|used\sin|\.)\s{CHAPTERS}", entry.doc, re.IGNORECASE)
    return {chapter for text in named for chapter in numbers(text)}


def sections(doc: str) -> dict[str, str]:
    """The parts of a docstring: its prose under "", the others under the words that open them.

    What doctest would run is its Example.
    """
    prose, *rest = re.split(rf"^({'|'.join(SECTIONS)}):", EXAMPLE.sub("", doc), flags=re.MULTILINE)
    example = {"Example": "\n\n".join(EXAMPLE.findall(doc))} if EXAMPLE.search(doc) else {}
    said = dict(zip(rest[::2], map(inspect.cleandoc, rest[1::2]), strict=True))
    return {"": prose.strip()} | said | example


def items(section: str) -> dict[str, str]:
    """Names and what is said about them, of a section such as Args."""
    _, *rest = re.split(r"^(\w[\w, ]*): ", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in zip(rest[::2], rest[1::2], strict=True)}


def _module(path: Path, name: str) -> Entry:
    tree = ast.parse(path.read_text(encoding="utf8"))
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    constants = {ast.unparse(node.targets[0]): node.value for node in assigned}
    for arguments in ast.walk(tree):  # a default shows its value, not the name of a constant
        if isinstance(arguments, ast.arguments):
            arguments.defaults = [
                constants.get(ast.unparse(default), default) for default in arguments.defaults
            ]
    own = path.stem == "__init__"
    given = {
        short: full
        for short, full in _imported(tree).items()
        if own and full.startswith(f"{name}.")
    }
    return Entry("module", name, _doc(tree), members=_members(tree, name), given=given)


def _members(node: ast.Module | ast.ClassDef, name: str) -> list[Entry]:
    makers = {ast.ClassDef: _class, ast.FunctionDef: _function}
    public = [
        child for child in node.body
        if type(child) in makers and (not child.name.startswith("_") or child.name in CALLED)
    ]  # fmt: skip
    return [
        makers[type(child)](child, f"{name}.{child.name}", isinstance(node, ast.ClassDef))
        for child in public
    ]


def _class(node: ast.ClassDef, name: str, inside: bool) -> Entry:
    constructor = [
        child
        for child in node.body
        if isinstance(child, ast.FunctionDef) and child.name == "__init__"
    ]
    parameters = _parameters(constructor[0].args)[1:] if constructor else _fields(node)
    return Entry(
        "class", name, _doc(node), parameters, members=_members(node, name), prefix="class "
    )


def _function(node: ast.FunctionDef, name: str, inside: bool) -> Entry:
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    parameters = _parameters(node.args)
    if inside and "staticmethod" not in decorators:
        parameters = parameters[1:]
    kind = "method" if inside else "function"
    prefix = "".join(f"{word} " for word in ("classmethod", "staticmethod") if word in decorators)
    if "property" in decorators or "cached_property" in decorators:
        kind, parameters, prefix = "property", None, "property "
    return Entry(kind, name, _doc(node), parameters, _annotation(node.returns), prefix=prefix)


def _fields(node: ast.ClassDef) -> list[str] | None:
    """The parameters of a dataclass, or of a class that has no constructor of its own."""
    named = [child for child in node.body if isinstance(child, ast.AnnAssign)]
    return [_parameter(child.target.id, child.annotation, child.value) for child in named] or None


def _parameters(arguments: ast.arguments) -> list[str]:
    plain = arguments.posonlyargs + arguments.args
    defaults = [None] * (len(plain) - len(arguments.defaults)) + arguments.defaults
    found = [_parameter(a.arg, a.annotation, d) for a, d in zip(plain, defaults, strict=True)]
    if arguments.vararg:
        found.append(_parameter(f"*{arguments.vararg.arg}", arguments.vararg.annotation))
    elif arguments.kwonlyargs:
        found.append("*")
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    found += [_parameter(a.arg, a.annotation, d) for a, d in keywords]
    if arguments.kwarg:
        found.append(_parameter(f"**{arguments.kwarg.arg}", arguments.kwarg.annotation))
    return found


def _parameter(name: str, annotation: ast.expr | None, default: ast.expr | None = None) -> str:
    typed = f"{name}: {_annotation(annotation)}" if annotation else name
    return typed + (f" = {ast.unparse(default)}" if default else "")


def _annotation(node: ast.expr | None) -> str:
    return ast.unparse(_Readable().visit(node)) if node else ""


class _Readable(ast.NodeTransformer):
    """Float[Tensor, "B 3 H W"] as (B, 3, H, W), and forward references without their quotes."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if not (isinstance(node.value, ast.Name) and node.value.id in HOLDS):
            return self.generic_visit(node)
        of, axes = node.slice.elts
        axes = axes.value.split()
        array = "array " if ast.unparse(of) == "np.ndarray" else ""
        return ast.Name(f"{HOLDS[node.value.id]}{array}({', '.join(axes)}{',' * (len(axes) == 1)})")

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Name(node.value) if isinstance(node.value, str) else node


def _doc(node: ast.AST) -> str:
    return ast.get_docstring(node) or ""

"""What decides how a rendered face looks, as a short hash: stale pictures are never read."""

import ast
import hashlib
from pathlib import Path

from mofa_lib.studio.heads import HEADS
from mofa_lib.studio.looks import LOOKS

LIBRARY = Path(__file__).parents[1]


def recipe() -> str:
    """Twelve digits that change with heads and looks and with all code that draws.

    This is the studio, and all that the studio imports of the library.
    """
    return _RECIPE


def sources(module: str, read: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """The source of a module of the library and of all that it imports from it, by dotted names.

    Args:
        module: without the library's own name, as in "studio.session".
        read: what has been read already; it is filled.
    """
    read = {} if read is None else read
    path = LIBRARY.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if module in read or not path.is_file():  # a function of a module is no module
        return read

    read[module] = path.read_bytes()
    for name in _imported(module, read[module]):
        sources(name, read)
    return read


def _imported(module: str, source: bytes) -> list[str]:
    """What may be modules among the names that a source imports; its own package comes first."""
    package = module.rpartition(".")[0]
    names = [package] if package else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mofa_lib."):
            inside = node.module.removeprefix("mofa_lib.")
            names.append(inside)
            names += [f"{inside}.{alias.name}" for alias in node.names]
    return names


def _computed() -> str:
    """The recipe, of the files as they are now."""
    data = [path.read_bytes() for path in (HEADS, LOOKS)]
    read = [source for _, source in sorted(sources("studio.session").items())]
    return hashlib.sha256(b"".join(data + read)).hexdigest()[:12]


# As the sources were when they were imported: somebody may edit them while pictures are drawn.
_RECIPE = _computed()

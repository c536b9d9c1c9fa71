"""The verdicts that a chapter's own rules give on the measurements that a result file holds.

`python tests/rejudge.py` writes them into the shipped files, when a rule has changed and the
measurements have not. The chapter then says when and why.
"""

import ast
from pathlib import Path
from types import SimpleNamespace

import nbformat

from mofa_lib.artifacts import SHIPPED, load_result, save_json
from mofa_lib.profiles import profile

BOOK = Path(__file__).parents[1] / "book"
CHAPTERS = {
    "attack": "10_attack_results",
    "detection": "11_detection_results",
    "defence": "12_defence_results",
}


def rules(name: str) -> SimpleNamespace:
    """What the chapter of a result file imports and defines: functions, and names in capitals."""
    result = load_result(name)
    space = {
        "profile": result["profile"],
        "seed": result["seed"],
        "chosen": profile(result["profile"]),
    }
    space["on_images"] = SimpleNamespace(features=None)  # a network, which no rule asks
    for cell in nbformat.read(BOOK / f"{CHAPTERS[name]}.ipynb", as_version=4).cells:
        if cell.cell_type != "code" or "google.colab" in cell.source:
            continue
        for node in ast.parse(cell.source).body:
            if isinstance(
                node, ast.Import | ast.ImportFrom | ast.FunctionDef
            ) or _names_in_capitals(node):
                exec(compile(ast.Module([node], []), name, "exec"), space)
    return SimpleNamespace(**space)


def _names_in_capitals(node: ast.stmt) -> bool:
    targets = getattr(node, "targets", []) + (
        [node.target] if isinstance(node, ast.AugAssign) else []
    )
    names = [x.id for target in targets for x in ast.walk(target) if isinstance(x, ast.Name)]
    return bool(names) and all(name.isupper() for name in names)


def rejudged(name: str) -> dict:
    """The data of a result file, with all that follows from its measurements made anew."""
    chapter, data = rules(name), load_result(name)["data"]
    if "summary" in data:
        data["summary"] = chapter.summarise(data)
    data["verdicts"] = chapter.verdicts(data["summary"] if name == "defence" else data)
    return data


if __name__ == "__main__":
    for name in CHAPTERS:
        save_json(
            SHIPPED / "results" / f"{name}.json", load_result(name) | {"data": rejudged(name)}
        )

"""The verdicts that a chapter's own rules give on the measurements that a result file holds.

`python tests/rejudge.py` writes them into the shipped files, when a rule has changed and the
measurements have not. The chapter then says when and why.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import nbformat

from mofa_lib.artifacts import SHIPPED, save_json
from mofa_lib.profiles import profile
from mofa_lib.results import load_result

BOOK = Path(__file__).parents[1] / "book"
CHAPTERS = {
    "attack": "10_attack_results",
    "judge": "asked_from_outside",
    "detection": "11_detection_results",
    "defence": "12_defence_results",
    "adaptive": "13_adaptive_attacks",
    "attackers": "more_attackers",
    "photographs": "photographs",
    "claims": "smaller_claims",
}


def rules(name: str) -> SimpleNamespace:
    """What the chapter of a result file imports and defines: functions, and names in capitals."""
    result = load_result(name)
    space = {
        "profile": result["profile"],
        "smoke": result["profile"] == "smoke",
        "seed": result["seed"],
        "chosen": profile(result["profile"]),
    }
    for node in _statements(CHAPTERS[name]):
        is_rule = isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)
        if is_rule or _assigns_capitals(node):
            exec(compile(ast.Module([node], []), name, "exec"), space)
    return SimpleNamespace(**space)


def _statements(chapter: str) -> Iterator[ast.stmt]:
    """Of a chapter's cells, but for the one that installs the library on Colab."""
    for cell in nbformat.read(BOOK / f"{chapter}.ipynb", as_version=4).cells:
        if cell.cell_type == "code" and "google.colab" not in cell.source:
            yield from ast.parse(cell.source).body


def _assigns_capitals(node: ast.stmt) -> bool:
    """Whether a statement gives values to names in capitals, and to nothing else."""
    if not isinstance(node, ast.Assign):
        return False
    inside = [x for target in node.targets for x in ast.walk(target)]
    names = [x.id for x in inside if isinstance(x, ast.Name)]
    return bool(names) and all(name.isupper() for name in names)


def rejudged(name: str) -> dict:
    """The data of a result file, with all that follows from its measurements made anew."""
    chapter = rules(name)
    data = load_result(name)["data"]
    if "summary" in data:
        data["summary"] = chapter.summarise(data)
    data["verdicts"] = chapter.verdicts(data)
    return data


if __name__ == "__main__":
    for name in CHAPTERS:
        result = load_result(name) | {"data": rejudged(name)}
        save_json(SHIPPED / "results" / f"{name}.json", result)

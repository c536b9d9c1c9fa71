"""Cells whose outputs are stored in the notebook, tagged `nbval-check-output`.

`make outputs` runs them and stores their outputs anew.
"""

import ast
import io
from contextlib import redirect_stdout
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbval.plugin import IPyNbFile, coalesce_streams

ROOT = Path(__file__).parents[1]
TAG = "nbval-check-output"
UNSTEADY = ("profiles", "load_result")  # the profile, the device, and files that are made anew


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def checked_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in code_cells(notebook) if TAG in tags(cell)]


def differences(path: Path, ran: NotebookNode, session) -> list[str]:
    """How the checked outputs of a run differ from those stored in the notebook, in nbval's words.

    Args:
        path: the notebook with the stored outputs.
        ran: the same code cells with the outputs of a run.
        session: pytest's.
    """
    said = []
    stored = IPyNbFile.from_parent(session, path=path).collect()
    for item, run in zip(stored, code_cells(ran), strict=True):
        if TAG in tags(item.cell):
            before, after = (coalesce_streams(cell.outputs) for cell in (item.cell, run))
            if not item.compare_outputs(after, before):
                said.append("\n".join([item.cell.source, *item.comparison_traceback]))
    return said


def run_without_parameters(notebook: NotebookNode) -> NotebookNode:
    """The notebook with the outputs that its checked cells have whatever the profile, device and
    parameters are.

    Its parameters do not exist. Whatever needs one is left out, and so is what needs that; a
    checked cell may need nothing of it.
    """
    ran, space = nbformat.from_dict(notebook), {}
    for cell in code_cells(ran):
        if TAG in tags(cell):
            cell.outputs = _run(cell.source, space)
        elif "parameters" not in tags(cell):
            for statement in ast.parse(cell.source).body:
                if not isinstance(statement, ast.Expr):  # which draws or prints
                    _try(statement, space)
    plt.close("all")
    return ran


def _try(statement: ast.stmt, space: dict) -> None:
    try:
        with redirect_stdout(io.StringIO()):
            exec(compile(ast.Module([statement], []), "notebook", "exec"), space)
        missing = UNSTEADY
    except Exception:  # a name is missing, or what was made without it is not as it should be
        missing = _assigned(statement)
    for name in missing:
        space.pop(name, None)


def _assigned(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
    return {node.id for node in names if isinstance(node.ctx, ast.Store)}


def _run(source: str, space: dict) -> list[NotebookNode]:
    """The outputs of a cell, as a kernel makes them: what is printed, then the last expression."""
    *statements, last = ast.parse(source).body
    value = None
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(ast.Module(statements, []), "notebook", "exec"), space)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "notebook", "eval"), space)
        else:
            exec(compile(ast.Module([last], []), "notebook", "exec"), space)
    outputs = []
    if printed.getvalue():
        outputs.append(new_output("stream", name="stdout", text=printed.getvalue()))
    if value is not None:
        data = {"text/markdown": value._repr_markdown_(), "text/plain": repr(value)}
        outputs.append(new_output("execute_result", data, execution_count=1))
    return outputs


if __name__ == "__main__":
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        ran = run_without_parameters(nbformat.read(path, as_version=4))
        for cell in checked_cells(ran):
            cell.execution_count = 1  # nbval calls the outputs of others "unrun"
        nbformat.write(ran, path)

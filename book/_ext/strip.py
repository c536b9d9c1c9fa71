"""Strips the notebooks: no outputs, except of the cells that nbval compares (tag
nbval-check-output).

nbstripout would also take the execution count of those cells, and nbval then calls their outputs
"unrun".
"""

from pathlib import Path

import nbformat

KEPT = {
    "kernelspec",
    "language_info",
}  # of the notebook's metadata; a run adds the state of widgets, papermill's notes

for path in sorted(Path(__file__).parents[1].glob("*.ipynb")):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for notes in ("execution", "papermill", "ExecuteTime"):
            cell.metadata.pop(notes, None)
        if cell.cell_type != "code":
            continue
        compared = "nbval-check-output" in cell.metadata.get("tags", []) and cell.outputs
        cell.outputs = cell.outputs if compared else []
        cell.execution_count = 1 if compared else None
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = 1
    for name in set(notebook.metadata) - KEPT:
        del notebook.metadata[name]
    nbformat.write(notebook, path)

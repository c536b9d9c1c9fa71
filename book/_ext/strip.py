"""Strips the notebooks: no outputs, except of the cells that nbval compares (tag
nbval-check-output).

nbstripout would also take the execution count of those cells, and nbval then calls their outputs
"unrun".
"""

from pathlib import Path

import nbformat

# All metadata that a notebook keeps; a run adds versions, the state of widgets, papermill's notes.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

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
    notebook.metadata = nbformat.from_dict(METADATA)
    nbformat.write(notebook, path)

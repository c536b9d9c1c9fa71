r"""One notebook and many parameters: a run for each combination of values, and a table of results.

    python -m mofa_lib.sweep book/07_attack.ipynb sweep \
        -p epsilon 0.02 0.05 -p cap 0.01 0.02 -p seed 0 1 2

The notebook has a parameter `out`, a folder, and writes its numbers there as JSON. Each run has a
folder of its own below `sweep/runs`, with these files and, once it is finished, the executed
notebook as `run.ipynb`. The same command leaves finished runs alone, makes the others, and writes
`sweep/table.csv`. It needs the extra `sweep`.
"""

import argparse
import ast
import csv
import hashlib
import io
import itertools
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from tqdm import tqdm

from mofa_lib.artifacts import save_json, write_bytes
from mofa_lib.notebooks import check_parameters

try:
    import papermill
except ImportError as error:
    raise ImportError(f'A sweep needs an extra ({error}): pip install "mofa_lib[sweep]".') from None

FINISHED = "run.ipynb"


def sweep(notebook: str | Path, folder: str | Path, grid: Mapping[str, Sequence[object]]) -> Path:
    """Run a notebook once for each combination of values, and say where the table is.

    Args:
        notebook: a notebook with a cell tagged `parameters`, one of which is `out`.
        folder: of the sweep; runs that it holds already are not made again.
        grid: parameter → its values, or their texts.
    Returns:
        The CSV file: one line a run, a column for each parameter of the grid and for each value in
            the JSON files, by its path there, as in readings.literal.left. An interrupted sweep
            leaves it with the runs that are finished.
    Raises:
        ValueError: before the first run: there is no such notebook or parameter, a value is none
            that it can take, or the folder holds runs of something else. After a run: it has left
            no JSON.
        RuntimeError: a run has stopped with an error.
    """
    notebook, folder = Path(notebook), Path(folder).resolve()
    table = folder / "table.csv"
    runs = {folder / "runs" / _name(run): run for run in _combinations(notebook, grid)}
    _claim(folder, notebook)

    left = [place for place in runs if not _is_finished(place)]
    done = len(runs) - len(left)
    try:
        for place in tqdm(left, notebook.stem, unit="run", initial=done, total=len(runs)):
            _execute(notebook, place, runs[place])
    finally:
        rows = [run | _results(place) for place, run in runs.items() if _is_finished(place)]
        _write_table(table, rows)
    return table


def _combinations(notebook: Path, grid: Mapping[str, Sequence[object]]) -> list[dict[str, object]]:
    """The parameters of all runs, or the first reason against them."""
    if not notebook.is_file():
        raise ValueError(f"There is no notebook {notebook}.")
    known = papermill.inspect_notebook(notebook)
    if "out" not in known:
        raise ValueError(
            f"{notebook.name} has no parameter out, a folder for its numbers: "
            "there is nothing to collect."
        )
    own = [name for name in known if name != "out"]
    for name in grid:
        if name not in own:
            raise ValueError(
                f"{notebook.name} has no parameter {name!r} to sweep over; it has {', '.join(own)}."
            )
        if not grid[name]:
            raise ValueError(f"The parameter {name} has no value.")

    columns = []  # the values of each parameter
    for name, given in grid.items():
        kind = known[name]["inferred_type_name"]
        columns.append([_value(name, kind, value) for value in given])
    runs = [dict(zip(grid, values, strict=True)) for values in itertools.product(*columns)]

    # A chapter would refuse them later.
    if "check_parameters(" in notebook.read_text(encoding="utf8"):
        for run in runs:
            check_parameters(**run)
    return runs


def _value(name: str, kind: str, given: object) -> object:
    """A value, or its text, as the type that the notebook's parameter is annotated with."""
    text = str(given)
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        read = {"int": int, "float": float, "str": str}.get(kind, _guess)
        return read(text)
    except (KeyError, ValueError):
        meaning = {"bool": "True or False", "int": "a whole number", "float": "a number"}[kind]
        raise ValueError(f"The parameter {name} must be {meaning}, got {text!r}.") from None


def _guess(text: str) -> object:
    """What Python makes of a text, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _name(run: Mapping[str, object]) -> str:
    """Of a run's folder."""
    if not run:
        return "default"
    return ",".join(f"{name}={quote(str(value), safe='')}" for name, value in run.items())


def _is_finished(place: Path) -> bool:
    return (place / FINISHED).exists()


def _claim(folder: Path, notebook: Path) -> None:
    """Note what a run depends on beside its parameters, or refuse runs of something else."""
    made_with = {"made_with": _fingerprint(notebook)}
    note = folder / "sweep.json"
    if not note.exists():
        save_json(note, made_with)
    elif json.loads(note.read_text(encoding="utf8")) != made_with:
        raise ValueError(
            f"{folder} holds runs of another notebook, library or MOFA_PROFILE: "
            "delete it or choose another folder."
        )


def _fingerprint(notebook: Path) -> str:
    """SHA-256 over MOFA_PROFILE, the notebook and every file of the library."""
    total = hashlib.sha256(os.environ.get("MOFA_PROFILE", "").encode())
    total.update(notebook.read_bytes())
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            total.update(path.read_bytes())
    return total.hexdigest()


def _execute(notebook: Path, place: Path, run: Mapping[str, object]) -> None:
    """One run, from an empty folder; the name of its notebook says when it is finished."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    unfinished = place / "unfinished.ipynb"
    parameters = {**run, "out": str(place)}
    try:
        papermill.execute_notebook(notebook, unfinished, parameters, cwd=place, progress_bar=False)
    except papermill.PapermillExecutionError as error:
        raise RuntimeError(
            f"The run {place.name} stopped: {error.ename}: {error.evalue} "
            f"See {unfinished}; the same command goes on."
        ) from None
    if not list(place.glob("*.json")):
        raise ValueError(
            f"{notebook.name} wrote no JSON to {place}; "
            "does it do so only with another parameter, as live?"
        )
    unfinished.rename(place / FINISHED)


def _results(place: Path) -> dict[str, object]:
    """All that stands in the JSON files of a run."""
    results = {}
    for path in sorted(place.glob("*.json")):
        results |= _flat(json.loads(path.read_text(encoding="utf8")), path.stem)
    return results


def _flat(value: object, name: str) -> dict[str, object]:
    """The leaves of nested dictionaries and lists by their paths, joined by dots."""
    if not isinstance(value, dict | list):
        return {name: value}
    branches = value.items() if isinstance(value, dict) else enumerate(value)
    leaves = {}
    for key, branch in branches:
        leaves |= _flat(branch, f"{name}.{key}")
    return leaves


def _write_table(path: Path, rows: list[dict[str, object]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def main(arguments: list[str] | None = None) -> None:
    """The command line, see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m mofa_lib.sweep", description="Run a notebook over a grid of values."
    )
    parser.add_argument("notebook", type=Path)
    parser.add_argument("folder", type=Path, help="of the sweep; it goes on with what is there")
    parser.add_argument(
        "-p", nargs="+", action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter"
    )
    given = parser.parse_args(arguments)
    grid = {}
    for name, *values in given.p:
        grid.setdefault(name, []).extend(values)
    try:
        print(sweep(given.notebook, given.folder, grid))
    except (ValueError, RuntimeError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Interrupted; the same command goes on.")


if __name__ == "__main__":
    main()

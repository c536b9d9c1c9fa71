r"""One notebook and many parameters: a run for each combination of values, and a table of results.

    python -m mofa_lib.sweep book/07_attack.ipynb sweep \
        -p epsilon 0.02 0.05 -p cap 0.01 0.02 -p seed 0 1 2

The notebook has a parameter `out`, a folder, and writes its numbers there as JSON. Each run has a
folder of its own below `sweep/runs`, with these files and the executed notebook as `run.ipynb`.
The same command leaves finished runs alone, makes the others, and writes `sweep/table.csv`. With
`--workers 4` four runs go on at a time, with `--scheduler tcp://host:8786` those that the workers
of a Dask cluster take. It needs the extra `sweep`, a cluster also `cluster`.
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
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote

from tqdm import tqdm

from mofa_lib.artifacts import SHIPPED, cache_folder, save_json, write_bytes
from mofa_lib.notebooks import check_values
from mofa_lib.processes import alone
from mofa_lib.weights import own_digest, weights_folder
from mofa_lib.workers import LIBRARY, Executor, connect, each, library_digest, processes

try:
    import papermill
    from nbclient.exceptions import DeadKernelError
except ImportError as error:
    raise ImportError(f'A sweep needs an extra ({error}): pip install "mofa_lib[sweep]".') from None

FINISHED, UNFINISHED = "run.ipynb", "unfinished.ipynb"


def sweep(
    notebook: str | Path,
    folder: str | Path,
    grid: Mapping[str, Sequence[object]],
    executor: Executor | None = None,
) -> Path:
    """Run a notebook once for each combination of values, and say where the table is.

    Args:
        notebook: a notebook with a cell tagged `parameters`, one of which is `out`.
        folder: of the sweep; runs that it holds already are not made again.
        grid: parameter → its values, or their texts.
        executor: whose workers take the runs, see `mofa_lib.workers`; None makes them here, one
            after the other. Only this process writes to the folder, which no worker needs to see.
    Returns:
        The CSV file: one line a run, a column for each parameter and for each value in the JSON
            files, by its path there, as in readings.literal.left. The runs of this grid come first,
            in its order, then those of earlier ones. An interrupted sweep leaves it with the runs
            that are finished. Another sweep in the same folder is waited for.
    Raises:
        ValueError: before the first run: there is no such notebook or parameter, a value is none
            that it can take, or the folder holds runs of something else. After a run: it has left
            no JSON.
        RuntimeError: a run has stopped with an error, or a worker was lost.
    """
    notebook, folder = Path(notebook), Path(folder).resolve()
    runs = {folder / "runs" / _name(run): run for run in _combinations(notebook, grid)}
    with alone(folder, "This sweep is made"):
        _claim(folder, notebook)
        left = {place: run for place, run in runs.items() if not _is_finished(place)}
        source = notebook.read_text(encoding="utf8")
        done = len(runs) - len(left)
        bar = tqdm(desc=notebook.stem, unit="run", initial=done, total=len(runs))
        try:
            with bar:
                each(
                    _execute,
                    {place: (source, run) for place, run in left.items()},
                    partial(_keep, notebook.name, bar),
                    executor,
                )
        finally:
            _write_table(folder, list(runs))
    return folder / "table.csv"


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
            check_values(**run)
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


def _parameters(name: str) -> dict[str, str]:
    """The texts of a run's parameters, from the name of its folder."""
    if name == "default":
        return {}
    pairs = (pair.split("=", 1) for pair in name.split(","))
    return {key: unquote(value) for key, value in pairs}


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
            f"{folder} holds runs of another notebook, library or MOFA_PROFILE, or with other "
            "weights: delete it or choose another folder."
        )


def _fingerprint(notebook: Path) -> str:
    """SHA-256 over MOFA_PROFILE, the notebook, every file of the library and own weights."""
    total = hashlib.sha256(os.environ.get("MOFA_PROFILE", "").encode())
    total.update(notebook.read_bytes())
    total.update(library_digest().encode() + own_digest().encode())
    for path in sorted((SHIPPED / "results").glob("*.json")):
        total.update(path.read_bytes())
    return total.hexdigest()


def _execute(notebook: str, run: Mapping[str, object]) -> tuple[dict[str, bytes], str]:
    """One run, on any worker: the files that it leaves, by their paths, and its error or nothing.

    Args:
        notebook: its text.
        run: its parameters.
    """
    # A relative one means another folder in the notebook's.
    for name, folder in (("MOFA_CACHE", cache_folder), ("MOFA_WEIGHTS", weights_folder)):
        if name in os.environ:
            os.environ[name] = str(folder())
    # The library need not be installed: the notebook finds it where it is here.
    start = f"import sys; sys.path.insert(0, {str(LIBRARY.parent)!r})"
    error = ""
    with tempfile.TemporaryDirectory() as name:
        given, place = Path(name, "given.ipynb"), Path(name, "place")
        place.mkdir()
        given.write_text(notebook, encoding="utf8")
        try:
            papermill.execute_notebook(
                given,
                place / UNFINISHED,
                {**run, "out": str(place)},
                cwd=place,
                progress_bar=False,
                extra_arguments=[f"--IPKernelApp.exec_lines={start}"],
            )
        except papermill.PapermillExecutionError as stopped:
            error = f"{stopped.ename}: {stopped.evalue}"
        except DeadKernelError:
            error = "its kernel was ended; was there enough memory?"
        files = [path for path in place.rglob("*") if path.is_file()]
        return {path.relative_to(place).as_posix(): path.read_bytes() for path in files}, error


def _keep(notebook: str, bar: tqdm, place: Path, left: tuple[dict[str, bytes], str]) -> None:
    """Write what a run has left; the name of its notebook, which comes last, says it is finished.

    Args:
        notebook: its name.
        place: the run's folder.
        left: what `_execute` returns.
    """
    files, error = left
    shutil.rmtree(place, ignore_errors=True)
    executed = files.pop(UNFINISHED)
    for name, content in files.items():
        write_bytes(place / name, content)
    is_finished = not error and bool(list(place.glob("*.json")))
    write_bytes(place / (FINISHED if is_finished else UNFINISHED), executed)
    if error:
        raise RuntimeError(
            f"The run {place.name} stopped: {error} "
            f"See {place / UNFINISHED}; the same command goes on."
        )
    if not is_finished:
        raise ValueError(
            f"{notebook} wrote no JSON to {place}; does it do so only with another parameter, "
            "as live?"
        )
    bar.update()


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


def _write_table(folder: Path, runs: list[Path]) -> None:
    """All finished runs of the folder, these ones first."""
    earlier = sorted(set((folder / "runs").glob("*")) - set(runs))
    finished = [place for place in [*runs, *earlier] if _is_finished(place)]
    given = [_parameters(place.name) for place in finished]
    found = [_results(place) for place in finished]
    columns = list(dict.fromkeys(name for row in [*given, *found] for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(run | results for run, results in zip(given, found, strict=True))
    write_bytes(folder / "table.csv", text.getvalue().encode())


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
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, metavar="N", help="make N runs at a time")
    where.add_argument("--scheduler", default="", help="address of a Dask cluster that makes them")
    given = parser.parse_args(arguments)
    grid = {}
    for name, *values in given.p:
        grid.setdefault(name, []).extend(values)
    try:
        if given.workers is None:
            workers = nullcontext(connect(given.scheduler))
        else:
            workers = processes(given.workers)
        with workers as executor:
            print(sweep(given.notebook, given.folder, grid, executor))
    except (ValueError, RuntimeError, ImportError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Interrupted; the same command goes on.")


if __name__ == "__main__":
    from mofa_lib.sweep import main  # workers know the functions by their module's name

    main()

"""A sweep makes each run once, goes on after an interruption, and refuses what is wrong before the
first run.
"""

import csv
import json
import re
import shlex
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import papermill
import pytest
import torch

from mofa_lib import notebooks
from mofa_lib.artifacts import save_tensors
from mofa_lib.sweep import main, sweep

ROOT = Path(__file__).parents[1]

PARAMETERS = """
a: int = 1  # a factor
b: float = 0.5  # another
loud: bool = False  # whether to shout
out: str = ""  # where to
"""
WORK = """
import json
from pathlib import Path

if a == 13:
    raise ValueError("Thirteen!")
if a:
    Path(out, "found.json").write_text(json.dumps({"product": a * b, "both": [a, {"loud": loud}]}))
"""


def write_notebook(path: Path, *sources: str) -> Path:
    notebook = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
    )
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def notebook(tmp_path):
    return write_notebook(tmp_path / "tiny.ipynb", PARAMETERS, WORK)


@pytest.fixture
def asked(monkeypatch):
    """The parameters of the runs that papermill was asked for; nothing is run, `found.json` is
    written at once.
    """
    runs = []

    def instead(notebook, unfinished, parameters, **options):
        runs.append({name: value for name, value in parameters.items() if name != "out"})
        Path(unfinished).touch()
        Path(parameters["out"], "found.json").write_text(json.dumps({"number": len(runs)}))

    monkeypatch.setattr(papermill, "execute_notebook", instead)
    return runs


def read(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf8") as file:
        return list(csv.DictReader(file))


def test_a_sweep_goes_on_where_it_was_interrupted(notebook, tmp_path, monkeypatch, capsys):
    command = [str(notebook), str(tmp_path / "sweep"), "-p", "a", "2", "3", "-p", "b", "0.5"]
    execute, started = papermill.execute_notebook, []

    def execute_once(notebook, unfinished, parameters, **options):
        started.append(parameters["a"])
        if len(started) == 2:  # in the middle of a run
            Path(parameters["out"], "found.json").write_text('{"product": 0, "half"')
            raise KeyboardInterrupt
        return execute(notebook, unfinished, parameters, **options)

    monkeypatch.setattr(papermill, "execute_notebook", execute_once)
    with pytest.raises(SystemExit, match="the same command goes on"):
        main(command)
    assert [row["a"] for row in read(tmp_path / "sweep" / "table.csv")] == ["2"]

    main(command)
    assert started == [2, 3, 3]
    table = Path(capsys.readouterr().out.splitlines()[-1])
    assert table.parent == tmp_path / "sweep"
    assert read(table) == [
        {
            "a": a,
            "b": "0.5",
            "found.product": product,
            "found.both.0": a,
            "found.both.1.loud": "False",
        }
        for a, product in (("2", "1.0"), ("3", "1.5"))
    ]


def test_a_run_with_an_error_is_named_and_made_again(notebook, tmp_path):
    for _ in range(2):
        with pytest.raises(
            SystemExit, match=r"The run a=13 stopped: ValueError: Thirteen! See .*unfinished.ipynb"
        ):
            main([str(notebook), str(tmp_path / "sweep"), "-p", "a", "13"])
    with pytest.raises(ValueError, match=r"tiny.ipynb wrote no JSON to .*a=0;"):
        sweep(notebook, tmp_path / "sweep", {"a": [0]})


def test_each_combination_runs_once_with_the_right_types(notebook, tmp_path, asked):
    main([str(notebook), str(tmp_path / "sweep"), *"-p b 1 0.5 1.0 -p loud true False".split()])
    assert asked == [{"b": b, "loud": loud} for b in (1.0, 0.5) for loud in (True, False)]
    assert all(type(run["b"]) is float for run in asked)
    more = sweep(
        notebook, tmp_path / "sweep", {"b": [0.5, 2], "loud": [True]}
    )  # only one of them is new
    assert asked[4:] == [{"b": 2.0, "loud": True}]
    assert [row["found.number"] for row in read(more)] == ["3", "5", "4", "2", "1"]


def test_a_sweep_that_grows_keeps_its_rows(notebook, tmp_path, asked):
    """Also of other parameters, and with texts that look like folders."""
    folder = tmp_path / "sweep"
    for grid in ({"a": [2, 10]}, {}, {"b": [0.5], "a": [2]}, {"a": [3]}):
        table = sweep(notebook, folder, grid)
    assert list(read(table)[0]) == ["a", "b", "found.number"]
    assert [(row["a"], row["b"], row["found.number"]) for row in read(table)] == [
        ("3", "", "5"),
        ("10", "", "2"),
        ("2", "", "1"),
        ("2", "0.5", "4"),
        ("", "", "3"),
    ]
    named = write_notebook(tmp_path / "named.ipynb", 'name: str = ""\nout: str = ""', WORK)
    values = ["a=b,c/d", "ä %2C", "default"]
    sweep(named, tmp_path / "texts", {"name": values})
    table = sweep(named, tmp_path / "texts", {"name": ["default"]})
    assert {row["name"] for row in read(table)} == set(values)


def test_the_same_sweep_twice_at_once_makes_each_run_once(notebook, tmp_path, asked, monkeypatch):
    instead, tables = papermill.execute_notebook, []

    def slowly(*given, **options):
        time.sleep(0.05)
        instead(*given, **options)

    monkeypatch.setattr(papermill, "execute_notebook", slowly)

    def start():
        tables.append(read(sweep(notebook, tmp_path / "sweep", {"a": [1, 2, 3]})))

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert tables[0] == tables[1] == tables[2] and len(tables[0]) == 3


PLACE = """
import json, os, sys
from pathlib import Path

if a == 9:
    os._exit(9)
places = {name: os.environ[name] for name in ("MOFA_CACHE", "MOFA_WEIGHTS")}
found = {**places, "path": sys.path[0]}
Path(out, "found.json").write_text(json.dumps(found))
"""


def test_a_run_finds_the_library_and_the_cache_where_they_are_here(tmp_path, monkeypatch):
    """A library that is not installed, and relative folders. And a kernel that dies is named."""
    notebook = write_notebook(tmp_path / "place.ipynb", PARAMETERS, PLACE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOFA_CACHE", "cache of runs")
    monkeypatch.setenv("MOFA_WEIGHTS", "own")
    with pytest.raises(RuntimeError, match="The run a=9 stopped: its kernel was ended; was there"):
        sweep(notebook, "sweep", {"a": [1, 9]})
    (row,) = read(tmp_path / "sweep" / "table.csv")
    assert row["found.MOFA_CACHE"] == str(tmp_path / "cache of runs")
    assert row["found.MOFA_WEIGHTS"] == str(tmp_path / "own")
    assert (Path(row["found.path"]) / "mofa_lib" / "sweep.py").is_file()


def test_runs_of_something_else_are_not_mixed(notebook, tmp_path, asked, monkeypatch):
    monkeypatch.setenv("MOFA_WEIGHTS", str(tmp_path / "own"))
    sweep(notebook, tmp_path / "sweep", {"a": [1]})
    with monkeypatch.context() as other:
        other.setenv("MOFA_PROFILE", "paper")
        with pytest.raises(
            ValueError, match="holds runs of another notebook, library or MOFA_PROFILE, or with"
        ):
            sweep(notebook, tmp_path / "sweep", {"a": [1, 2]})
    save_tensors(tmp_path / "own" / "mofa_cpu-1of1.safetensors", {"w": torch.zeros(1)}, {})
    with pytest.raises(ValueError, match="or with other weights: delete it or choose another"):
        sweep(notebook, tmp_path / "sweep", {"a": [1, 2]})
    write_notebook(notebook, PARAMETERS, WORK + "# changed")
    with pytest.raises(ValueError, match="holds runs of another notebook"):
        sweep(notebook, tmp_path / "sweep", {"a": [1, 2]})
    assert asked == [{"a": 1}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("-p c 1", "tiny.ipynb has no parameter 'c' to sweep over; it has a, b, loud."),
        ("-p out here", "no parameter 'out' to sweep over"),
        ("-p a", "The parameter a has no value."),
        ("-p b 1 -p a 1 1.5", "The parameter a must be a whole number, got '1.5'."),
        ("-p b little", "The parameter b must be a number, got 'little'."),
        ("-p loud 1", "The parameter loud must be True or False, got '1'."),
    ],
)
def test_what_is_wrong_is_refused_before_the_first_run(notebook, tmp_path, asked, options, message):
    with pytest.raises(SystemExit, match=re.escape(message)):
        main([str(notebook), str(tmp_path / "sweep"), *options.split()])
    assert not asked and not (tmp_path / "sweep").exists()


def test_a_notebook_that_papermill_runs_may_sweep_over_another(tmp_path, asked, monkeypatch):
    """The parameters that it was given itself are not the other's."""
    shell = SimpleNamespace(user_ns={"In": ["", "# Parameters\nprofile = 'smoke'\n"]})
    monkeypatch.setattr(notebooks, "get_ipython", lambda: shell)
    chapter = write_notebook(
        tmp_path / "chapter.ipynb", PARAMETERS, "check_parameters(a=a, b=b, loud=loud, out=out)"
    )
    sweep(chapter, tmp_path / "sweep", {"loud": [True, False]})
    assert len(asked) == 2


def test_a_notebook_that_cannot_be_swept_is_refused(tmp_path, asked):
    with pytest.raises(ValueError, match="There is no notebook"):
        sweep(tmp_path / "none.ipynb", tmp_path / "sweep", {"a": [1]})
    silent = write_notebook(tmp_path / "silent.ipynb", "a: int = 1", "print(a)")
    with pytest.raises(
        ValueError, match="silent.ipynb has no parameter out, a folder for its numbers"
    ):
        sweep(silent, tmp_path / "sweep", {"a": [1]})
    assert not asked


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("-p epsilon 0.1 1.5", "epsilon must be a number from"),
        ("-p profile tpu", "There is no profile 'tpu'"),
    ],
)
def test_a_chapter_s_own_bounds_are_asked_first(tmp_path, asked, options, message):
    with pytest.raises(SystemExit, match=message):
        main([str(ROOT / "book" / "07_attack.ipynb"), str(tmp_path), *options.split()])
    assert not asked


@pytest.mark.parametrize("page", ["README.md", "book/guide_sweep.md", "mofa_lib/sweep.py"])
def test_the_documented_command_is_accepted(page, tmp_path, asked, monkeypatch):
    text = (ROOT / page).read_text(encoding="utf8").replace("\\\n", "")
    line, *_ = re.findall(r"python -m mofa_lib\.sweep (book.*)", text)
    notebook, folder, *options = shlex.split(line, comments=True)
    main([str(ROOT / notebook), str(tmp_path / folder), *options])
    assert {tuple(run) for run in asked} == {("epsilon", "cap", "seed")}
    assert len(asked) == len({tuple(run.values()) for run in asked}) > 4


def test_the_documented_command_for_a_cluster_is_accepted(tmp_path, asked, monkeypatch):
    text = (ROOT / "book/guide_sweep.md").read_text(encoding="utf8").replace("\\\n", "")
    (line,) = re.findall(r"python -m mofa_lib\.sweep (book.*--scheduler.*)", text)
    notebook, folder, *options = shlex.split(line)
    addresses = []
    monkeypatch.setattr("mofa_lib.sweep.connect", addresses.append)
    main([str(ROOT / notebook), str(tmp_path / folder), *options])
    assert addresses == ["tcp://192.168.0.7:8786"] and len(asked) == 4

"""Two workers of a Dask cluster, and submitit's: the same numbers, and a worker may be killed."""

import csv
import os
import signal

import nbformat
import pytest
import submitit
import torch
from dask.distributed import LocalCluster

from mofa_lib import workers
from mofa_lib.parts import Parts
from mofa_lib.sweep import main
from mofa_lib.workers import connect

PICTURES = torch.rand(7, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def sines():
    """A function in no module: it travels by value, as a notebook's."""
    return lambda start, count, x=PICTURES: {"sine": x[start : start + count].sin()}


@pytest.fixture(scope="module")
def scheduler():
    """Its address."""
    with LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def test_a_worker_that_is_killed_costs_nothing(scheduler, cache, tmp_path):
    """Its part is made by the other one; each part is kept once."""

    def work(start, count, x=PICTURES):
        mark = tmp_path / f"{start}"
        with mark.open("a") as file:
            file.write("x")
        if start == 4 and mark.read_text() == "x":
            os.kill(os.getpid(), signal.SIGKILL)
        return {"sine": x[start : start + count].sin()}

    found = Parts("there", connect(scheduler), size=2)
    assert found("sine", work, 7)["sine"].equal(PICTURES.sin())
    assert (tmp_path / "4").read_text() == "xx"
    assert len(list(found.folder.glob("*.safetensors"))) == 4


def test_a_worker_with_another_library_is_refused(scheduler, cache, sines, monkeypatch):
    monkeypatch.setattr(workers, "library_digest", lambda: "another")
    with pytest.raises(RuntimeError, match="The worker on .* has another version of mofa_lib"):
        Parts("test", connect(scheduler), size=2)("sine", sines, 7)


def write_notebook(path, runs):
    """Its run 13 stops with an error, as soon as the runs 2 and 3 are kept in a folder."""
    parameters = 'a: int = 1\nout: str = ""'
    work = f"""
import time
from pathlib import Path
while a == 13 and not all(Path({str(runs)!r}, f"a={{n}}", "run.ipynb").exists() for n in (2, 3)):
    time.sleep(0.1)
if a == 13:
    raise ValueError("Thirteen!")
Path(out, "found.json").write_text('{{"square": ' + str(a * a) + "}}")
"""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in (parameters, work)]
    notebook.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, path)


@pytest.mark.parametrize("where", ["scheduler", "workers"])
def test_a_sweep_is_shared_out(where, scheduler, tmp_path):
    """A run with an error is named, and the others are there."""
    write_notebook(tmp_path / "tiny.ipynb", tmp_path / "sweep" / "runs")
    command = [str(tmp_path / "tiny.ipynb"), str(tmp_path / "sweep"), "-p", "a", "2", "3", "13"]
    with pytest.raises(SystemExit, match="The run a=13 stopped: ValueError: Thirteen! See .*unfin"):
        main([*command, f"--{where}", {"scheduler": scheduler, "workers": "2"}[where]])
    with (tmp_path / "sweep" / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"a": "2", "found.square": "4"}, {"a": "3", "found.square": "9"}]


@pytest.mark.parametrize("cluster", ["debug", "local"])
def test_submitit_s_jobs_are_workers(cluster, cache, sines, tmp_path):
    executor = submitit.AutoExecutor(folder=tmp_path / "jobs", cluster=cluster)
    executor.update_parameters(timeout_min=5)
    found = Parts(cluster, executor, size=7)("sine", sines, 7)
    assert found["sine"].equal(PICTURES.sin())

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


@pytest.fixture(scope="module")
def scheduler():
    """Its address."""
    with LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def test_a_worker_that_is_killed_costs_nothing(scheduler, cache, tmp_path):
    """Its part is made by the other one; each part is kept once."""

    def work(images):  # in no module: it travels by value, as a notebook's function
        mark = tmp_path / f"{float(images[0, 0, 0, 0])}"
        with mark.open("a") as file:
            file.write("x")
        if images[0, 0, 0, 0] == PICTURES[4, 0, 0, 0] and mark.read_text() == "x":
            os.kill(os.getpid(), signal.SIGKILL)
        return images.sin()

    here = Parts("here", size=2)("sine", torch.sin, PICTURES)
    found = Parts("there", connect(scheduler), size=2)
    assert found("sine", work, PICTURES).equal(here)
    times = [(tmp_path / f"{float(x[0, 0, 0])}").read_text() for x in PICTURES[::2]]
    assert times[2] == "xx"
    assert len(list((found.folder / "sine").iterdir())) == 4


def test_a_worker_with_another_library_is_refused(scheduler, cache, monkeypatch):
    monkeypatch.setattr(workers, "library_digest", lambda: "another")
    with pytest.raises(RuntimeError, match="The worker on .* has another version of mofa_lib"):
        Parts("test", connect(scheduler), size=2)("sine", torch.sin, PICTURES)


def write_notebook(path):
    parameters = 'a: int = 1\nout: str = ""'
    work = 'import os\nfrom pathlib import Path\nif a == 13:\n    raise ValueError("Thirteen!")\n'
    work += 'Path(out, "found.json").write_text(\'{"square": \' + str(a * a) + "}")'
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in (parameters, work)]
    notebook.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, path)


@pytest.mark.parametrize("where", ["scheduler", "workers"])
def test_a_sweep_is_shared_out(where, scheduler, tmp_path):
    """A run with an error is named, and the others are there."""
    write_notebook(tmp_path / "tiny.ipynb")
    command = [str(tmp_path / "tiny.ipynb"), str(tmp_path / "sweep"), "-p", "a", "2", "3", "13"]
    with pytest.raises(SystemExit, match="The run a=13 stopped: ValueError: Thirteen! See .*unfin"):
        main([*command, f"--{where}", {"scheduler": scheduler, "workers": "2"}[where]])
    with (tmp_path / "sweep" / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"a": "2", "found.square": "4"}, {"a": "3", "found.square": "9"}]


@pytest.mark.parametrize("cluster", ["debug", "local"])
def test_submitit_s_jobs_are_workers(cluster, cache, tmp_path):
    executor = submitit.AutoExecutor(folder=tmp_path / "jobs", cluster=cluster)
    executor.update_parameters(timeout_min=5)
    found = Parts(cluster, executor, size=7)("sine", lambda images: images.sin(), PICTURES)
    assert found.equal(PICTURES.sin())

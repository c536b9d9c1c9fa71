"""Work that is shared out: everything once, nothing lost by an error, equal libraries only."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from mofa_lib import workers
from mofa_lib.workers import connect, each, library_digest


@pytest.fixture
def two():
    with ThreadPoolExecutor(2) as executor:
        yield executor


def halved(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd.")
    return number // 2


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(2)])
def test_every_result_is_kept_under_its_key(executor):
    kept = {}
    each(halved, {f"half of {n}": (n,) for n in range(0, 20, 2)}, kept.__setitem__, executor)
    assert kept == {f"half of {n}": n // 2 for n in range(0, 20, 2)}


def test_an_error_comes_last_and_costs_nothing_that_was_begun():
    """The first job has failed while the second one runs and the others wait for a worker."""
    jobs, kept = [Future() for _ in range(50)], {}
    failed, running, *waiting = jobs

    class Executor:
        def submit(self, function, *arguments):
            job = jobs[arguments[-1]]
            if job in (failed, running):
                job.set_running_or_notify_cancel()
            if job is failed:
                job.set_result(function(*arguments))
            if job is running:  # until the last one is called off
                jobs[-1].add_done_callback(lambda _: job.set_result(function(*arguments)))
            return job

    def work(number):
        if number == 0:
            raise ValueError("Zero!")
        return number

    with pytest.raises(ValueError, match="Zero!"):
        each(work, {n: (n,) for n in range(50)}, kept.__setitem__, Executor())
    assert kept == {1: 1} and all(job.cancelled() for job in waiting)


def test_an_error_here_stops_at_once():
    kept = {}
    with pytest.raises(ValueError, match="3 is odd"):
        each(halved, {n: (n,) for n in (2, 3, 4)}, kept.__setitem__)
    assert kept == {2: 1}


def test_a_worker_that_is_gone_is_a_sentence():
    class Broken(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            return super().submit(int, "gone")

    said = (
        r"A worker ended before its work was done \(ValueError: .*gone.*\); the same call goes on"
    )
    with pytest.raises(RuntimeError, match=said), Broken(1) as executor:
        each(halved, {2: (2,)}, {}.__setitem__, executor)


def test_another_library_is_refused(two, monkeypatch):
    here = threading.current_thread()

    def digest():
        return "ours" if threading.current_thread() is here else "theirs"

    monkeypatch.setattr(workers, "library_digest", digest)
    kept = {}
    with pytest.raises(
        RuntimeError,
        match="has another version of mofa_lib, torch or NumPy: install there what is installed",
    ):
        each(halved, {2: (2,)}, kept.__setitem__, two)
    assert kept == {}


def test_the_digest_is_of_what_decides_numbers(tmp_path, monkeypatch):
    library_digest.cache_clear()
    monkeypatch.setattr(workers, "LIBRARY", tmp_path)
    found = []
    for change in ("a.py", "shipped/weights", "shipped/results", "b.pyc"):
        path = tmp_path / change / "file" if "/" in change else tmp_path / change
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"new")
        found.append(library_digest())
        library_digest.cache_clear()
    monkeypatch.setattr(workers.torch, "__version__", "1.0")
    found.append(library_digest())
    library_digest.cache_clear()
    code, weights, results, compiled, torch = found
    assert code != weights == results == compiled != torch


def test_no_address_means_here():
    assert connect("") is None


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense"])
def test_an_address_where_nobody_answers_is_a_sentence(address, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 0.2)
    with pytest.raises(ValueError, match=f"No Dask scheduler answers at {address}: start one with"):
        connect(address)

"""One function, many arguments: done here, one after the other, or by workers, also of a cluster.

Workers are asked through an executor: one of `concurrent.futures`, Dask's `client.get_executor()`,
or submitit's for Slurm. Used in chapters 10 to 13.
"""

import hashlib
import multiprocessing
import os
import platform
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy
import torch

from mofa_lib.processes import cores, end_after

Key, Result = TypeVar("Key"), TypeVar("Result")

LIBRARY = Path(__file__).parent
OFTEN = 0.05  # seconds between two looks at what the workers have done
PATIENCE = 20  # seconds in which a scheduler must answer


@runtime_checkable
class Executor(Protocol):
    """Whatever gives work to workers; its jobs have `done()`, `result()` and `cancel()`."""

    def submit(self, function: Callable, /, *arguments: object): ...


def each(
    function: Callable[..., Result],
    jobs: Mapping[Key, tuple],
    keep: Callable[[Key, Result], None],
    executor: Executor | None = None,
) -> None:
    """Call a function for many arguments and keep every result as soon as it is there.

    After an error the other jobs are called off, and it is raised when none is left. What is kept
    already stays; processes here also finish and keep what they have begun, which Dask and Slurm
    call off.

    Args:
        function: one that a worker can import, or unpickle.
        jobs: its arguments, by a key of one's own.
        keep: called here, with the key and the result.
        executor: asks the workers; None works here.
    Raises:
        RuntimeError: a worker was lost, or has another version of the library.
        Exception: what `function` or `keep` raises.
    """
    if executor is None:
        for key, arguments in jobs.items():
            keep(key, function(*arguments))
        return

    version = library_digest()
    begun = {}  # by key
    for key, arguments in jobs.items():
        begun[key] = executor.submit(_on_a_worker, version, function, *arguments)
    first = None  # error
    try:
        while begun:
            for key in [key for key, job in begun.items() if job.done()]:
                try:
                    keep(key, _result(begun.pop(key)))
                except Exception as error:
                    first = first or error
                    begun = {key: job for key, job in begun.items() if not job.cancel()}
                    break
            time.sleep(OFTEN)
    finally:
        for job in begun.values():
            job.cancel()
    if first:
        raise first


def _on_a_worker(version: str, function: Callable, *arguments: object) -> tuple:
    """The result and None, or None and the error: what is raised beside it is the executor's."""
    try:
        if library_digest() != version:
            raise RuntimeError(
                f"The worker on {platform.node()} has another version of mofa_lib, torch or NumPy: "
                "install there what is installed here."
            )
        return function(*arguments), None
    except Exception as error:
        error.add_note(f"On {platform.node()}:\n{traceback.format_exc()}")
        return None, error


def _result(job) -> object:
    try:
        result, error = job.result()
    except Exception as lost:
        raise RuntimeError(
            f"A worker ended before its work was done ({type(lost).__name__}: {lost}); "
            "the same call goes on with what is left."
        ) from lost
    if error:
        raise error
    return result


@cache
def library_digest() -> str:
    """SHA-256 over the library's files, and the versions of torch and NumPy: what decides numbers.

    The files are code, models and weights, not the results that were made with them.
    """
    versions = torch.__version__.split("+")[0], numpy.__version__
    total = hashlib.sha256(" ".join(versions).encode())
    for path in sorted(LIBRARY.rglob("*")):
        inside = path.relative_to(LIBRARY)
        if path.is_file() and path.suffix != ".pyc" and inside.parts[:2] != ("shipped", "results"):
            total.update(inside.as_posix().encode() + path.read_bytes())
    return total.hexdigest()


def processes(count: int) -> ProcessPoolExecutor:
    """Workers on this computer, which share its cores and end when this process does.

    Raises:
        ValueError: there is to be none.
    """
    if count < 1:
        raise ValueError(f"There must be at least one worker, got {count}.")
    share = str(max(1, cores() // count))
    return ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(share,)
    )


def _begin(threads: str) -> None:
    """What a process does first; what it starts inherits the number of threads."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = threads
    end_after(multiprocessing.parent_process().join)


def connect(scheduler: str) -> Executor | None:
    """The workers behind a Dask scheduler; None, which means here, for an empty address.

    Args:
        scheduler: its address, as in "tcp://192.168.0.7:8786".
    Raises:
        ImportError: Dask is not installed.
        ValueError: no scheduler answers there.
    """
    if not scheduler:
        return None
    try:
        import dask
        from distributed import Client
    except ImportError as error:
        raise ImportError(
            f'A cluster needs an extra ({error}): pip install "mofa_lib[cluster]".'
        ) from None
    # A part brings its network along; Dask would warn of that each time.
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"})
    try:
        client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError):
        raise ValueError(
            f"No Dask scheduler answers at {scheduler}: start one with `dask scheduler`, "
            "and give the address that it prints."
        ) from None
    return client.get_executor(pure=False)

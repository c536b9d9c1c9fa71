"""An experiment on many pictures in parts, each kept as soon as it is there, here or by workers.

Used in chapters 10 to 13.
"""

import hashlib
import json
import pickle
import shutil
import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import quote

import torch
from torch import Tensor
from tqdm import tqdm

from mofa_lib.artifacts import (
    cache_folder,
    load_tensors,
    save_json,
    save_tensors,
    writing_to_cache,
)
from mofa_lib.notebooks import executed_cells
from mofa_lib.weights import own_digest
from mofa_lib.workers import Executor, each, library_digest


class Parts:
    """Calls functions of many pictures part by part, and keeps the parts for the next attempt.

    Started again, the same experiment goes on where it was stopped. An attack's last digits depend
    on the pictures that are attacked together and on the number of threads. So both are fixed: a
    part has `size` pictures however many workers there are, and all are computed with as many
    threads as the first. Then the parts join to what one run gives.

    Args:
        name: of the experiment.
        executor: whose workers compute the parts, see `mofa_lib.workers`; None computes here. A
            worker gets the function with all that it uses, so it needs no weights.
        size: pictures of a part.
        parameters: what decides the numbers beside the library, the notebook's cells and weights.
    Attributes:
        earlier: seconds that those parts took which were only read.
    """

    def __init__(
        self, name: str, executor: Executor | None = None, size: int = 50, **parameters: object
    ):
        self.executor = executor
        self.size = size
        self.earlier = 0.0
        self._name = name
        self._parameters = parameters

    @cached_property
    def folder(self) -> Path:
        """Where the parts are kept, in the cache: a folder for each state of the experiment."""
        total = hashlib.sha256(library_digest().encode())
        total.update(json.dumps([self.size, self._parameters, executed_cells()]).encode())
        total.update(own_digest().encode())
        return cache_folder() / "parts" / f"{self._name}-{total.hexdigest()[:12]}"

    @cached_property
    def threads(self) -> int:
        """With how many threads each part is computed: those that the first attempt had."""
        note = self.folder / "threads.json"
        if not note.is_file():
            with writing_to_cache(0):
                save_json(note, {"threads": torch.get_num_threads()})
        return json.loads(note.read_text(encoding="utf8"))["threads"]

    def __call__(self, name: str, function: Callable[..., Tensor], *pictures: Tensor) -> Tensor:
        """What the function makes of the pictures.

        Args:
            name: of what is made, another one for each call.
            function: of batches of pictures, on the CPU; gives a row for each picture, on any
                device. With an executor it may be one that the notebook defines.
            pictures: one or more batches of the same length, each (N, …).
        Raises:
            OSError: the cache cannot be written.
            RuntimeError: a worker was lost, or has another version of the library.
        """
        folder = self.folder / quote(name, safe=" ")
        starts = range(0, len(pictures[0]), self.size)
        made = {start: self._read(folder, start) for start in starts}  # None is missing

        if self.executor is None:
            work = partial(_compute, function)
        else:
            work = partial(_compute_pickled, _pickled(function))
        jobs = {}
        for start in starts:
            if made[start] is None:
                # A view would take all pictures along to a worker.
                batches = (batch[start : start + self.size].clone() for batch in pictures)
                jobs[start] = (self.threads, *batches)
        done = len(made) - len(jobs)
        with tqdm(desc=name, unit="part", initial=done, total=len(made)) as bar:

            def keep(start: int, found: tuple[Tensor, float]) -> None:
                made[start], seconds = found
                with writing_to_cache(len(made) * made[start].nbytes):
                    save_tensors(_file(folder, start), {"made": made[start]}, {"seconds": seconds})
                bar.update()

            each(work, jobs, keep, self.executor)
        return torch.cat(list(made.values()))

    def _read(self, folder: Path, start: int) -> Tensor | None:
        """A part that is there already; nothing if it is missing, or damaged."""
        try:
            tensors, about = load_tensors(_file(folder, start))
        except (FileNotFoundError, ValueError):
            return None
        self.earlier += about["seconds"]
        return tensors["made"]

    def finish(self) -> None:
        """Delete the parts: the experiment is over, and its result is kept elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _file(folder: Path, start: int) -> Path:
    return folder / f"{start:06d}.safetensors"


def _pickled(function: Callable) -> bytes:
    """Also a function that a notebook defines, with all that it uses."""
    try:
        import cloudpickle
    except ImportError as error:
        raise ImportError(
            f'Workers need an extra ({error}): pip install "mofa_lib[cluster]".'
        ) from None
    return cloudpickle.dumps(function)


def _compute(function: Callable, threads: int, *batches: Tensor) -> tuple[Tensor, float]:
    """One part, and the seconds that it took."""
    started, before = time.monotonic(), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = function(*batches).detach().cpu()
    finally:
        torch.set_num_threads(before)
    return found, time.monotonic() - started


def _compute_pickled(function: bytes, threads: int, *batches: Tensor) -> tuple[Tensor, float]:
    return _compute(pickle.loads(function), threads, *batches)

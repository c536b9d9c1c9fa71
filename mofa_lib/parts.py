"""An experiment on many pairs in parts, each kept as soon as it is there, here or by workers.

Used in chapters 6 and 10 to 13.
"""

import hashlib
import json
import pickle
import shutil
import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from mofa_lib.artifacts import (
    cache_folder,
    load_tensors,
    save_json,
    save_tensors,
    writing_to,
)
from mofa_lib.inputs import whole
from mofa_lib.notebooks import executed_cells
from mofa_lib.profiles import has_bfloat16
from mofa_lib.weights import own_digest
from mofa_lib.workers import Executor, each, library_digest

Measured = dict[str, object]  # tensors with a row for each pair, or dictionaries of them


class Parts:
    """Measures many pairs part by part, and keeps what was measured for the next attempt.

    Started again, the same experiment goes on where it was stopped, also with more pairs than
    before. Only numbers are kept, no pictures: the parts of an experiment take a few megabytes, and
    can be carried to another computer. What an attack finds depends on the pictures that are
    attacked together, on the number of threads, and on whether it searches in bfloat16. All three
    are fixed: a part has `size` pairs however many workers there are, all are computed with as many
    threads as the first, and where the processor has bfloat16, none is taken from where it has not.
    (The last digits depend on the processor all the same.)

    Args:
        name: of the experiment.
        executor: whose workers compute the parts, see `mofa_lib.workers`; None computes here. A
            worker gets the function with all that it uses, so it needs no weights.
        size: pairs of a part.
        folder: where parts are kept, in one folder for each state of the experiment; by default in
            the cache.
        parameters: what decides the numbers beside the library, the notebook's cells and weights.
    Attributes:
        earlier: seconds that those parts took which were only read.
    """

    def __init__(
        self,
        name: str,
        executor: Executor | None = None,
        size: int = 25,
        folder: str | Path = "",
        **parameters: object,
    ):
        self.executor = executor
        self.size = size
        self.earlier = 0.0
        self._name = name
        self._parent = folder
        self._parameters = parameters

    @cached_property
    def folder(self) -> Path:
        """Where the parts are kept: a folder for each state of the experiment."""
        total = hashlib.sha256(library_digest().encode())
        fixed = [self.size, self._parameters, executed_cells(), has_bfloat16()]
        total.update(json.dumps(fixed).encode())
        total.update(own_digest().encode())
        parent = Path(self._parent) if self._parent else cache_folder() / "parts"
        return parent / f"{self._name}-{total.hexdigest()[:12]}"

    @cached_property
    def threads(self) -> int:
        """With how many threads each part is computed: those that the first attempt had."""
        note = self.folder / "threads.json"
        if not note.is_file():
            with writing_to(self.folder, 0):
                save_json(note, {"threads": torch.get_num_threads()})
        return json.loads(note.read_text(encoding="utf8"))["threads"]

    def __call__(self, name: str, measure: Callable[[int, int], Measured], count: int) -> Measured:
        """What is measured of all pairs, joined.

        Args:
            name: of what is measured, another one for each call.
            measure: of some pairs, given the number of the first and how many; gives tensors with a
                row for each pair, in dictionaries of any depth. With an executor it may be a
                function that the notebook defines.
            count: of all pairs.
        Raises:
            OSError: the parts cannot be written.
            RuntimeError: a worker was lost, or has another version of the library or no bfloat16
                where it is used here, or the other way round.
        """
        count = whole("count", count, 1)
        jobs, made = {}, {}
        for start in range(0, count, self.size):
            few = min(self.size, count - start)
            made[start, few] = self._read(self._file(name, start, few))  # None is missing
            if made[start, few] is None:
                jobs[start, few] = (self.threads, start, few)

        if self.executor is None:
            work = partial(_compute, measure)
        else:
            work = partial(_compute_pickled, _pickled(measure))
        with tqdm(desc=name, unit="part", initial=len(made) - len(jobs), total=len(made)) as bar:

            def keep(which: tuple[int, int], found: tuple[dict[str, Tensor], dict]) -> None:
                made[which], about = found
                if about["bfloat16"] != has_bfloat16():
                    raise RuntimeError(
                        "A worker attacks in another precision than this computer: only one of "
                        "their processors has bfloat16. Take workers of the same kind."
                    )
                about |= {"names": list(made[which])}  # a file sorts them, tables keep their order
                with writing_to(self.folder, sum(x.nbytes for x in made[which].values())):
                    save_tensors(self._file(name, *which), made[which], about)
                bar.update()

            each(work, jobs, keep, self.executor)
        return _joined(list(made.values()))

    def _file(self, name: str, start: int, count: int) -> Path:
        return self.folder / f"{name} {start:06d}+{count}.safetensors"

    def _read(self, file: Path) -> dict[str, Tensor] | None:
        """A part that is there already; nothing if it is missing, or damaged."""
        try:
            tensors, about = load_tensors(file)
        except (FileNotFoundError, ValueError):
            return None
        self.earlier += about["seconds"]
        return {name: tensors[name] for name in about["names"]}

    def finish(self) -> None:
        """Delete the parts: the experiment is over, and its result is kept elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _flat(measured: Measured, above: tuple[str, ...] = ()):
    """The tensors by their names, outermost first, as JSON.

    They are copies on the CPU: a file takes no two tensors that share memory.
    """
    for name, value in measured.items():
        if isinstance(value, Tensor):
            rows = value.detach().to("cpu", copy=True)
            yield json.dumps([*above, name], ensure_ascii=False), rows
        else:
            yield from _flat(value, (*above, name))


def _joined(parts: list[dict[str, Tensor]]) -> Measured:
    """All pairs, under names within names again."""
    whole: Measured = {}
    for key in parts[0]:
        *above, name = json.loads(key)
        place = whole
        for outer in above:
            place = place.setdefault(outer, {})
        place[name] = torch.cat([part[key] for part in parts])
    return whole


def _pickled(function: Callable) -> bytes:
    """Also a function that a notebook defines, with all that it uses."""
    try:
        import cloudpickle
    except ImportError as error:
        raise ImportError(
            f'Workers need an extra ({error}): pip install "mofa_lib[cluster]".'
        ) from None
    return cloudpickle.dumps(function)


def _compute(
    measure: Callable, threads: int, start: int, count: int
) -> tuple[dict[str, Tensor], dict]:
    """One part, the seconds that it took, and whether attacks searched in bfloat16."""
    started, before = time.monotonic(), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = measure(start, count)
    finally:
        torch.set_num_threads(before)
    return dict(_flat(found)), {"seconds": time.monotonic() - started, "bfloat16": has_bfloat16()}


def _compute_pickled(
    measure: bytes, threads: int, start: int, count: int
) -> tuple[dict[str, Tensor], dict]:
    return _compute(pickle.loads(measure), threads, start, count)

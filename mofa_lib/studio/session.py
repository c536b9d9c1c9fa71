"""A set of photographs ordered from the studio: drawn on every core, kept on disk.

Here it is decided who comes, and by which chance.
"""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from functools import cache, cached_property, lru_cache, partial

import numpy as np
import torch
from tqdm import tqdm

from mofa_lib.artifacts import cache_folder, writing_to
from mofa_lib.processes import alone, cores, end_after
from mofa_lib.studio.cache import FaceCache
from mofa_lib.studio.casting import Person
from mofa_lib.studio.photographer import Photographs, Studio
from mofa_lib.studio.recipe import recipe

SPLITS = ("train", "validation", "calibration", "test")
FEW = 400  # so few pictures are not worth the start of other processes
ONE_THREAD = threading.Lock()  # the number of threads is the process's, not the session's
# Glibc gives large blocks back to the system and faults them in again, picture by picture, which is
# a quarter of the time: let it keep them. Bytes; other systems read nothing of it.
KEEPING_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "200000000",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
}


@dataclass(frozen=True)
class PhotoSession:
    """Everything that decides a set of pictures; equal sessions give equal bytes.

    Attributes as in `RenderedFaces`.
    """

    split: str
    count: int
    seed: int
    size: int
    per_identity: int
    plain: bool
    start: int = 0
    part: int = 200  # pictures, about, that are drawn, checked and kept together

    @cached_property
    def cache(self) -> FaceCache:
        """Images, landmarks and skin masks on disk; its parts end with a person."""
        name = (
            f"{self.split}-{self.count}-{self.seed}-{self.size}-{self.per_identity}-{self.recipe}"
        )
        if self.plain:
            name += "-plain"
        if self.start:
            name += f"-from-{self.start}"
        arrays = {
            "images": (np.uint8, (self.count, 3, self.size, self.size)),
            "landmarks": (np.float32, (self.count, 68, 2)),
            "skin": (np.bool_, (self.count, self.size, self.size)),
        }
        part = max(1, self.part // self.per_identity) * self.per_identity
        return FaceCache(cache_folder() / "faces" / name, arrays, part)

    @property
    def recipe(self) -> str:
        """What else decides how the pictures look."""
        return recipe()

    @property
    def studio(self) -> Studio:
        """Where the pictures are taken."""
        return _studio(self.plain)

    def person(self, identity: int) -> Person:
        """The person with this number, which counts from 0 in every session."""
        identity += self.start // self.per_identity
        # The leading 0 and, in `rng`, 1 keep people and pictures independent.
        return _person(self.plain, (0, SPLITS.index(self.split), self.seed, identity))

    def rng(self, index: int) -> np.random.Generator:
        """The chance behind the picture with this number, which counts likewise."""
        index += self.start
        return np.random.default_rng([1, SPLITS.index(self.split), self.seed, index])

    def complete(self) -> None:
        """Draw whatever is not in the cache, or is damaged there.

        Others who want the same pictures at the same time wait for them.

        Raises:
            OSError: the cache cannot be written, or its disk is full.
            RuntimeError: a process that drew has failed, or the pictures are not as it drew them.
        """
        if not self.cache.missing():
            return
        folder, size = self.cache.folder, self.cache.size
        with writing_to(folder, size), alone(folder, "These faces are drawn"):
            missing = self.cache.missing()
            if missing:
                self._draw_all(missing)

    def _draw_all(self, missing: list[int]) -> None:
        """Draw parts and say how far they are."""
        self.cache.begin()
        to_draw = len(missing) * self.cache.part  # about: the last part may be shorter
        title, short = f"rendering faces ({self.split})", self.count < 32
        bar = tqdm(total=self.count, desc=title, unit="face", disable=short)
        bar.update(self.count - min(self.count, to_draw))
        if to_draw <= FEW:
            self.draw(missing, bar)
        else:
            self._draw_on_every_core(missing, bar)
        bar.close()

        if self.cache.missing():
            raise RuntimeError(
                f"Faces are not in {self.cache.folder} as they were drawn; is the disk full?"
            )

    def draw(self, parts: list[int], bar: tqdm | None = None) -> None:
        """Draw parts, with one thread: then the bytes do not depend on the number of cores."""
        with ONE_THREAD:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            try:
                for start in parts:
                    photographs = self._photographs(start, bar)
                    self.cache.write(
                        start,
                        images=photographs.images.numpy(),
                        landmarks=photographs.landmarks.numpy(),
                        skin=photographs.skin.numpy(),
                    )
            finally:
                torch.set_num_threads(threads)

    def _photographs(self, start: int, bar: tqdm | None) -> Photographs:
        """The pictures of the part that begins with this one, person by person."""
        end = min(start + self.cache.part, self.count)
        taken = []
        for first in range(start, end, self.per_identity):
            person = self.person(first // self.per_identity)
            last = min(first + self.per_identity, end)
            rngs = [self.rng(index) for index in range(first, last)]
            taken.append(self.studio.photograph(person, rngs, self.size))
            if bar:
                bar.update(len(rngs))
        return Photographs.joined(taken)

    def _draw_on_every_core(self, missing: list[int], bar: tqdm) -> None:
        """Draw parts in processes of their own, and say how far they are."""
        count = min(cores(), len(missing))
        # The library need not be installed: it is found as here.
        call = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import work; work()"
        program = [sys.executable, "-c", call, json.dumps(asdict(self))]
        environment = (
            os.environ
            | {
                "MOFA_CACHE": str(cache_folder()),
                "OMP_NUM_THREADS": "1",  # NumPy has threads as well
                "OPENBLAS_NUM_THREADS": "1",
            }
            | KEEPING_MEMORY
        )
        workers = []
        for k in range(count):
            command = [*program, json.dumps(missing[k::count])]
            # The pipe ends with this process.
            worker = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)
            workers.append(worker)
        try:
            while any(worker.poll() is None for worker in workers):
                time.sleep(0.2)
                bar.n = min(self.count, len(self.cache.kept()) * self.cache.part)
                bar.refresh()
        finally:
            for worker in workers:
                worker.terminate()
            ends = [worker.wait() for worker in workers]
        if any(ends):
            raise RuntimeError(
                "A process that rendered faces ended too early; "
                "the same call goes on where it stopped."
            )


def work() -> None:
    """Draw the parts that the command line names: what every core is started with."""
    end_after(partial(os.read, 0, 1))
    session, parts = sys.argv[1:]
    PhotoSession(**json.loads(session)).draw(json.loads(parts))


@lru_cache(maxsize=2)  # all pictures of a person come one after the other
def _person(plain: bool, chance: tuple[int, ...]) -> Person:
    return _studio(plain).person(np.random.default_rng(chance))


@cache
def _studio(plain: bool) -> Studio:
    return Studio(plain)

"""Processes beside each other: how many, none that outlives its parent, one at a time in a folder.

Used wherever the library draws, attacks or sweeps on several cores or machines.
"""

import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

CGROUP = Path("/sys/fs/cgroup")  # where a container finds its own limits
# Microseconds of processor time in a period, and the period: in version 2 of control groups, in 1.
QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))


def cores() -> int:
    """Processor cores that this process may use: not those that belong to others.

    They are those of its affinity, and no more than its container's share of time is worth.
    """
    return max(1, math.ceil(min(_allowed(), _share())))


def _allowed() -> int:
    """Cores on which this process may run."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _share() -> float:
    """How many cores' time the container may take, which may be half of one; inf without a limit.

    Python's own counts, also those of 3.13, know nothing of it.
    """
    for files in QUOTAS:
        with suppress(OSError, ValueError):  # no such file, or the word "max"
            quota, period = (int(n) for f in files for n in (CGROUP / f).read_text().split())
            if quota > 0:  # −1 is no limit
                return quota / period
    return math.inf


def end_after(wait: Callable[[], object]) -> None:
    """End this process, whatever it is doing, as soon as `wait` returns.

    Args:
        wait: called in a thread of its own; say, it returns when the parent has ended.
    """

    def watch() -> None:
        wait()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def alone(folder: Path, work: str) -> Iterator[None]:
    """Keep other processes, threads and containers out of a folder that is filled.

    If somebody is in there, this is said, and one waits. The lock ends with the process that holds
    it, however that ends.

    Args:
        folder: made if it is missing.
        work: for the message, what is done there, as in "These faces are drawn".
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{work} by another process; waiting for it.", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()

"""Processes of one computer: as many as may run, none that outlives its parent, one in a folder."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mofa_lib import processes as of_the_library
from mofa_lib.processes import alone, cores
from mofa_lib.workers import LIBRARY, processes

# The module alone, without the package's own imports, which take seconds.
BARE = f"""
import os, sys, types
sys.modules["mofa_lib"] = package = types.ModuleType("mofa_lib")
package.__path__ = [{str(LIBRARY)!r}]
from mofa_lib import processes
"""


def python(program: str, **options) -> subprocess.Popen:
    command = [sys.executable, "-c", BARE + program]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def is_there(process: int) -> bool:
    """Whether a process runs; one that has ended may wait for somebody who asks how it ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux has it")
def test_cores_are_those_that_a_process_may_use():
    (one, *_) = os.sched_getaffinity(0)
    program = f"os.sched_setaffinity(0, [{one}]); print(processes.cores())"
    assert python(program).communicate()[0] == "1\n"
    assert 1 <= cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "1600000 100000\n"}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({}, 8),
    ],
    ids=str,
)
def test_cores_are_no_more_than_a_container_s_share(files, found, tmp_path, monkeypatch):
    """On eight cores; the files are those of Linux's control groups, in version 2 and 1."""
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(of_the_library, "CGROUP", tmp_path, raising=False)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert cores() == found


CHILD = "import functools; processes.end_after(functools.partial(os.read, 0, 1)); "
CHILD += "print(os.getpid(), flush=True); import time; time.sleep(60)"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="Linux has it")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_child_ends_with_its_parent(end):
    parent = python(
        "import signal, subprocess, time; "
        # Ignored in a shell's background, which a child inherits.
        "signal.signal(signal.SIGINT, signal.SIG_DFL); "
        f"subprocess.Popen([sys.executable, '-c', {BARE + CHILD!r}], stdin=subprocess.PIPE); "
        "time.sleep(60)"
    )
    child = int(parent.stdout.readline())
    assert is_there(child)
    parent.send_signal(end)
    parent.wait()
    patience = time.monotonic() + 10
    while is_there(child) and time.monotonic() < patience:
        time.sleep(0.02)
    assert not is_there(child)


def test_one_at_a_time_is_in_a_folder(tmp_path, capsys):
    inside, most = [], []

    def enter():
        with alone(tmp_path / "folder", "This is filled"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.05)
            inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]
    assert "This is filled by another process; waiting for it.\n" in capsys.readouterr().err


def test_who_is_killed_in_a_folder_leaves_it(tmp_path):
    program = f"from pathlib import Path\nwith processes.alone(Path({str(tmp_path)!r}), ''):\n"
    holder = python(program + "    print('in', flush=True); import time; time.sleep(60)")
    assert holder.stdout.readline() == "in\n"
    holder.kill()
    holder.wait()
    with alone(tmp_path, "This is filled"):
        pass


def test_workers_are_at_least_one():
    with pytest.raises(ValueError, match="There must be at least one worker, got 0"):
        processes(0)

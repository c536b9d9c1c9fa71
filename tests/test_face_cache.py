"""Arrays on disk: what was written is read, what is damaged is missed, and only that. And the
drawing that fills them: on full, foreign and shared disks, in processes of its own.
"""

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from mofa_lib.studio import session as sessions
from mofa_lib.studio.cache import FaceCache
from mofa_lib.studio.recipe import LIBRARY
from mofa_lib.studio.session import PhotoSession

ABOUT = {"numbers": (np.float32, (10, 2)), "flags": (np.bool_, (10,))}


def rows(start: int, end: int) -> dict[str, np.ndarray]:
    numbers = np.arange(20, dtype=np.float32).reshape(10, 2)
    return {"numbers": numbers[start:end], "flags": numbers[start:end, 0] % 3 == 0}


@pytest.fixture
def cache(tmp_path):
    cache = FaceCache(tmp_path / "set", ABOUT, part=4)
    cache.begin()
    for start in (0, 4, 8):
        cache.write(start, **rows(start, start + 4))
    return cache


def test_what_was_written_is_read(cache):
    assert cache.missing() == []
    found = cache.open()
    np.testing.assert_array_equal(found["numbers"], rows(0, 10)["numbers"])
    np.testing.assert_array_equal(found["flags"], rows(0, 10)["flags"])


def test_parts_are_missing_until_they_are_written(tmp_path):
    cache = FaceCache(tmp_path / "set", ABOUT, part=4)
    assert cache.missing() == [0, 4, 8]
    cache.begin()
    cache.write(4, **rows(4, 8))
    assert cache.missing() == [0, 8]
    cache.begin()  # what is there stays
    assert cache.missing() == [0, 8]


def test_a_changed_byte_is_found_and_costs_one_part(cache):
    path = cache.folder / "numbers.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert cache.missing() == [8]
    cache.write(8, **rows(8, 10))
    assert cache.missing() == []


@pytest.mark.parametrize("name", ["numbers.npy", "flags.npy", "parts.txt"])
@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "other"])
def test_a_damaged_file_is_made_again(cache, name, damage):
    path = cache.folder / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"empty": b"", "cut": content[: len(content) - 5], "other": b"not this\n"}[damage]
        )
    missing = cache.missing()
    assert missing
    cache.begin()
    for start in cache.missing():
        cache.write(start, **rows(start, start + 4))
    assert cache.missing() == []
    np.testing.assert_array_equal(cache.open()["numbers"], rows(0, 10)["numbers"])


def test_a_note_that_was_cut_off_counts_as_none(cache):
    """As after a power cut in the middle of a write."""
    notes = cache.folder / "parts.txt"
    content = notes.read_text()
    for cut in range(1, len(content) - content.rindex("\n8")):
        notes.write_text(content[:-cut])
        assert cache.missing() == [8], cut
        cache.write(8, **rows(8, 10))  # the next one is not lost because of it
        assert cache.missing() == [], cut


def test_a_part_without_one_of_its_arrays_is_not_kept(cache):
    with pytest.raises(KeyError):
        cache.write(4, numbers=rows(4, 8)["numbers"])
    assert cache.missing() == []


def test_checksums_are_of_what_was_given_not_of_what_is_there(cache):
    """Another process may have emptied the files in between."""
    np.lib.format.open_memmap(cache.folder / "numbers.npy", "r+")[:] = 0
    assert cache.missing() == [0, 4, 8]


def test_readers_cannot_change_the_file(cache):
    cache.open()["numbers"][:] = 0
    assert cache.missing() == []


def test_no_room_is_taken_that_the_disk_has_not(tmp_path, monkeypatch):
    """Sparse files would kill the process with a signal when the disk is full."""
    cache = FaceCache(tmp_path / "set", ABOUT, part=4)
    cache.begin()
    assert cache.size == 10 * (2 * 4 + 1)
    for path in cache.folder.glob("*.npy"):
        assert 512 * path.stat().st_blocks >= path.stat().st_size

    shutil.rmtree(cache.folder)

    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        cache.begin()
    assert list(cache.folder.iterdir()) == []


# The drawing


def few_faces() -> PhotoSession:
    """Twelve pixels, three parts."""
    return PhotoSession("test", 6, 0, 8, 2, True, part=2)


@pytest.fixture
def not_drawn(monkeypatch):
    """Photographs cost nothing: parts that are asked for, in their order."""
    asked = []

    def draw(self, parts, bar=None):
        for start in parts:
            asked.append(start)
            images = np.full((2, 3, 8, 8), start, np.uint8)
            self.cache.write(
                start,
                images=images,
                landmarks=np.zeros((2, 68, 2), np.float32),
                skin=np.zeros((2, 8, 8), bool),
            )

    monkeypatch.setattr(PhotoSession, "draw", draw)
    return asked


def test_who_wants_the_same_faces_waits_for_them(tmp_path, monkeypatch, not_drawn):
    """Threads of one process, as containers that share a cache, have equal process numbers."""
    monkeypatch.setenv("MOFA_CACHE", str(tmp_path))
    wrong, found = [], []

    def ask():
        try:
            session = few_faces()
            session.complete()
            found.append(session.cache.open()["images"][:, 0, 0, 0].tolist())
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and found == 6 * [[0, 0, 2, 2, 4, 4]]
    assert not_drawn == [0, 2, 4]


# On a disk of 64 kB, which is then made read-only; without the imports of the whole library.
DRAW = f"""
import os, subprocess, sys, types
sys.modules["mofa_lib"] = package = types.ModuleType("mofa_lib")
package.__path__ = [{str(LIBRARY)!r}]
from mofa_lib.studio.session import PhotoSession
os.environ["MOFA_CACHE"] = place = sys.argv[1]
for options in ("rw", "ro"):
    subprocess.run(["mount", "-o", f"remount,{{options}}", place], check=True)
    try:
        PhotoSession("test", 64, 0, 32, 1, True).complete()
    except OSError as error:
        print(error)
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="Linux has it")
def test_a_full_disk_and_a_foreign_one_are_sentences(tmp_path, monkeypatch):
    script = 'mount -t tmpfs tmpfs "$1" -o size=64k && exec "$0" -c "$2" "$1"'
    command = ["unshare", "-rm", "sh", "-c", script, sys.executable, str(tmp_path), DRAW]
    ran = subprocess.run(command, capture_output=True, text=True)
    if "mount" in ran.stderr or "unshare" in ran.stderr:
        pytest.skip(f"Nothing can be mounted here: {ran.stderr}")
    monkeypatch.setenv("MOFA_CACHE", str(tmp_path))
    place = PhotoSession("test", 64, 0, 32, 1, True).cache.folder
    assert ran.stdout.splitlines() == [
        f"The disk is full: the folder {place} needs 0.3 MB and has 0.1 MB. "
        "Make room, or set MOFA_CACHE to a folder with more.",
        f"The folder {place} cannot be written (Read-only file system): "
        "set MOFA_CACHE to a folder of your own.",
    ]


def test_a_file_in_place_of_the_cache_is_a_sentence(tmp_path, monkeypatch, not_drawn):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOFA_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="cannot be written .*set MOFA_CACHE to a folder of your own"):
        few_faces().complete()


def test_faces_that_are_there_need_no_writing(tmp_path, monkeypatch, not_drawn):
    monkeypatch.setenv("MOFA_CACHE", str(tmp_path))
    few_faces().complete()

    def refuse(*given):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(sessions, "alone", refuse)
    few_faces().complete()
    (path,) = tmp_path.glob("**/images.npy")
    path.write_bytes(b"damaged")
    with pytest.raises(PermissionError, match="set MOFA_CACHE to a folder of your own"):
        few_faces().complete()


@pytest.fixture
def started(monkeypatch):
    """The drawing processes, which are started as in a clone that is not installed."""
    workers, start = [], subprocess.Popen

    def popen(program, **given):
        python, *rest = program
        workers.append(start([python, "-S", *rest], **given))
        return workers[-1]

    monkeypatch.setattr(sessions, "FEW", 0)
    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    return workers


def test_processes_draw_where_they_are_meant_to(tmp_path, monkeypatch, started):
    """On as many cores as they may, with a relative cache, and a library that is not installed."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOFA_CACHE", "faces here")
    monkeypatch.setattr(sessions, "cores", lambda: 1)
    session = few_faces()
    assert session.cache.folder.is_relative_to(tmp_path / "faces here")
    monkeypatch.chdir(tmp_path / "elsewhere")
    session.complete()
    assert len(started) == 1
    assert session.cache.missing() == []
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_processes_that_draw_end_with_their_parent(tmp_path, monkeypatch, started):
    """Whose end of the pipe is closed when it is killed; here it is closed by hand."""
    monkeypatch.setenv("MOFA_CACHE", str(tmp_path))
    monkeypatch.setattr(sessions, "cores", lambda: 1)
    start = subprocess.Popen

    def hang_up(program, **given):
        worker = start(program, **given)
        worker.stdin.close()
        return worker

    monkeypatch.setattr(subprocess, "Popen", hang_up)
    session = PhotoSession("test", 4000, 0, 8, 1, True)
    with pytest.raises(RuntimeError, match="ended too early; the same call goes on"):
        session.complete()
    assert started[0].returncode == 1 and len(session.cache.missing()) > 0

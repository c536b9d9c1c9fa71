"""Arrays on disk: what was written is read, what is damaged is missed, and only that."""

import numpy as np
import pytest

from mofa_lib.studio.cache import FaceCache

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

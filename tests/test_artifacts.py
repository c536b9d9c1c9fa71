"""Files: written whole or not at all, recognised when damaged."""

import hashlib
import json
import os
import pwd
import threading
from pathlib import Path

import pytest
import torch

from mofa_lib.artifacts import (
    cache_folder,
    digest,
    load_metadata,
    load_tensors,
    save_json,
    save_tensors,
    write_bytes,
)
from mofa_lib.weights import find_weights

METADATA = {"what": "mofa", "profile": "gpu", "size": 224}
TENSORS = {"weight": torch.arange(30.0).view(10, 3), "count": torch.tensor(123456789)}


# Where


def test_the_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MOFA_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("MOFA_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "mofa_lib"


def test_an_empty_or_a_home_relative_cache_is_understood(monkeypatch):
    monkeypatch.setenv("MOFA_CACHE", "")
    assert cache_folder() == Path.home() / ".cache" / "mofa_lib"
    monkeypatch.setenv("MOFA_CACHE", "~/faces")
    assert cache_folder() == Path.home() / "faces"


def test_a_relative_cache_stays_where_it_was_first_asked_for(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOFA_CACHE", "relative")
    assert cache_folder() == tmp_path / "relative"
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cache_folder() == tmp_path / "relative"


def test_without_a_home_the_sentence_names_the_variable(monkeypatch):
    """As in a container whose user has a number and no name."""

    def nobody(number):
        raise KeyError(number)

    for name in ("HOME", "MOFA_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(RuntimeError, match="There is no home folder for the cache: set MOFA_CACHE"):
        cache_folder()
    assert find_weights("mofa", "cpu").are_shipped  # they need none


# How


def test_threads_may_write_the_same_file(tmp_path):
    """So may containers, in which processes have equal numbers."""
    path, wrong = tmp_path / "file", []

    def write(letter):
        try:
            for _ in range(30):
                write_bytes(path, 1000 * letter)
        except OSError as error:
            wrong.append(error)

    threads = [threading.Thread(target=write, args=[letter]) for letter in (b"a", b"b", b"c", b"d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(path.read_bytes()) == 1000 and len(set(path.read_bytes())) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_are_written_into_new_folders(tmp_path):
    write_bytes(tmp_path / "a" / "b" / "file", b"content")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"content"


@pytest.mark.parametrize("broken", ["write", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch, broken):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def half(self, content):
        with open(self, "wb") as file:
            file.write(content[:2])
        raise OSError("No space left on device")

    def fail(*arguments):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        if broken == "write":
            patch.setattr(Path, "write_bytes", half)
        else:
            patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="No space"):
            write_bytes(path, b"new content")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_readable_and_keeps_its_order(tmp_path):
    save_json(tmp_path / "file.json", {"b": 1, "a": "ε ≤ ½"})
    text = (tmp_path / "file.json").read_text(encoding="utf8")
    assert "ε ≤ ½" in text and text.endswith("\n") and list(json.loads(text)) == ["b", "a"]


def test_tensors_and_metadata_come_back(tmp_path):
    tensors = {
        "half": torch.randn(3, 4).half(),
        "transposed": torch.randn(4, 3).T,
        "graph": torch.ones(2, requires_grad=True),
        "number": torch.tensor(7),
        "empty": torch.zeros(0, 3),
    }
    metadata = {"list": [1, "é"], "number": 0.5, "none": None, "text": "x"}
    save_tensors(tmp_path / "file", tensors, metadata)
    found, about = load_tensors(tmp_path / "file")
    assert load_metadata(tmp_path / "file") == about == metadata and set(found) == set(tensors)
    for name in tensors:
        assert found[name].equal(tensors[name]) and found[name].dtype == tensors[name].dtype, name
        assert not found[name].requires_grad


@pytest.mark.parametrize("read", [load_tensors, load_metadata])
@pytest.mark.parametrize("cut", [0, 1, 7, 8, 20, 100, -1])
def test_truncated_files_are_recognised(tmp_path, cut, read):
    path = tmp_path / "file"
    save_tensors(path, TENSORS, METADATA)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="is damaged or not a safetensors file.*delete it"):
        read(path)


def test_a_pickle_is_not_opened(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "file")
    with pytest.raises(ValueError, match="is damaged or not a safetensors file"):
        load_tensors(tmp_path / "file")


def test_missing_files_are_named(tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"There is no file {path}"):
            load_tensors(path)


def test_a_digest_is_the_sha_256_of_what_it_says():
    tensors = {"b": torch.arange(3), "a": torch.tensor([[1.0, 2.0]])}
    expected = hashlib.sha256()
    for name, kind, shape, values in (
        ("a", "float32", "(1, 2)", tensors["a"]),
        ("b", "int64", "(3,)", tensors["b"]),
    ):
        expected.update(f"{name} torch.{kind} {shape}\n".encode() + values.numpy().tobytes())
    assert digest(tensors) == expected.hexdigest() == digest(dict(reversed(tensors.items())))


@pytest.mark.parametrize(
    "other",
    [
        {"x": torch.tensor([1.0, 2.5])},
        {"y": torch.tensor([1.0, 2.0])},
        {"x": torch.tensor([[1.0, 2.0]])},
        {"x": torch.tensor([1.0, 2.0]).double()},
        {"x": torch.tensor([1.0, 2.0]), "y": torch.zeros(0)},
    ],
)
def test_a_digest_tells_tensors_apart(other):
    assert digest(other) != digest({"x": torch.tensor([1.0, 2.0])})

"""Files: written whole or not at all, recognised when damaged, refused when made for something
else.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mofa_lib import artifacts
from mofa_lib.artifacts import (
    cache_folder,
    digest,
    load_result,
    load_tensors,
    load_weights,
    made_with,
    packed,
    save_json,
    save_result,
    save_tensors,
    save_weights,
    unpacked,
    weights_paths,
    write_bytes,
)

METADATA = {"what": "mofa", "profile": "gpu", "size": 224}


def state(numbers: int = 10) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(numbers, 3, generator=random),
        "b.weight": torch.randn(numbers, 3, generator=random),
        "c.count": torch.tensor(123456789),
    }


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


# How


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
    assert about == metadata and set(found) == set(tensors)
    for name in tensors:
        assert found[name].equal(tensors[name]) and found[name].dtype == tensors[name].dtype, name
        assert not found[name].requires_grad


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 20, 100, -1])
def test_truncated_files_are_recognised(tmp_path, cut):
    path = tmp_path / "file"
    save_tensors(path, state(), METADATA)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="is damaged or not a safetensors file.*delete it"):
        load_tensors(path)


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


# Weights


def test_weights_come_back_as_float32_with_their_history(cache):
    paths = save_weights("mofa", "gpu", state(), METADATA)
    assert (
        paths == weights_paths("mofa", "gpu") == [cache / "weights" / "mofa_gpu-1of1.safetensors"]
    )
    found, metadata = load_weights("mofa", "gpu", size=224)
    assert metadata == METADATA
    for name, value in state().items():
        assert found[name].dtype == value.dtype
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=0)


def test_large_weights_are_cut_into_parts(cache, monkeypatch):
    monkeypatch.setattr(artifacts, "PART", 100)  # bytes; a.weight as float16 has 60
    paths = save_weights("mofa", "gpu", state(), METADATA)
    assert [path.name for path in paths] == [
        "mofa_gpu-1of2.safetensors",
        "mofa_gpu-2of2.safetensors",
    ]
    assert set(load_weights("mofa", "gpu")[0]) == set(state())


@pytest.mark.parametrize(("before", "after"), [(100, 10**6), (10**6, 100)])
def test_no_part_of_an_earlier_training_is_left(cache, monkeypatch, before, after):
    monkeypatch.setattr(artifacts, "PART", before)
    save_weights("mofa", "gpu", state(), METADATA)
    monkeypatch.setattr(artifacts, "PART", after)
    paths = save_weights("mofa", "gpu", {k: v + 1 for k, v in state().items()}, METADATA)
    assert weights_paths("mofa", "gpu") == paths
    loaded = load_weights("mofa", "gpu")[0]["a.weight"]
    torch.testing.assert_close(loaded, state()["a.weight"] + 1, rtol=1e-2, atol=1e-2)


def test_a_missing_part_is_noticed(cache, monkeypatch):
    monkeypatch.setattr(artifacts, "PART", 100)
    save_weights("mofa", "gpu", state(), METADATA)[0].unlink()
    with pytest.raises((ValueError, FileNotFoundError), match="mofa_gpu.*part|part.*mofa_gpu"):
        load_weights("mofa", "gpu")


def test_values_that_float16_cannot_hold_are_refused(cache):
    """Rather than stored as infinity."""
    with pytest.raises(ValueError, match="running_var"):
        save_weights("mofa", "gpu", {"running_var": torch.tensor([1e6])}, METADATA)


def test_weights_go_where_they_are_asked_to(cache, tmp_path):
    (path,) = save_weights("mofa", "gpu", state(), METADATA, tmp_path / "elsewhere")
    assert path.parent == tmp_path / "elsewhere" and not weights_paths("mofa", "gpu")


def test_shipped_weights_come_first(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "SHIPPED", tmp_path / "shipped")
    (own,) = save_weights("mofa", "gpu", state(), METADATA)
    assert weights_paths("mofa", "gpu") == [own]
    (shipped,) = save_weights("mofa", "gpu", state(), METADATA, tmp_path / "shipped" / "weights")
    assert weights_paths("mofa", "gpu") == [shipped]


def test_names_are_not_mixed_up(cache):
    """face_identity is not identity."""
    save_weights("face_identity", "gpu", state(), {**METADATA, "what": "face_identity"})
    assert not weights_paths("identity", "gpu") and not weights_paths("face_identity", "gp")


def test_missing_weights_name_the_command(cache):
    with pytest.raises(
        FileNotFoundError, match="python -m mofa_lib.training --what mofa --profile gpu"
    ):
        load_weights("mofa", "gpu")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"size": 112}, "trained for size 112, not 224"),
        ({"profile": "paper"}, "trained for profile paper, not gpu"),
        ({"what": "identity"}, "trained for what identity, not mofa"),
    ],
)
def test_weights_of_something_else_are_refused(cache, metadata, message):
    save_weights("mofa", "gpu", state(), {**METADATA, **metadata})
    with pytest.raises(
        ValueError, match=message + "; train again with: python -m mofa_lib.training"
    ):
        load_weights("mofa", "gpu", size=224)


def test_damaged_weights_are_recognised(cache):
    (path,) = save_weights("mofa", "gpu", state(), METADATA)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="damaged"):
        load_weights("mofa", "gpu")


# Results


def test_results_say_where_they_come_from(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "SHIPPED", tmp_path)
    (weights,) = save_weights("mofa", "cpu", state(), {**METADATA, "profile": "cpu"})
    about = {
        "claim": "c",
        "chapter": "06_mofa",
        "switch": "all",
        "profile": "smoke",
        "seed": 3,
        "n": 8,
    }
    written = save_result(
        tmp_path / "results", "r", **about, weights=["mofa"], seconds=1.6, data={"x": [1.5]}
    )
    found = load_result("r")
    assert found == written and found["data"] == {"x": [1.5]} and found["seconds"] == 2
    keys = "claim command profile seed n weights versions seconds data"
    assert list(found) == keys.split()
    assert found["weights"] == {weights.name: hashlib.sha256(weights.read_bytes()).hexdigest()}
    assert found["command"].split()[:2] == ["papermill", "book/06_mofa.ipynb"]
    assert "-p seed 3" in found["command"] and "-p all True" in found["command"]
    assert (
        str(tmp_path) not in json.dumps(found) and found["versions"]["torch"] in torch.__version__
    )


def test_results_of_earlier_weights_say_so(cache, tmp_path):
    (weights,) = save_weights("face_identity", "gpu", state(), METADATA)
    about = {"claim": "c", "chapter": "10_attack_results", "profile": "gpu", "seed": 3, "n": 8}
    result = save_result(tmp_path, "r", **about, weights=["face_identity"], seconds=1.6, data={})
    line = made_with(result)
    assert (
        "seed 3" in line
        and "profile gpu" in line
        and result["command"] in line
        and "earlier" not in line
    )
    save_weights("face_identity", "gpu", {"a": torch.ones(3)}, METADATA)
    assert made_with(result) == line + f" · **made with earlier weights** ({weights.name})"
    weights.unlink()
    assert "earlier weights" in made_with(result)


def test_missing_results_name_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "SHIPPED", tmp_path)
    with pytest.raises(
        FileNotFoundError, match="no result file r.json; make it with: make results"
    ):
        load_result("r")


def test_packed_numbers_have_five_digits():
    assert packed([1.0, 0.123456789, -2e-9, 123456.0]) == "1 0.12346 -2e-09 1.2346e+05"
    assert packed(torch.tensor([0.5, 0.25])) == packed(np.array([0.5, 0.25])) == "0.5 0.25"


def test_packed_numbers_come_back():
    rng = np.random.default_rng(0)
    values = rng.normal(size=100) * 10.0 ** rng.integers(-6, 6, 100)
    found = unpacked(packed(values))
    assert found.dtype == float
    np.testing.assert_allclose(found, values, rtol=5e-5)
    assert packed(found) == packed(values)
    assert packed([]) == "" and unpacked("").shape == (0,)
    np.testing.assert_equal(unpacked(packed([np.nan, np.inf])), [np.nan, np.inf])

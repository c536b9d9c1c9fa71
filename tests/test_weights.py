"""Weights: whole or refused, found again, and refused when they were made for something else."""

import pytest
import torch

from mofa_lib import weights
from mofa_lib.weights import load_weights, save_weights, weights_paths

METADATA = {"what": "mofa", "profile": "gpu", "size": 224}


def state(numbers: int = 10) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(numbers, 3, generator=random),
        "b.weight": torch.randn(numbers, 3, generator=random),
        "c.count": torch.tensor(123456789),
    }


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
    monkeypatch.setattr(weights, "PART", 100)  # bytes; a.weight as float16 has 60
    paths = save_weights("mofa", "gpu", state(), METADATA)
    assert [path.name for path in paths] == [
        "mofa_gpu-1of2.safetensors",
        "mofa_gpu-2of2.safetensors",
    ]
    assert set(load_weights("mofa", "gpu")[0]) == set(state())


@pytest.mark.parametrize(("before", "after"), [(100, 10**6), (10**6, 100)])
def test_no_part_of_an_earlier_training_is_left(cache, monkeypatch, before, after):
    monkeypatch.setattr(weights, "PART", before)
    save_weights("mofa", "gpu", state(), METADATA)
    monkeypatch.setattr(weights, "PART", after)
    paths = save_weights("mofa", "gpu", {k: v + 1 for k, v in state().items()}, METADATA)
    assert weights_paths("mofa", "gpu") == paths
    loaded = load_weights("mofa", "gpu")[0]["a.weight"]
    torch.testing.assert_close(loaded, state()["a.weight"] + 1, rtol=1e-2, atol=1e-2)


def test_a_missing_part_is_noticed(cache, monkeypatch):
    monkeypatch.setattr(weights, "PART", 100)
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
    monkeypatch.setattr(weights, "SHIPPED", tmp_path / "shipped")
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

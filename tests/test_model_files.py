"""Face models from files: what is written comes back; what is missing or damaged is named in one sentence."""

import pytest
import torch

from mofa_lib import load_morphable_model
from mofa_lib.artifacts import save_tensors
from mofa_lib.model_files import DEFAULT_MODEL


def test_a_saved_model_comes_back(tiny_tensors, tiny_model, tmp_path):
    save_tensors(tmp_path / "mine.safetensors", tiny_tensors, {"name": "tiny"})
    loaded = load_morphable_model(tmp_path / "mine.safetensors")
    assert loaded.digest == tiny_model.digest and loaded.name == "tiny"
    assert load_morphable_model(str(tmp_path / "mine.safetensors")).digest == tiny_model.digest


def test_compact_types_are_widened(tiny_tensors, tmp_path):
    compact = {k: v.half() if v.is_floating_point() else v.short() for k, v in tiny_tensors.items()}
    save_tensors(tmp_path / "compact.safetensors", compact, {})
    loaded = load_morphable_model(tmp_path / "compact.safetensors")
    assert loaded.name == "compact"  # a file that says nothing is called by its own name
    assert loaded.mean_shape.dtype == torch.float32 and loaded.faces.dtype == torch.int64
    torch.testing.assert_close(loaded.mean_shape, tiny_tensors["mean_shape"], atol=0.1, rtol=0)


@pytest.mark.parametrize("source", ["bfm", "nowhere/model.safetensors"])
def test_a_missing_model_is_named(source):
    with pytest.raises(FileNotFoundError, match=f'no face model {source}: give "anny" or the path') as error:
        load_morphable_model(source)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"no safetensors at all",
        lambda content: content[: len(content) // 2],
        lambda content: b"\xff" * 8 + content[8:],
        lambda content: content[:40] + b"\xff" * 40 + content[80:],
    ],
    ids=["empty", "text", "truncated", "length", "header"],
)
def test_a_damaged_model_is_named(tmp_path, damage):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(damage(DEFAULT_MODEL.read_bytes()))
    with pytest.raises(ValueError, match="damaged.safetensors is damaged or not a safetensors file") as error:
        load_morphable_model(path)
    assert "\n" not in str(error.value)


def test_a_file_that_holds_something_else_is_named(tmp_path):
    save_tensors(tmp_path / "weights.safetensors", {"layer": torch.zeros(3)}, {})
    with pytest.raises(ValueError, match="face model weights lacks mean_shape"):
        load_morphable_model(tmp_path / "weights.safetensors")

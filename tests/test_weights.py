"""Weights: whole or refused, found where they fit, and refused when they were made for something
else.
"""

from dataclasses import replace

import pytest
import torch

from mofa_lib import load_morphable_model, profile, weights
from mofa_lib.artifacts import digest, save_tensors
from mofa_lib.profiles import PROFILES
from mofa_lib.weights import (
    Weights,
    find_weights,
    load_weights,
    own_weights,
    save_weights,
    training_command,
)

METADATA = {"what": "detector", "profile": "gpu", "size": 224}


@pytest.fixture(autouse=True)
def own_profile(monkeypatch):
    """A profile by the name gpu that has weights of its own, of which the library ships none."""
    monkeypatch.setitem(PROFILES, "gpu", replace(PROFILES["gpu"], weights="gpu"))


def state(numbers: int = 10) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(numbers, 3, generator=random),
        "b.weight": torch.randn(numbers, 3, generator=random),
        "c.count": torch.tensor(123456789),
    }


def save(what: str = "detector", name: str = "gpu", folder=None, **metadata):
    """Weights that say of themselves what is given, in files of that name."""
    return save_weights(what, name, state(), {**METADATA, "what": what, **metadata}, folder)


def test_weights_come_back_as_float32_with_their_history(cache):
    paths = save()
    assert paths == (cache / "weights" / "detector_gpu-1of1.safetensors",)
    found, where = load_weights("detector", "gpu")
    assert where == find_weights("detector", "gpu") == Weights(paths, METADATA)
    for name, value in state().items():
        assert found[name].dtype == value.dtype
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=0)


def test_large_weights_are_cut_into_parts(cache, monkeypatch):
    monkeypatch.setattr(weights, "PART", 100)  # bytes; a.weight as float16 has 60
    paths = save()
    assert [path.name for path in paths] == [
        "detector_gpu-1of2.safetensors",
        "detector_gpu-2of2.safetensors",
    ]
    assert set(load_weights("detector", "gpu")[0]) == set(state())


@pytest.mark.parametrize(("before", "after"), [(100, 10**6), (10**6, 100)])
def test_no_part_of_an_earlier_training_is_left(cache, monkeypatch, before, after):
    monkeypatch.setattr(weights, "PART", before)
    save()
    monkeypatch.setattr(weights, "PART", after)
    paths = save_weights("detector", "gpu", {k: v + 1 for k, v in state().items()}, METADATA)
    assert find_weights("detector", "gpu").paths == paths
    loaded = load_weights("detector", "gpu")[0]["a.weight"]
    torch.testing.assert_close(loaded, state()["a.weight"] + 1, rtol=1e-2, atol=1e-2)


def test_a_missing_part_is_noticed(cache, monkeypatch):
    monkeypatch.setattr(weights, "PART", 100)
    save()[0].unlink()
    with pytest.raises(ValueError, match="Of detector_gpu, 1 of 2 parts are in .*; delete them"):
        load_weights("detector", "gpu")


def test_parts_of_two_trainings_are_not_mixed(cache, monkeypatch):
    """A training that was interrupted while it wrote."""
    monkeypatch.setattr(weights, "PART", 100)
    save()
    real = weights.save_tensors

    def interrupted(path, *things):
        if "2of2" in path.name:
            raise KeyboardInterrupt
        real(path, *things)

    monkeypatch.setattr(weights, "save_tensors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_weights("detector", "gpu", state(), METADATA | {"command": "another"})
    with pytest.raises(ValueError, match="of two trainings, since writing them was interrupted"):
        find_weights("detector", "gpu")


def test_values_that_float16_cannot_hold_are_refused(cache):
    """Rather than stored as infinity."""
    with pytest.raises(ValueError, match="running_var"):
        save_weights("detector", "gpu", {"running_var": torch.tensor([1e6])}, METADATA)


def test_weights_go_where_they_are_asked_to(cache, tmp_path):
    (path,) = save(folder=tmp_path / "elsewhere")
    assert path.parent == tmp_path / "elsewhere" and not cache.exists()


def test_names_are_not_mixed_up(cache):
    """face_identity is not identity."""
    save("face_identity")
    for what, name in (("detector", "gpu"), ("face_identity", "paper")):
        with pytest.raises(FileNotFoundError, match=f"no weights of {what} for the profile {name}"):
            find_weights(what, name)


def test_missing_weights_name_the_command(cache):
    with pytest.raises(
        FileNotFoundError, match="python -m mofa_lib.training --what mofa --profile gpu$"
    ):
        load_weights("mofa", "gpu")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"size": 112}, "trained for size 112, not 224"),
        ({"profile": "paper"}, "trained for profile paper, not gpu"),
        ({"what": "mofa"}, "trained for what mofa, not detector"),
    ],
)
def test_weights_of_something_else_are_refused(cache, metadata, message):
    save_weights("detector", "gpu", state(), {**METADATA, **metadata})
    command = "python -m mofa_lib.training --what detector --profile gpu"
    with pytest.raises(
        ValueError, match=f"{message}; weights that fit are trained with: {command}$"
    ):
        load_weights("detector", "gpu")


def test_damaged_weights_are_recognised(cache):
    (path,) = save()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="damaged.*delete it"):
        load_weights("detector", "gpu")


# One's own, and the shipped ones


@pytest.fixture
def shipped(cache, tmp_path, monkeypatch):
    """A library that ships the weights of a detector for the profile gpu."""
    monkeypatch.setattr(weights, "SHIPPED", tmp_path / "shipped")
    return save(folder=tmp_path / "shipped" / "weights", seed=0)


def test_one_s_own_weights_come_first_and_can_be_deleted(shipped):
    assert find_weights("detector", "gpu").paths == shipped
    own = save(seed=1)
    found = find_weights("detector", "gpu")
    assert found.paths == own and found.made["seed"] == 1 and not found.are_shipped
    own[0].unlink()
    found = find_weights("detector", "gpu")
    assert found.paths == shipped and found.made["seed"] == 0 and found.are_shipped


@pytest.mark.parametrize("other", [{"size": 112}, {"profile": "paper"}, {"what": "mofa"}])
def test_own_weights_that_do_not_fit_leave_the_shipped_ones_in_place(shipped, other):
    save_weights("detector", "gpu", state(), {**METADATA, **other})
    assert find_weights("detector", "gpu").paths == shipped


def test_damaged_own_weights_are_not_passed_over(shipped):
    (own,) = save()
    own.write_bytes(b"half")
    with pytest.raises(ValueError, match=f"{own} is damaged.*delete it"):
        find_weights("detector", "gpu")
    own.unlink()
    assert find_weights("detector", "gpu").paths == shipped


def test_another_folder_can_hold_one_s_own(shipped, tmp_path, monkeypatch):
    own = save(seed=1)
    monkeypatch.setenv("MOFA_WEIGHTS", str(tmp_path / "mine"))
    assert find_weights("detector", "gpu").paths == shipped  # so one goes back for a while
    mine = save(seed=2)
    assert mine[0].parent == tmp_path / "mine" and find_weights("detector", "gpu").paths == mine
    monkeypatch.delenv("MOFA_WEIGHTS")
    assert find_weights("detector", "gpu").paths == own


def test_a_relative_folder_stays_where_it_was_first_asked_for(shipped, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOFA_WEIGHTS", "relative weights")
    mine = save(seed=2)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_weights("detector", "gpu").paths == mine
    assert mine[0].parent == tmp_path / "relative weights"


def test_own_weights_are_listed_where_they_are_loaded(shipped):
    save("detector", size=112)  # does not fit
    save("mofa", model="0" * 64)  # nor does this
    assert own_weights("gpu") == []
    save("face_identity", "cpu", profile="cpu", size=224, command="python -m mofa_lib.training")
    (found,) = own_weights("smoke")  # which loads what cpu has trained
    file = found.paths[0]
    expected = f"{file.name} in {file.parent}, made by: python -m mofa_lib.training"
    assert str(found) == expected


# Face models


@pytest.fixture
def own_model(tmp_path, tiny_tensors):
    """A profile with a face model of one's own, whose path has a blank."""
    path = tmp_path / "my model.safetensors"
    save_tensors(path, tiny_tensors, {"name": "own"})
    return replace(profile("cpu"), model=str(path))


def made_for(settings):
    model = load_morphable_model(settings.model)
    return {"profile": "cpu", "size": 224, "model": model.digest}


def test_weights_of_two_face_models_live_side_by_side(cache, own_model):
    default = save("mofa", "cpu", **made_for(profile("cpu")))
    own = save("mofa", "cpu", **made_for(own_model))
    assert own != default
    assert find_weights("mofa", "cpu").paths == default
    assert find_weights("mofa", own_model).paths == own
    own[0].unlink()
    command = training_command("mofa", own_model)
    assert command.endswith(f"--what mofa --profile cpu --model '{own_model.model}'")
    digests = f"{made_for(profile('cpu'))['model'][:8]}, not {made_for(own_model)['model'][:8]}"
    with pytest.raises(ValueError) as refused:
        find_weights("mofa", own_model)
    expected = f"mofa_cpu-1of1.safetensors was trained for model {digests}; weights that fit are "
    assert str(refused.value) == f"{expected}trained with: {command}"


def test_the_shipped_weights_fit_the_shipped_model_alone(cache, own_model):
    save("mofa", "cpu", **made_for(own_model))
    assert find_weights("mofa", "cpu").are_shipped
    assert find_weights("identity", "cpu").are_shipped


def test_an_identity_classifier_reads_the_codes_of_one_encoder(cache):
    """That of the shipped encoder does not fit one's own, nor one's own the shipped one."""
    made = made_for(profile("cpu"))
    (mofa,) = save("mofa", "cpu", **made)
    with pytest.raises(ValueError, match="identity_cpu-1of1.safetensors was trained for mofa"):
        find_weights("identity", "cpu")
    own = save("identity", "cpu", **made, mofa=digest(load_weights("mofa", "cpu")[0]))
    assert find_weights("identity", "cpu").paths == own
    mofa.unlink()
    assert find_weights("identity", "cpu").are_shipped


def test_the_pieces_of_a_training_come_in_their_order():
    first, second = {"steps": 5, "further_than": None}, {"steps": 3}
    second["further_than"] = first
    third = {"steps": 2, "further_than": second}
    assert Weights((), third).pieces == [first, second, third]
    assert Weights((), {"seed": 0}).pieces == [{"seed": 0}]

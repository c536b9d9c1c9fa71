"""Names of profiles, and parameters of chapters that are refused before work begins."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mofa_lib.detector import CHANNELS
from mofa_lib.profiles import PROFILES, check_parameters, describe, device, profile


@pytest.mark.parametrize("name", ["smoke", "cpu", "gpu", "paper"])
def test_profiles_have_names(name):
    assert profile(name) == PROFILES[name] and profile(name).name == name
    assert profile(name).weights in PROFILES
    assert profile(name).size in CHANNELS


def test_the_paper_s_numbers():
    """Section 4.1 and Table 1."""
    paper = profile("paper")
    assert (paper.encoder, paper.batch, paper.steps, paper.rate) == ("vgg19", 5, 200_000, 0.1)
    assert (paper.detector, paper.autoencoder) == ("resnet50", "table1")
    assert (paper.detector_batch, paper.detector_rate) == (128, 0.1)


def test_smoke_uses_the_shipped_weights_on_few_faces():
    smoke, cpu = profile("smoke"), profile("cpu")
    assert smoke.weights == "cpu" and smoke.steps <= 20 and smoke.pairs <= 8
    same = {name: getattr(cpu, name) for name in ("size", "encoder", "detector")}
    assert replace(smoke, **same) == smoke


def test_the_environment_chooses(monkeypatch):
    monkeypatch.delenv("MOFA_PROFILE", raising=False)
    assert profile().name == "cpu"
    monkeypatch.setenv("MOFA_PROFILE", "smoke")
    assert profile().name == "smoke" and profile("gpu").name == "gpu"


@pytest.mark.parametrize("name", ["", "CPU", "tpu"])
def test_other_names_are_refused(monkeypatch, name):
    with pytest.raises(ValueError, match=f"There is no profile '{name}': choose one of smoke, cpu, gpu, paper"):
        profile(name)
    monkeypatch.setenv("MOFA_PROFILE", name)
    with pytest.raises(ValueError, match="There is no profile"):
        profile()


def test_a_profile_cannot_be_changed():
    with pytest.raises(AttributeError):
        profile("cpu").steps = 1


def test_the_description_names_profile_and_device():
    assert device().type in ("cpu", "cuda")
    text = describe(profile("cpu"))
    assert "profile cpu · 112 px" in text and torch.__version__ in text
    assert ("CPU" in text) == (not torch.cuda.is_available())


@pytest.mark.parametrize(
    "good",
    [
        {"profile": "smoke", "seed": 0, "epsilon": 0.05, "steps": 50, "pairs": 200, "faces": 8},
        {"epsilon": 0, "seed": 2**31, "pairs": 2},
        {"epsilon": 1.0, "reading": "literal", "out": "folder", "live": False},
        {},
    ],
)
def test_good_parameters_pass(good):
    check_parameters(**good)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"profile": "tpu"}, "There is no profile 'tpu'"),
        ({"seed": -1}, "seed must be a whole number from 0 to 2147483648, got -1"),
        ({"seed": 0.5}, "seed must be a whole number"),
        ({"seed": True}, "seed must be a whole number"),
        ({"seed": "0"}, "seed must be a whole number .* got '0'"),
        ({"epsilon": -0.01}, "epsilon must be a number from 0.0 to 1.0"),
        ({"epsilon": 8}, "epsilon must be a number from 0.0 to 1.0, got 8"),
        ({"epsilon": float("nan")}, "epsilon must be a number"),
        ({"epsilon": None}, "epsilon must be a number"),
        ({"steps": 0}, "steps must be a whole number from 1"),
        ({"pairs": 1}, "pairs must be a whole number from 2"),
        ({"faces": np.float64(3.0)}, "faces must be a whole number"),
        ({"colour": 3}, "colour must be text or true/false, got 3"),
    ],
)
def test_bad_parameters_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        check_parameters(**bad)


def test_a_profile_of_a_wrong_type_is_refused(unchecked):
    with pytest.raises(ValueError, match="There is no profile"):
        check_parameters(profile=["cpu"])


def test_a_profile_stands_for_itself():
    """So that one with another face model can be given wherever a name can."""
    other = replace(profile("paper"), model="model2017.h5")
    assert profile(other) is other

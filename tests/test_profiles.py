"""Names of profiles, and what they stand for."""

from dataclasses import asdict, replace

import pytest
import torch

from mofa_lib.detector import ReformingAutoencoder
from mofa_lib.profiles import PROFILES, device, profile


@pytest.mark.parametrize("name", ["smoke", "cpu", "gpu", "paper"])
def test_profiles_have_names(name):
    assert profile(name) == PROFILES[name] and profile(name).name == name
    assert profile(name).weights in PROFILES
    assert profile(name).size == ReformingAutoencoder.size


def test_the_paper_s_numbers():
    """Section 4.1 and Table 1."""
    paper = profile("paper")
    assert (paper.encoder, paper.batch, paper.steps, paper.rate) == ("vgg19", 5, 200_000, 0.1)
    assert (paper.detector, paper.autoencoder) == ("resnet50", "table1")
    assert (paper.model, paper.size, paper.drawn) == ("face-fine", 224, 224)
    assert (paper.detector_batch, paper.detector_rate) == (128, 0.1)
    assert paper.attack_steps == profile("cpu").attack_steps == 50


@pytest.mark.parametrize("name", ["smoke", "gpu"])
def test_smoke_and_gpu_differ_from_cpu_in_counts_alone(name):
    """So they load its weights: what decides about a network or a picture is the same."""
    other, cpu = asdict(profile(name)), asdict(profile("cpu"))
    differ = {key for key in cpu if other[key] != cpu[key]} - {"name"}
    assert differ <= {
        "identities", "per_identity", "batch", "steps", "classes", "classifier_steps",
        "detector_batch", "detector_steps", "attack_steps", "faces", "pairs",
    }  # fmt: skip
    assert other["weights"] == "cpu"


def test_smoke_is_small():
    smoke = profile("smoke")
    assert smoke.steps <= 20 and smoke.detector_steps <= 20 and smoke.pairs <= 8


def test_the_environment_chooses(monkeypatch):
    monkeypatch.delenv("MOFA_PROFILE", raising=False)
    assert profile().name == "cpu"
    monkeypatch.setenv("MOFA_PROFILE", "smoke")
    assert profile().name == "smoke" and profile("gpu").name == "gpu"
    monkeypatch.setenv("MOFA_PROFILE", "")
    assert profile().name == "cpu"


@pytest.mark.parametrize("name", ["", "CPU", "tpu"])
def test_other_names_are_refused(monkeypatch, name):
    with pytest.raises(
        ValueError, match=f"There is no profile '{name}': choose one of smoke, cpu, gpu, paper"
    ):
        profile(name)
    monkeypatch.setenv("MOFA_PROFILE", name or "none")
    with pytest.raises(ValueError, match="There is no profile"):
        profile()


def test_a_profile_cannot_be_changed():
    with pytest.raises(AttributeError):
        profile("cpu").steps = 1


def test_the_device_is_a_gpu_where_there_is_one():
    assert device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_profile_stands_for_itself():
    """So that one with another face model can be given wherever a name can."""
    other = replace(profile("paper"), model="model2017.h5")
    assert profile(other) is other

"""What chapters begin with and end in: parameters refused in time, a line, tables and verdicts."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_weights import save

from mofa_lib import notebooks
from mofa_lib.notebooks import check_parameters, describe, table, verdict
from mofa_lib.profiles import profile


def test_the_description_names_profile_and_device():
    text = describe(profile("cpu"))
    assert "profile cpu · 224 px" in text and torch.__version__ in text
    assert ("CPU" in text) == (not torch.cuda.is_available())


def test_the_description_names_own_weights_alone(cache):
    assert "own weights" not in describe(profile("smoke"))
    (file,) = save("linear_autoencoder", "cpu", profile="cpu", size=224, command="made by me")
    first, second = describe(profile("smoke")).splitlines()
    assert "profile smoke" in first
    assert second == f"own weights: {file.name} in {file.parent}, made by: made by me"


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


@pytest.fixture
def injected(monkeypatch):
    """As in a notebook that papermill runs: the cell that it adds begins with its comment."""
    cells = ["", "seed: int = 0", "# Parameters\nseed = 3\nsede = 4\n", "other = 1"]
    shell = SimpleNamespace(user_ns={"In": cells})
    monkeypatch.setattr(notebooks, "get_ipython", lambda: shell)


def test_injected_names_must_be_parameters(injected):
    with pytest.raises(ValueError, match="This chapter has no parameter 'sede'; it has seed, out"):
        check_parameters(seed=3, out="")
    check_parameters(seed=3, sede="4")


# Tables


def test_a_table_is_markdown():
    found = table(["score", "rate"], [["`l1`", "5 %"], ["`js`", "7 %"]]).data
    assert found.splitlines() == [
        "| score | rate |",
        "| --- | --- |",
        "| `l1` | 5 % |",
        "| `js` | 7 % |",
    ]


def test_a_note_stands_in_small_print_below():
    found = table(["a"], [["1"]], "seed 0").data
    assert found == table(["a"], [["1"]]).data + "\n\n<small>seed 0</small>"


def test_a_table_may_be_empty():
    assert table(["a", "b"], []).data == "| a | b |\n| --- | --- |"


# Verdicts


@pytest.mark.parametrize(
    ("holds", "refuted", "in_part", "word"),
    [
        (True, False, True, "reproduced"),
        (True, False, False, "reproduced"),
        (False, True, True, "contradicted"),
        (False, True, False, "contradicted"),
        (False, False, True, "direction only"),
        (False, False, False, "untestable here"),
    ],
)
def test_a_verdict_says_what_holds(holds, refuted, in_part, word):
    assert verdict(holds, refuted=refuted, in_part=in_part) == word

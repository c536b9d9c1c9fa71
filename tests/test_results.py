"""Result files: they say where they come from, and whether that is still there."""

import hashlib
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from test_weights import save

from mofa_lib import results
from mofa_lib.artifacts import SHIPPED
from mofa_lib.results import (
    load_result,
    made_with,
    packed,
    packed_all,
    save_result,
    unpacked,
)

MAKEFILE = Path(__file__).parents[1] / "Makefile"


def test_results_say_where_they_come_from(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "SHIPPED", tmp_path)
    (file,) = save("detector", "cpu", profile="cpu", size=224)
    about = {"claim": "c", "command": "make it", "profile": "smoke", "seed": 3, "n": 8}
    written = save_result(
        tmp_path / "results", "r", **about, weights=["detector"], seconds=1.6, data={"x": [1.5]}
    )
    found = load_result("r")
    assert found == written and found["data"] == {"x": [1.5]} and found["seconds"] == 2
    keys = "claim command profile seed commit n weights versions seconds data"
    assert list(found) == keys.split()
    assert found["weights"] == {file.name: hashlib.sha256(file.read_bytes()).hexdigest()}
    assert (
        str(tmp_path) not in json.dumps(found) and found["versions"]["torch"] in torch.__version__
    )


def test_results_of_earlier_weights_say_so(cache, tmp_path):
    (file,) = save("face_identity", "cpu", profile="cpu", size=224)
    about = {"claim": "c", "command": "make it", "profile": "gpu", "seed": 3, "n": 8}
    result = save_result(tmp_path, "r", **about, weights=["face_identity"], seconds=1.6, data={})
    line = made_with(result)
    assert (
        "seed 3" in line
        and "profile gpu" in line
        and result["command"] in line
        and "earlier" not in line
    )
    save("face_identity", "cpu", profile="cpu", size=224, seed=1)
    assert made_with(result) == line + f" · **made with earlier weights** ({file.name})"
    file.unlink()
    assert "earlier weights" in made_with(result)


@pytest.mark.parametrize("name", ["mofa", "attack", "judge", "likeness", "detection", "defence"])
def test_a_shipped_result_says_when_the_shipped_weights_are_others(name, cache):
    """It was made with shipped weights, never with those of whoever ran `make results`."""
    result = load_result(name)
    assert result["weights"]
    others = []
    for file, checksum in result["weights"].items():
        path = SHIPPED / "weights" / file
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != checksum:
            others.append(file)
    line = made_with(result)
    assert ("earlier weights" in line) == bool(others) and all(file in line for file in others)


def makers() -> dict[str, str]:
    """By target of the Makefile that writes result files: its recipe."""
    rules = re.findall(
        r"^(\w+):.*\n((?:\t.*\n)+)", MAKEFILE.read_text(encoding="utf8"), re.MULTILINE
    )
    return {target: recipe for target, recipe in rules if "shipped/results" in recipe}


def test_missing_results_name_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "SHIPPED", tmp_path)
    signs = {  # in the recipe that makes each
        "mofa": "-p live True",
        "ablation": "-p ablate True",
        "likeness": "tests.meter",
        "scans": "tests.scans",
    }
    for name, sign in signs.items():
        (target,) = (target for target, recipe in makers().items() if sign in recipe)
        message = f"There is no result file {name}.json; make it with: make {target}"
        with pytest.raises(FileNotFoundError, match=f"^{message}$"):
            load_result(name)


def test_packed_numbers_have_five_digits():
    assert packed([1.0, 0.123456789, -2e-9, 123456.0]) == "1 0.12346 -2e-09 1.2346e+05"
    assert packed(torch.tensor([0.5, 0.25])) == packed(np.array([0.5, 0.25])) == "0.5 0.25"


def test_numbers_under_names_are_packed():
    measured = {"a": torch.tensor([0.5, 2.0]), "b": {"c": {"d": torch.tensor([True, False])}}}
    assert packed_all(measured) == {"a": "0.5 2", "b": {"c": {"d": "1 0"}}}


def test_packed_numbers_come_back():
    rng = np.random.default_rng(0)
    values = rng.normal(size=100) * 10.0 ** rng.integers(-6, 6, 100)
    found = unpacked(packed(values))
    assert found.dtype == float
    np.testing.assert_allclose(found, values, rtol=5e-5)
    assert packed(found) == packed(values)
    assert packed([]) == "" and unpacked("").shape == (0,)
    np.testing.assert_equal(unpacked(packed([np.nan, np.inf])), [np.nan, np.inf])


def test_a_result_names_the_commit_that_froze_its_rules(tmp_path, monkeypatch):
    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        run = ["git", "-C", tmp_path, *who, *words]
        return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()

    for place in ("book/chapter", "mofa_lib/results.py", "mofa_lib/shipped/results/r.json"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("as it was")
    monkeypatch.setattr(results, "__file__", str(tmp_path / "mofa_lib" / "results.py"))
    assert results._commit() == ""
    git("init"), git("add", "."), git("commit", "-m", "rules")
    assert results._commit() == git("rev-parse", "HEAD")
    (tmp_path / "mofa_lib/shipped/results/r.json").write_text("another result")
    assert results._commit() == git("rev-parse", "HEAD")
    (tmp_path / "book/chapter").write_text("another rule")
    assert results._commit() == ""
    git("commit", "-am", "another rule")
    library = tmp_path / ".venv" / "lib" / "mofa_lib"  # installed in somebody's own clone
    library.mkdir(parents=True)
    monkeypatch.setattr(results, "__file__", str(library / "results.py"))
    assert results._commit() == ""

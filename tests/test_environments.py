"""The files that say what to install agree: pyproject.toml, requirements.lock, environment.yml, and npm's two."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
PINS = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
}
BOUNDS = [
    *[("library", line) for line in PROJECT["dependencies"]],
    *[(extra, line) for extra, lines in PROJECT["optional-dependencies"].items() for line in lines],
]


@pytest.mark.parametrize(("extra", "line"), BOUNDS, ids=[f"{extra}-{line}" for extra, line in BOUNDS])
def test_a_pin_satisfies_every_bound(extra, line):
    requirement = Requirement(line)
    pin = PINS.get(canonicalize_name(requirement.name))
    assert pin is not None, f"requirements.lock lacks {requirement.name}"
    assert pin in requirement.specifier


def test_every_line_of_the_lock_is_a_pin():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"#.*|[\w.-]+==[\w.+!-]+", line) for line in lines)
    assert len(PINS) == sum(not line.startswith("#") for line in lines)


def test_the_library_pins_nothing():
    """Colab brings its own torch and numpy; `pip install` must leave them alone."""
    for line in PROJECT["dependencies"]:
        assert {specifier.operator for specifier in Requirement(line).specifier} == {">="}, line


def test_conda_installs_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, _, pip = environment["dependencies"]
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}
    version = python.removeprefix("python=")
    assert version in {"3.11", "3.12", "3.13"}
    assert PROJECT["requires-python"] == ">=3.11"


def test_npm_s_lock_keeps_no_addresses():
    text = (ROOT / "package-lock.json").read_text()
    assert "http" not in text
    wanted = json.loads((ROOT / "package.json").read_text())["dependencies"]
    locked = json.loads(text)["packages"]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted

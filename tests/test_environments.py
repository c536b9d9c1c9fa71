"""The files that say what to install agree: pyproject.toml, requirements.lock, environment.yml, and
npm's two.
"""

import json
import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from mofa_lib.show import viewer

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
PINS = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(
        r"^([\w.-]+)==(\S+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )
}
BOUNDS = [
    *[("library", line) for line in PROJECT["dependencies"]],
    *[(extra, line) for extra, lines in PROJECT["optional-dependencies"].items() for line in lines],
]


@pytest.mark.parametrize(
    ("extra", "line"), BOUNDS, ids=[f"{extra}-{line}" for extra, line in BOUNDS]
)
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


# Colab in August 2026, by os-info.txt and pip-freeze.txt of
# https://github.com/googlecolab/backend-info.
COLAB = {
    "python": "3.13.15", "accelerate": "1.14.0", "click": "8.4.2", "huggingface-hub": "1.27.0",
    "ipykernel": "6.17.1", "ipython": "7.34.0", "jupyter-client": "7.4.9", "matplotlib": "3.10.0",
    "nbclient": "0.10.4", "nbformat": "5.11.1", "numpy": "2.1.3", "pillow": "11.3.0",
    "psutil": "5.9.5", "requests": "2.32.4", "safetensors": "0.8.0", "scikit-image": "0.25.2",
    "scikit-learn": "1.6.1", "scipy": "1.16.3", "tenacity": "9.1.4", "torch": "2.11.0",
    "torchvision": "0.26.0", "tqdm": "4.67.3", "traitlets": "5.7.1", "typing-extensions": "4.16.0",
}  # fmt: skip


@pytest.mark.parametrize("extra", ["compare", "photos", "sweep"])
def test_colab_keeps_its_own_versions(extra):
    """Neither the library with an extra, nor a package that comes along and that Colab lacks, asks
    for others.
    """
    assert COLAB["python"] in SpecifierSet(PROJECT["requires-python"])
    asked = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]]
    for line in asked:  # it grows
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if name in COLAB:
            assert COLAB[name] in requirement.specifier, line
        elif name in PINS:
            asked += [needed for needed in requires(name) or [] if needed not in asked]


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
    package = json.loads((ROOT / "package.json").read_text())
    wanted = package["dependencies"] | package["devDependencies"]
    locked = json.loads(text)["packages"]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted


def test_the_viewer_asks_for_the_library_that_npm_pins():
    assert viewer.K3D == json.loads((ROOT / "package.json").read_text())["dependencies"]["k3d"]

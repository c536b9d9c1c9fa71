"""Idle threads of OpenMP sleep soon, wherever one starts; what the user says about it wins.

OpenMP itself is asked: it prints what it has read when it is loaded.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))


def before_installing(path: Path) -> str:
    """What a notebook does first, before Colab has the library."""
    cells = nbformat.read(path, as_version=4).cells
    first = next(cell.source for cell in cells if cell.cell_type == "code")
    return first.partition('if "google.colab"')[0]


def clean(said: dict[str, str]) -> dict[str, str]:
    """The environment with what a user says about waiting, and nothing else about it."""
    about_waiting = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    return {name: value for name, value in os.environ.items() if name not in about_waiting} | said


def turns_before_sleep(program: str, **said: str) -> int:
    """How long a thread spins, by the OpenMP that a fresh Python loads while it runs a program."""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=clean(said) | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"GOMP_SPINCOUNT = '(\d+)'", ran.stderr)
    if not found:
        pytest.skip("torch does not use GNU's OpenMP here")
    return int(found[1])


# GNU's OpenMP, without the rest of torch.
TORCH = Path(importlib.util.find_spec("torch").origin).parent / "lib"
LOAD = f"import ctypes, pathlib\nfor file in pathlib.Path({str(TORCH)!r}).glob('libgomp*'):"
LOAD += "\n    ctypes.CDLL(file)"


def test_the_library_sets_it_before_it_loads_torch():
    assert turns_before_sleep("import mofa_lib") == 10_000 < turns_before_sleep(LOAD)


WAYS = [({"GOMP_SPINCOUNT": "77"}, 77), ({"OMP_WAIT_POLICY": "PASSIVE"}, 0), ({}, 10_000)]


@pytest.mark.parametrize(("said", "turns"), WAYS)
def test_a_notebook_sets_it_before_torch_unless_the_user_has(said, turns):
    assert turns_before_sleep(f"{before_installing(NOTEBOOKS[0])}\n{LOAD}", **said) == turns


def test_all_notebooks_begin_alike():
    assert len({before_installing(path) for path in NOTEBOOKS}) == 1


@pytest.mark.parametrize(("said", "turns"), WAYS)
def test_make_hands_it_on_unless_the_user_has(said, turns):
    show = ["make", "-s", "--eval", "turns: ; @echo $$GOMP_SPINCOUNT", "turns"]
    ran = subprocess.run(show, cwd=ROOT, env=clean(said), capture_output=True, text=True)
    assert ran.stdout.strip() == ("" if "OMP_WAIT_POLICY" in said else str(turns))

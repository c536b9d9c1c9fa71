"""Result files: numbers that a chapter computed, with all that is needed to compute them again."""

import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy
import torch
from torch import Tensor

from mofa_lib.artifacts import SHIPPED, save_json
from mofa_lib.profiles import has_bfloat16, profile
from mofa_lib.weights import find_weights

# What makes a result file, where that is not `make results`.
MAKERS = {
    "ablation": "make ablation",
    "likeness": "make meter",
    "scans": "make scans",
}

# The seed of the people of a run that counts: nothing in the book looks at them before. A run with
# any other seed develops.
FROZEN_SEED = 2030


def packed(values: Iterable[float] | numpy.ndarray | Tensor) -> str:
    """Numbers as a text for a result file: five significant digits, separated by blanks."""
    return " ".join(f"{float(value):.5g}" for value in values)


def packed_all(measured: Mapping) -> dict:
    """Numbers under names within names, each tensor as `packed` makes it a text."""
    return {
        name: packed(inner) if isinstance(inner, Tensor) else packed_all(inner)
        for name, inner in measured.items()
    }


def unpacked(text: str) -> numpy.ndarray:
    """The numbers that `packed` packed."""
    return numpy.array(text.split(), dtype=float)


def load_result(name: str) -> dict:
    """A shipped result file, as the chapter that makes it wrote it.

    Raises:
        FileNotFoundError: there is no such result; the message names the command that makes it.
    """
    path = SHIPPED / "results" / f"{name}.json"
    if not path.is_file():
        command = MAKERS.get(name, "make results")
        raise FileNotFoundError(f"There is no result file {path.name}; make it with: {command}")
    return json.loads(path.read_text(encoding="utf8"))


def made_with(result: Mapping) -> str:
    """One line for the foot of a table: seed, profile, time and command.

    It also says whether the weights that the profile loads have changed since.
    """
    line = (
        f"seed {result['seed']} · profile {result['profile']} · {result['seconds']} s · "
        f"`{result['command']}`"
    )
    if result.get("commit"):
        line += f" · commit {result['commit'][:7]}"
    trained_in = profile(result["profile"]).weights
    kinds = {name.rpartition(f"_{trained_in}-")[0] for name in result["weights"]}
    today = {}
    for what in sorted(kinds):
        with suppress(FileNotFoundError, ValueError):  # where none fits, none is the same
            today |= _checksums(what, result["profile"])

    changed = [name for name, checksum in result["weights"].items() if today.get(name) != checksum]
    if changed:
        line += f" · **made with earlier weights** ({', '.join(changed)})"
    return line


def save_result(
    folder: str | Path,
    name: str,
    *,
    claim: str,
    command: str,
    profile: str,
    seed: int,
    n: int,
    weights: list[str],
    seconds: float,
    data: Mapping,
) -> dict:
    """Write a result file with its provenance, and return what it says.

    Args:
        folder: where to; `make results` gives the library's own folder.
        name: of the file, without ending.
        claim: the sentence of the paper, or the question, that the numbers answer.
        command: what computes them.
        profile: the profile they were computed in.
        seed: the chapter's.
        n: number of pairs, or of pictures, behind a number.
        weights: which of the profile's trained weights were used, see `find_weights`.
        seconds: what it took.
        data: the numbers.
    """
    checksums: dict[str, str] = {}
    for what in weights:
        checksums |= _checksums(what, profile)

    result = {
        "claim": claim,
        "command": command,
        "profile": profile,
        "seed": seed,
        "commit": _commit(),
        "n": n,
        "weights": checksums,
        "versions": {
            "torch": torch.__version__.split("+")[0],
            "numpy": numpy.__version__,
            "bfloat16": has_bfloat16(),  # whether attacks searched in it
        },
        "seconds": round(seconds),
        "data": data,
    }
    save_json(Path(folder) / f"{name}.json", result)
    return result


def _commit() -> str:
    """The commit whose rules and code are run; "" outside a clone, or where it was changed."""
    root = Path(__file__).parents[1]

    def git(*words: str) -> str:
        told = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True)
        return told.stdout.strip() if told.returncode == 0 else "?"

    try:
        if git("rev-parse", "--show-toplevel") != str(root):  # none, or somebody else's
            return ""
        head, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "mofa_lib", "book")
    except OSError:  # no git
        return ""
    results = [line for line in changed.splitlines() if "mofa_lib/shipped/results/" not in line]
    return "" if results or head == "?" else head


def _checksums(what: str, profile: str) -> dict[str, str]:
    """SHA-256 of the files of weights that a profile loads, by their names."""
    paths = find_weights(what, profile).paths
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

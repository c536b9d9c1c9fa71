"""Rebuilds the shipped heads and face model in a temporary folder and compares every number with
the shipped one.

python -m tests.rebuild
"""

import sys
import tempfile
from pathlib import Path

from mofa_lib.artifacts import load_tensors
from mofa_lib.studio.build import heads as anny_faces


def main() -> None:
    differ = []
    with tempfile.TemporaryDirectory() as folder:
        for build, shipped in (
            (anny_faces.build_heads, anny_faces.HEADS),
            (anny_faces.build_model, anny_faces.DEFAULT_MODEL),
        ):
            rebuilt = Path(folder) / shipped.name
            build(rebuilt)
            (old, old_about), (new, new_about) = load_tensors(shipped), load_tensors(rebuilt)
            if old.keys() != new.keys() or old_about != new_about:
                differ.append(f"{shipped.name}: other tensors or metadata")
            for name in old.keys() & new.keys():
                apart = float((old[name].double() - new[name].double()).abs().max())
                print(f"{shipped.name} {name}: largest difference {apart:g}")
                if apart > 1e-3:  # mm, or colour: what another processor's rounding may change
                    differ.append(f"{shipped.name} {name}")
    if differ:
        sys.exit("Not what the shipped files hold: " + ", ".join(differ))


if __name__ == "__main__":
    main()

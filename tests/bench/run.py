"""Times the library and prints tables; `make bench` runs it. Nothing here is a test: a slow machine
is not an error.

    python -m tests.bench.run --out bench.json
    python -m tests.bench.run --only threads
"""

import argparse
import importlib
from pathlib import Path

from mofa_lib.artifacts import save_json
from tests.bench.machine import machine

PARTS = ("attack", "drawing", "memory", "threads", "minutes")  # modules beside this one


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the library.")
    parser.add_argument("--only", nargs="+", default=PARTS, choices=PARTS, help="some of the parts")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    given = parser.parse_args()
    figures = {"machine": machine()}
    print(figures["machine"])
    for name in given.only:
        print()
        # Imported only now: each part needs other packages.
        figures[name] = importlib.import_module(f"tests.bench.{name}").run()
    if given.out:
        save_json(given.out, figures)


if __name__ == "__main__":
    main()

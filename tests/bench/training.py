"""Times a profile's training and says how long all of its steps would take; `make bench` runs it.

python -m tests.bench.training --profile paper --out training.json

Speed, not quality: a few pictures, again and again.
"""

import argparse
import tempfile
from pathlib import Path

import torch

from mofa_lib import RenderedFaces
from mofa_lib.artifacts import save_json
from mofa_lib.profiles import PROFILES, profile
from mofa_lib.training import train
from mofa_lib.training.loop import mixed_precision
from mofa_lib.training.tasks import make_task
from tests.bench.machine import forget_peak, machine, resident

TASKS = (
    "mofa",
    "face_identity",
    "detector",
)  # `identity` trains on codes, which takes minutes anywhere
WARM_UP = 3  # steps


def measure(what: str, name: str, faces: RenderedFaces, steps: int) -> dict[str, float]:
    """Pictures a second, milliseconds a step, gigabytes at most, and hours for the profile's number
    of steps.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    forget_peak()
    for count in (WARM_UP, steps):
        task = make_task(what, profile(name), steps=count, faces=faces)
        with tempfile.TemporaryDirectory() as folder:
            speed = train(task, Path(folder))[-1]["images_per_s"]
    memory = (
        torch.cuda.max_memory_allocated()
        if torch.cuda.is_available()
        else 2**20 * resident("VmHWM")
    )
    whole = make_task(what, profile(name), faces=faces).steps
    return {
        "batch": task.batch,
        "images_per_s": speed,
        "ms_per_step": round(1000 * task.batch / speed, 1),
        "peak_gib": round(memory / 2**30, 2),
        "hours_for_all_steps": round(whole * task.batch / speed / 3600, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a profile's training.")
    parser.add_argument("--profile", default=None, choices=list(PROFILES))
    parser.add_argument("--steps", type=int, default=20, help="that are timed")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    given = parser.parse_args()
    chosen = profile(given.profile)
    faces = RenderedFaces("train", 96, size=chosen.size)
    figures = {}
    for what in TASKS:
        figures[what] = measure(what, chosen.name, faces, given.steps)
        print(f"{what:14s}" + "".join(f"  {name} {value}" for name, value in figures[what].items()))
    where = machine() | {"precision": mixed_precision()}
    print(where)
    if given.out:
        save_json(given.out, {"machine": where, "profile": chosen.name, "figures": figures})


if __name__ == "__main__":
    main()

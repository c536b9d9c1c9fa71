"""What idle threads cost that wait by spinning: the attack, alone and beside one busy process.

    python -m tests.bench.run --only threads

Each time is that of a fresh process, since OpenMP reads its settings once: when torch is imported,
which here comes before the library, or that would set what shall not be set.
"""

import os
import subprocess
import sys
import time

import torch

from mofa_lib import CodeDistance, LatentAttack, load_pretrained
from tests.bench.timing import print_table

SETTINGS = {
    "nothing set": {},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
}
OPENMP = ("OMP_", "GOMP_", "KMP_", "MKL_")


def start(what: str, setting: dict[str, str]) -> subprocess.Popen:
    """A process of this module, with this setting of OpenMP and no other."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OPENMP)}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.bench.threads", what],
        env=clean | setting,
        stdout=subprocess.PIPE,
        text=True,
    )


def seconds(setting: dict[str, str]) -> float:
    """Of the attack in a process of its own."""
    printed, _ = start("attack", setting).communicate()
    return float(printed)


def run() -> dict[str, dict[str, float]]:
    figures = {name: {"alone_s": seconds(setting)} for name, setting in SETTINGS.items()}
    busy = start("busy", {})
    try:
        busy.stdout.readline()  # it is at work
        for name, setting in SETTINGS.items():
            figures[name]["beside_s"] = seconds(setting)
    finally:
        busy.kill()
        busy.communicate()
    rows = [
        [name, f"{figure['alone_s']:.1f}", f"{figure['beside_s']:.1f}"]
        for name, figure in figures.items()
    ]
    print_table(["8 pictures, 20 steps, seconds", "alone", "beside a busy process"], rows)
    return figures


def attack() -> None:
    """Print the seconds of an attack, after one step that does not count."""
    mofa = load_pretrained("cpu").cpu()
    distance = CodeDistance(mofa.model)
    images, targets = torch.rand(2, 8, 3, mofa.size, mofa.size)
    LatentAttack(mofa.encode, distance, steps=1)(images, targets)
    started = time.perf_counter()
    LatentAttack(mofa.encode, distance, steps=20)(images, targets)
    print(round(time.perf_counter() - started, 2))


def busy() -> None:
    """Train away, with threads that wait for each other, until somebody ends it."""
    layer, images = torch.nn.Conv2d(32, 32, 3), torch.rand(8, 32, 56, 56)
    print("at work", flush=True)
    while True:
        layer(images).square().mean().backward()


if __name__ == "__main__":
    {"attack": attack, "busy": busy}[sys.argv[1]]()

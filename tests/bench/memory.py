"""Peak memory of the renderer and of the attack, on top of the models, each in a process of its own
(Linux).
"""

import subprocess
import sys
from collections.abc import Callable

import torch

from mofa_lib import (
    CodeDistance,
    FaceCode,
    FaceRenderer,
    LatentAttack,
    load_morphable_model,
    load_pretrained,
)
from mofa_lib.profiles import has_bfloat16
from tests.bench.machine import forget_peak, resident
from tests.bench.scenes import codes, large_model
from tests.bench.timing import print_table

WORK = {
    "renderer": "renderer, forward + backward, 32 × 112²",
    "large": "renderer, forward + backward, 5 × 224², large model",
    "float32": "attack, 16 × 112²",
    "bfloat16": "attack, 16 × 112², bfloat16",
}


def renderer(size: int, batch: int, model) -> Callable[[], object]:
    """Draw random faces and take the gradient of picture and landmarks by their codes."""
    draw, vector = FaceRenderer(model, size), codes(model, batch).to_vector().requires_grad_()

    def step():
        rendering = draw(FaceCode.from_vector(vector, model))
        loss = rendering.image.square().mean() + rendering.landmarks.mean()
        return torch.autograd.grad(loss, vector)

    return step


def attack(precision: str) -> Callable[[], object]:
    mofa = load_pretrained("cpu").cpu()
    images, targets = torch.rand(2, 16, 3, mofa.size, mofa.size)
    found = LatentAttack(mofa.encode, CodeDistance(mofa.model), steps=1, precision=precision)
    return lambda: found(images, targets)


def work(name: str) -> Callable[[], object]:
    if name == "renderer":
        return renderer(112, 32, load_morphable_model())
    if name == "large":
        return renderer(224, 5, large_model())
    return attack(name)


def run() -> dict[str, int]:
    """Megabytes by what was done."""
    figures = {}
    for name, title in WORK.items():
        if name == "bfloat16" and not has_bfloat16():
            continue
        command = [sys.executable, "-m", "tests.bench.memory", name]
        figures[title] = int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    print_table(["peak memory", "MB"], list(figures.items()))
    return figures


def main() -> None:
    step = work(sys.argv[1])
    forget_peak()
    before = resident("VmRSS")
    for _ in range(3):
        step()
    print(round(resident("VmHWM") - before))


if __name__ == "__main__":
    main()

"""Peak memory of the renderer, forward and backward, in a process of its own (Linux): prints
megabytes.

python -m tests.bench.memory large
"""

import sys

import torch

from mofa_lib import FaceCode, FaceRenderer, load_morphable_model
from tests.bench.machine import forget_peak, resident
from tests.bench.scenes import codes, large_model


def main() -> None:
    model, batch, size = (
        (large_model(), 5, 224) if sys.argv[1] == "large" else (load_morphable_model(), 32, 112)
    )
    renderer = FaceRenderer(model, size)
    vector = codes(model, batch).to_vector().requires_grad_()
    forget_peak()
    before = resident("VmRSS")
    for _ in range(3):
        rendering = renderer(FaceCode.from_vector(vector, model))
        torch.autograd.grad(rendering.image.square().mean() + rendering.landmarks.mean(), vector)
        del rendering
    print(round(resident("VmHWM") - before))


if __name__ == "__main__":
    main()

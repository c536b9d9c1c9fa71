"""Times the library and prints a table; `make bench` runs it. Nothing here is a test: a slow machine is not an error.

python -m tests.bench.run --out bench.json
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mofa_lib import CodeDistance, FaceCode, FaceRenderer, LatentAttack, MoFA, load_morphable_model
from mofa_lib.alignment import five_point_template
from mofa_lib.artifacts import save_json
from mofa_lib.camera import pose
from mofa_lib.face_code import group_sizes
from mofa_lib.lighting import vertex_normals
from mofa_lib.raster import rasterize
from mofa_lib.studio import Studio

RUNS = 15


def measure(function: Callable[[], object], runs: int = RUNS) -> dict[str, float]:
    """Milliseconds a call: minimum and median over the runs, after one that does not count."""
    function()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - started))
    return {"min_ms": round(min(times), 2), "median_ms": round(statistics.median(times), 2), "runs": runs}


def codes(model, batch: int) -> FaceCode:
    z = 0.7 * torch.randn(batch, sum(group_sizes(model)), generator=torch.Generator().manual_seed(0))
    z[:, -33:] *= 0.1
    return FaceCode.from_vector(z, model)


def benchmarks() -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    model = load_morphable_model()
    renderer = FaceRenderer(model, 112)
    eight, many = codes(model, 8), codes(model, 32)
    vertices = pose(model.vertices(eight.shape, eight.expression), eight.rotation, eight.translation)
    screen = renderer.camera.project(vertices, 112)
    vector = many.to_vector().requires_grad_()

    def forward_and_backward():
        rendering = renderer(FaceCode.from_vector(vector, model))
        return torch.autograd.grad(rendering.image.square().mean() + rendering.landmarks.mean(), vector)

    mofa = MoFA(model, 112).eval().requires_grad_(False)
    torch.nn.init.normal_(mofa.head.weight, std=0.02)
    images, targets = torch.rand(2, 16, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    distance, goal = CodeDistance(model), mofa.encode(targets)

    def ten_bare_gradients():
        for _ in range(10):
            x = images.clone().requires_grad_()
            torch.autograd.grad(distance(mofa.encode(x), goal).sum(), x)

    studio, template = Studio(), five_point_template(112)
    person = studio.person(np.random.default_rng(0))
    return {
        "rasterize, 8 × 112², default model": lambda: rasterize(screen, model.faces, 112),
        "vertex normals, 8, default model": lambda: vertex_normals(vertices, model.faces),
        "renderer forward + backward, 32 × 112²": forward_and_backward,
        "encoder, 16 × 112², 10 bare gradients": ten_bare_gradients,
        "latent attack, 16 × 112², 10 steps": lambda: LatentAttack(mofa.encode, distance, steps=10)(images, targets),
        "studio, 8 pictures of one person, 112²": lambda: studio.photograph(
            person, [np.random.default_rng(i) for i in range(8)], template, 112
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the library.")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    out = parser.parse_args().out
    figures = {}
    for name, function in benchmarks().items():
        figures[name] = measure(function)
        print(
            f"{name:45s} {figures[name]['min_ms']:9.1f} ms at best, {figures[name]['median_ms']:9.1f} ms in the median"
        )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    machine = {"device": device, "threads": torch.get_num_threads(), "torch": torch.__version__}
    if out:
        save_json(out, {"machine": machine, "figures": figures})
    else:
        print(json.dumps(machine))


if __name__ == "__main__":
    main()

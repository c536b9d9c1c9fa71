"""Times the library and prints a table; `make bench` runs it. Nothing here is a test: a slow
machine is not an error.

python -m tests.bench.run --out bench.json
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import foolbox
import numpy as np
import torch
from art.attacks.evasion import FeatureAdversariesPyTorch

from mofa_lib import CodeDistance, FaceCode, FaceRenderer, LatentAttack, MoFA, load_morphable_model
from mofa_lib.adapters import CodeCoordinates, NearCodes, art_estimator, foolbox_model, toward_codes
from mofa_lib.artifacts import save_json
from mofa_lib.mesh import vertex_normals
from mofa_lib.morphable import MorphableModel
from mofa_lib.raster import _visibility, rasterize
from mofa_lib.studio import Studio
from tests.bench.machine import machine
from tests.bench.scenes import codes, large_model, on_screen, subdivide

try:
    from tests.bench.zbuffer import zbuffer
except ModuleNotFoundError as error:
    sys.exit(
        f"The benchmark compares with a compiled z-buffer, and {error.name} is missing: "
        "pip install numba."
    )

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
    return {
        "min_ms": round(min(times), 2),
        "median_ms": round(statistics.median(times), 2),
        "runs": runs,
    }


def forward_and_backward(model: MorphableModel, batch: int, size: int) -> Callable[[], object]:
    """Draw random faces and take the gradient of picture and landmarks by their codes."""
    renderer, vector = FaceRenderer(model, size), codes(model, batch).to_vector().requires_grad_()

    def run():
        rendering = renderer(FaceCode.from_vector(vector, model))
        return torch.autograd.grad(
            rendering.image.square().mean() + rendering.landmarks.mean(), vector
        )

    return run


def benchmarks() -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    model, large = load_morphable_model(), large_model()
    timed = {}
    for name, head, batch, size in (("default", model, 8, 112), ("large", large, 5, 224)):
        screen, faces = on_screen(head, batch, size), head.faces
        arrays = screen.contiguous().numpy(), faces.numpy(), size, size
        differ = (
            rasterize(screen, faces, size).face != torch.from_numpy(zbuffer(*arrays)[0])
        ).sum()
        print(
            f"{name} model: {len(faces)} triangles; "
            f"rasterize and the z-buffer disagree about {differ} pixels"
        )
        planes, corners = screen.movedim(-1, 0).contiguous(), faces.T.contiguous()
        case = f"{batch} × {size}², {name} model"
        timed |= {
            f"visibility alone, {case}": lambda p=planes, c=corners, n=size: _visibility(
                p, c, n, n, True
            ),
            f"rasterize, {case}": lambda s=screen, f=faces, n=size: rasterize(s, f, n),
            f"compiled z-buffer, {case}": lambda arrays=arrays: zbuffer(*arrays),
        }
    vertices = model.vertices(*(torch.randn(8, n) for n in model.sizes[:2]))

    mofa = MoFA(model, 112).eval().requires_grad_(False)
    torch.nn.init.normal_(mofa.head.weight, std=0.02)
    images, targets = torch.rand(2, 16, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    distance, goal = CodeDistance(model), mofa.encode(targets)

    def ten_bare_gradients():
        for _ in range(10):
            x = images.clone().requires_grad_()
            torch.autograd.grad(distance(mofa.encode(x), goal).sum(), x)

    network = CodeCoordinates(mofa, distance)
    adam = toward_codes(foolbox.attacks.LinfAdamPGD(steps=10, rel_stepsize=0.1, random_start=False))
    bounded, near = foolbox_model(network), NearCodes(network(targets), goal=0.0)
    of_features = FeatureAdversariesPyTorch(
        art_estimator(network), delta=0.05, layer="0", step_size=0.005, max_iter=10, verbose=False
    )
    arrays = images.numpy(), targets.numpy()

    studio = Studio()
    person = studio.person(np.random.default_rng(0))
    return timed | {
        "vertex normals, 8, default model": lambda: vertex_normals(vertices, model.faces),
        "renderer forward + backward, 32 × 112²": forward_and_backward(model, 32, 112),
        "renderer forward + backward, 5 × 224², large model": forward_and_backward(large, 5, 224),
        "encoder, 16 × 112², 10 bare gradients": ten_bare_gradients,
        "latent attack, 16 × 112², 10 steps": lambda: LatentAttack(mofa.encode, distance, steps=10)(
            images, targets
        ),
        "the same through foolbox": lambda: adam(bounded, images, near, epsilons=0.05),
        "the same through ART": lambda: of_features.generate(*arrays),
        "studio, 8 pictures of one person, 112²": lambda: studio.photograph(
            person, [np.random.default_rng(i) for i in range(8)], 112
        ),
    }


def sweep() -> dict[str, object]:
    """Time of `rasterize` against triangles and covered pixels, and the plane through the origin
    that fits it best.
    """
    model = load_morphable_model()
    vertices, faces = model.mean_shape, model.faces
    rows = []
    for _ in range(3):
        for size in (56, 112, 224, 448):
            screen = FaceRenderer(model).camera.project(vertices.expand(4, -1, -1), size)
            found = rasterize(screen, faces, size)
            best = measure(lambda s=screen, f=faces, n=size: rasterize(s, f, n), 7)["min_ms"]
            rows.append(
                {
                    "triangles": 4 * len(faces),
                    "pixels": int((found.face >= 0).sum()),
                    "min_ms": best,
                }
            )
        vertices, faces = subdivide(vertices, faces)
    work, times = (
        np.array([[r["triangles"], r["pixels"]] for r in rows]),
        np.array([r["min_ms"] for r in rows]),
    )
    # Relative errors count, so each row is divided by its time.
    nanoseconds = 1e6 * np.linalg.lstsq(work / times[:, None], np.ones(len(rows)), rcond=None)[0]
    ratios = times / (work @ nanoseconds * 1e-6)
    return {
        "rows": rows,
        "ns_per_triangle": round(float(nanoseconds[0]), 1),
        "ns_per_pixel": round(float(nanoseconds[1]), 1),
        "measured_over_linear": [round(float(ratios.min()), 2), round(float(ratios.max()), 2)],
    }


def peak_memory(model: str) -> int:
    """Megabytes that the renderer, forward and backward, needs on top of the model."""
    return int(
        subprocess.run(
            [sys.executable, "-m", "tests.bench.memory", model], capture_output=True, check=True
        ).stdout
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the library.")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    out = parser.parse_args().out
    figures = {}
    for name, function in benchmarks().items():
        figures[name] = measure(function)
        print(
            f"{name:52s} {figures[name]['min_ms']:9.1f} ms at best, "
            f"{figures[name]['median_ms']:9.1f} ms in the median"
        )
    linear = sweep()
    print(
        f"rasterize takes {linear['ns_per_triangle']} ns a triangle + "
        f"{linear['ns_per_pixel']} ns a covered pixel; measured times are "
        f"{linear['measured_over_linear']} of that over {len(linear['rows'])} scenes"
    )
    memory = {"32 × 112²": peak_memory("default"), "5 × 224², large model": peak_memory("large")}
    print(f"peak memory of the renderer, forward + backward, in MB: {memory}")
    if out:
        save_json(
            out,
            {"machine": machine(), "figures": figures, "sweep": linear, "renderer_peak_mb": memory},
        )
    else:
        print(json.dumps(machine()))


if __name__ == "__main__":
    main()

"""The rasteriser beside a compiled z-buffer, and how many pictures are drawn in a second."""

import sys
from collections.abc import Callable

import numpy as np
import torch

from mofa_lib import FaceCode, FaceRenderer, load_morphable_model
from mofa_lib.mesh import vertex_normals
from mofa_lib.morphable import MorphableModel
from mofa_lib.raster import _visibility, rasterize
from mofa_lib.studio import Studio
from tests.bench.memory import renderer
from tests.bench.scenes import codes, large_model, on_screen, subdivide
from tests.bench.timing import print_table, side_by_side

try:
    from tests.bench.zbuffer import zbuffer
except ModuleNotFoundError as error:
    sys.exit(
        f"The benchmark compares with a compiled z-buffer, and {error.name} is missing: "
        "pip install numba."
    )

RUNS = 15


def visibility(model: MorphableModel, batch: int, size: int) -> dict[str, Callable[[], object]]:
    """The search for what is visible, alone and in `rasterize`, and the z-buffer's."""
    screen, faces = on_screen(model, batch, size), model.faces
    arrays = screen.contiguous().numpy(), faces.numpy(), size, size
    planes, corners = screen.movedim(-1, 0).contiguous(), faces.T.contiguous()
    differ = (rasterize(screen, faces, size).face != torch.from_numpy(zbuffer(*arrays)[0])).sum()
    print(
        f"{batch} × {size}², {len(faces)} triangles: "
        f"rasterize and the z-buffer disagree about {differ} pixels"
    )
    return {
        "compiled z-buffer": lambda: zbuffer(*arrays),
        "visibility alone": lambda: _visibility(planes, corners, size, size, True),
        "rasterize": lambda: rasterize(screen, faces, size),
    }


def against_the_zbuffer() -> dict[str, dict]:
    figures = {}
    for name, model, batch, size in (
        ("default", load_morphable_model(), 8, 112),
        ("large", large_model(), 5, 224),
    ):
        times = side_by_side(visibility(model, batch, size), RUNS)
        base = times["compiled z-buffer"]["median_ms"]
        rows = []
        for what, figure in times.items():
            figure["times_the_zbuffer"] = round(figure["median_ms"] / base, 2)
            rows.append([what, f"{figure['median_ms']:.1f}", f"{figure['times_the_zbuffer']:.2f}"])
        print_table([f"{batch} × {size}², {name} model", "ms", "÷ z-buffer"], rows)
        figures[name] = times
    return figures


def pictures_a_second() -> dict[str, dict]:
    """Of the renderer, of its gradient, and of the studio; normals are a part of the first."""
    model, large, studio = load_morphable_model(), large_model(), Studio()
    person = studio.person(np.random.default_rng(0))
    draw, faces = FaceRenderer(model, 112), codes(model, 32)
    vertices = model.vertices(faces.shape, faces.expression)

    @torch.no_grad()
    def forward():
        return draw(FaceCode.from_vector(faces.to_vector(), model))

    work = {
        "renderer, 112²": (32, forward),
        "renderer, forward + backward, 112²": (32, renderer(112, 32, model)),
        "renderer, forward + backward, 224², large model": (5, renderer(224, 5, large)),
        "vertex normals, default model": (32, lambda: vertex_normals(vertices, model.faces)),
        "studio, one person, 112²": (
            8,
            lambda: studio.photograph(person, [np.random.default_rng(i) for i in range(8)], 112),
        ),
    }
    figures = side_by_side({name: function for name, (_, function) in work.items()}, RUNS)
    rows = []
    for name, (count, _) in work.items():
        figures[name]["a_second"] = round(1000 * count / figures[name]["median_ms"], 1)
        rows.append([name, f"{figures[name]['median_ms']:.1f}", figures[name]["a_second"]])
    print_table(["drawn", "ms", "pictures a second"], rows)
    return figures


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
            times = side_by_side({"": lambda s=screen, f=faces, n=size: rasterize(s, f, n)}, 7)
            rows.append(
                {
                    "triangles": 4 * len(faces),
                    "pixels": int((found.face >= 0).sum()),
                    "min_ms": times[""]["min_ms"],
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
    linear = {
        "rows": rows,
        "ns_per_triangle": round(float(nanoseconds[0]), 1),
        "ns_per_pixel": round(float(nanoseconds[1]), 1),
        "measured_over_linear": [round(float(ratios.min()), 2), round(float(ratios.max()), 2)],
    }
    print(
        f"rasterize takes {linear['ns_per_triangle']} ns a triangle + "
        f"{linear['ns_per_pixel']} ns a covered pixel; measured times are "
        f"{linear['measured_over_linear']} of that over {len(rows)} scenes"
    )
    return linear


def run() -> dict[str, object]:
    return {
        "zbuffer": against_the_zbuffer(),
        "pictures": pictures_a_second(),
        "sweep": sweep(),
    }

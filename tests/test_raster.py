"""Visibility and barycentric coordinates against a loop over pixels, ray casting and finite differences."""

import numpy as np
import pytest
import torch

from mofa_lib.camera import Camera
from mofa_lib.raster import interpolate, rasterize


def brute_force(screen, faces, height, width, cull):
    """Every triangle at every pixel, in float64, one after the other."""
    face, depth = np.full((height, width), -1), np.zeros((height, width))
    weights = np.zeros((height, width, 3))
    for index, triangle in enumerate(faces):
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = screen[triangle].tolist()
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if min(az, bz, cz) <= 0 or area == 0 or (cull and area > 0):
            continue
        for row in range(height):
            for column in range(width):
                x, y = column + 0.5, row + 0.5
                a = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                b = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                c = ((ax - x) * (by - y) - (ay - y) * (bx - x)) / area
                if min(a, b, c) < 0:
                    continue
                here = 1 / (a / az + b / bz + c / cz)
                if face[row, column] < 0 or here < depth[row, column]:
                    face[row, column], depth[row, column] = index, here
                    weights[row, column] = np.array([a / az, b / bz, c / cz]) * here
    return face, weights, depth


def scene(seed: int, size: tuple[int, int], vertices: int = 14, faces: int = 24):
    """Random triangles, partly outside the picture and partly behind the camera."""
    rng = np.random.default_rng(seed)
    height, width = size
    screen = rng.uniform([-4, -4, -0.3], [width + 4, height + 4, 3], (vertices, 3)).astype(np.float32)
    return screen, np.stack([rng.choice(vertices, 3, replace=False) for _ in range(faces)])


@pytest.mark.parametrize("cull", [True, False])
@pytest.mark.parametrize(("size", "seed"), [((9, 9), 0), ((7, 12), 1), ((12, 5), 2), ((1, 1), 3)])
def test_agrees_with_a_loop_over_pixels(size, seed, cull):
    screens, faces = zip(*[scene(seed, size), scene(seed + 100, size)], strict=True)
    screen = torch.from_numpy(np.stack(screens))
    found = rasterize(screen, torch.from_numpy(faces[0]), size, cull_backfaces=cull)
    for image in range(2):
        face, weights, depth = brute_force(screens[image].astype(np.float64), faces[0], *size, cull)
        np.testing.assert_array_equal(found.face[image], face)
        np.testing.assert_allclose(found.barycentric[image], weights, atol=2e-4)
        np.testing.assert_allclose(found.depth[image], depth, rtol=1e-4)
    assert found.face.dtype == torch.int64
    assert size == (1, 1) or (found.face >= 0).any() and (found.face < 0).any()


def test_one_number_is_a_square():
    screen, faces = scene(5, (8, 8))
    screen, faces = torch.from_numpy(screen)[None], torch.from_numpy(faces)
    assert rasterize(screen, faces, 8).face.equal(rasterize(screen, faces, (8, 8)).face)


# Two triangles that cover the picture: counter-clockwise as the viewer sees them, so in front.
COVER = torch.tensor([[-9.0, 29.0, 2.0], [29.0, 29.0, 2.0], [9.0, -29.0, 2.0]])


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda corner: corner, True),
        (lambda corner: corner.flip(0), False),  # turned away
        (lambda corner: corner * torch.tensor([1.0, 1.0, -1.0]), False),  # behind the camera
        (lambda corner: corner.index_fill(0, torch.tensor(1), 0.0), False),  # a depth of 0
        (lambda corner: corner[[0, 1, 1]], False),  # no area
        (lambda corner: corner.index_fill(0, torch.tensor(2), torch.nan), False),
        (lambda corner: corner + torch.tensor([500.0, 0.0, 0.0]), False),  # beside the picture
    ],
)
def test_which_triangles_are_drawn(change, seen):
    found = rasterize(change(COVER)[None], torch.tensor([[0, 1, 2]]), 4)
    assert bool((found.face == 0).all()) is seen
    if not seen:
        assert (found.face == -1).all() and not found.barycentric.any() and not found.depth.any()


def test_backfaces_are_drawn_when_asked_for():
    found = rasterize(COVER.flip(0)[None], torch.tensor([[0, 1, 2]]), 4, cull_backfaces=False)
    assert (found.face == 0).all()
    torch.testing.assert_close(found.depth, torch.full((1, 4, 4), 2.0))


def test_exact_ties_go_to_the_lowest_index():
    screen = torch.cat([COVER + torch.tensor([0.0, 0.0, 1.0]), COVER, COVER])[None]
    faces = torch.arange(9).reshape(3, 3)
    assert (rasterize(screen, faces, 5).face == 1).all()
    assert (rasterize(screen, faces.flip(0), 5).face == 0).all()


def test_no_triangles():
    found = rasterize(COVER[None], torch.zeros(0, 3, dtype=torch.int64), 3)
    assert (found.face == -1).all()


@pytest.mark.parametrize("quarter", [False, True])
def test_a_closed_surface_has_no_cracks(quarter):
    """A jittered grid that covers the picture; on the quarter grid, edges and corners run through pixel centres."""
    rng = np.random.default_rng(0)
    n = 13
    y, x = np.meshgrid(np.linspace(-2, 34, n), np.linspace(-2, 34, n), indexing="ij")
    points = np.stack([x, y], -1) + rng.uniform(-0.9, 0.9, (n, n, 2))
    if quarter:
        points = np.round(points * 2) / 2
    depth = rng.uniform(1, 2, (n, n, 1))
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate(
        [
            np.stack([corner, corner + n, corner + 1], 1),
            np.stack([corner + 1, corner + n, corner + n + 1], 1),
        ]
    )
    screen = torch.from_numpy(np.concatenate([points, depth], -1).reshape(1, -1, 3)).float()
    found = rasterize(screen, torch.from_numpy(faces), 32)
    assert (found.face >= 0).all()


def test_barycentrics_are_those_of_the_ray_s_intersection():
    """In space, the pixel's ray meets the triangle's plane at Σ bᵢ vᵢ: solve for b directly."""
    camera, size = Camera(focal=2.0, distance=300.0), 24
    rng = np.random.default_rng(4)
    points = torch.from_numpy(rng.uniform(-120, 120, (1, 30, 3)))
    faces = torch.from_numpy(np.stack([rng.choice(30, 3, replace=False) for _ in range(12)]))
    found = rasterize(camera.project(points, size), faces, size, cull_backfaces=False)
    seen = 0
    for row, column in torch.nonzero(found.face[0] >= 0).tolist():
        ray = np.array([(column + 0.5) / (size / 2) - 1, 1 - (row + 0.5) / (size / 2), -camera.focal])
        corners = (points[0, faces[found.face[0, row, column]]].numpy() - [0, 0, camera.distance]).T
        weights = np.linalg.solve(corners, ray)
        weights /= weights.sum()
        np.testing.assert_allclose(found.barycentric[0, row, column], weights, atol=1e-9)
        np.testing.assert_allclose(found.depth[0, row, column], -corners[2] @ weights, rtol=1e-9)
        seen += 1
    assert seen > 100


def double_scene():
    screen, faces = scene(11, (6, 7), vertices=8, faces=6)
    screen[:, 2] = np.abs(screen[:, 2]) + 0.5
    return torch.from_numpy(screen)[None].double().requires_grad_(), torch.from_numpy(faces)


def test_gradients_of_barycentrics_and_depth():
    screen, faces = double_scene()

    def draw(screen):
        found = rasterize(screen, faces, (6, 7), cull_backfaces=False)
        return found.barycentric, found.depth

    assert (draw(screen)[1] > 0).sum() > 10
    assert torch.autograd.gradcheck(draw, screen)


def test_gradients_of_interpolated_values():
    screen, faces = double_scene()
    values = torch.randn(1, 8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def draw(screen, values):
        return interpolate(rasterize(screen, faces, (6, 7), cull_backfaces=False), faces, values)

    assert torch.autograd.gradcheck(draw, (screen, values))


def test_interpolation_reproduces_what_is_linear_in_space():
    """Interpolated positions lie on the pixel's ray: exactly what perspective correctness means."""
    camera, size = Camera(focal=2.0, distance=300.0), 16
    rng = np.random.default_rng(7)
    points = torch.from_numpy(rng.uniform(-120, 120, (2, 20, 3)))
    faces = torch.from_numpy(np.stack([rng.choice(20, 3, replace=False) for _ in range(8)]))
    found = rasterize(camera.project(points, size), faces, size)
    at = interpolate(found, faces, points)
    hit = found.face >= 0
    x, y, _ = camera.project(at.flatten(1, 2), size).reshape(at.shape).unbind(-1)
    centre = torch.arange(size).double() + 0.5
    torch.testing.assert_close(x[hit], centre.expand(2, size, size)[hit])
    torch.testing.assert_close(y[hit], centre[:, None].expand(2, size, size)[hit])
    assert not at[~hit].any()


@pytest.mark.parametrize(
    ("screen", "faces"), [((5, 3), (2, 3)), ((1, 5, 2), (2, 3)), ((1, 5, 3), (2, 4)), ((1, 5, 3), (3,))]
)
def test_wrong_shapes_are_refused(unchecked, screen, faces):
    with pytest.raises(ValueError, match=r"needs screen \(B, V, 3\) and faces \(F, 3\), got"):
        rasterize(torch.ones(screen), torch.zeros(faces, dtype=torch.int64), 4)

"""Visibility, barycentric coordinates: against brute force, ray casting, finite differences."""

import numpy as np
import pytest
import torch

from mofa_lib import raster
from mofa_lib.camera import Camera, pose
from mofa_lib.raster import interpolate, rasterize


def brute_force(screen, faces, height, width, cull):
    """Every triangle at every pixel, in float64: face, weights, depth, and the depth of the second
    nearest.

    A pixel more than one beyond a triangle's box is taken to be outside without looking.
    """
    face, weights = np.full((height, width), -1), np.zeros((height, width, 3))
    depth, second = np.full((height, width), np.inf), np.full((height, width), np.inf)
    for index, triangle in enumerate(screen.astype(np.float64)[faces]):
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = triangle
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if min(az, bz, cz) <= 0 or area == 0 or (cull and area > 0):
            continue
        left, top = np.clip(triangle[:, :2].min(0) - 1, 0, [width, height]).astype(int)
        right, bottom = np.clip(triangle[:, :2].max(0) + 2, 0, [width, height]).astype(int)
        window = slice(top, bottom), slice(left, right)
        x, y = np.arange(left, right) + 0.5, np.arange(top, bottom)[:, None] + 0.5
        areas = np.stack(
            [
                (bx - x) * (cy - y) - (by - y) * (cx - x),
                (cx - x) * (ay - y) - (cy - y) * (ax - x),
                (ax - x) * (by - y) - (ay - y) * (bx - x),
            ],
            -1,
        )
        inside = (areas * np.sign(area) >= 0).all(-1)
        over_depth = areas[inside] / [az, bz, cz]
        here = np.full(inside.shape, np.inf)
        here[inside] = areas[inside].sum(-1) / over_depth.sum(-1)
        nearer = here < depth[window]
        second[window] = np.where(nearer, depth[window], np.minimum(second[window], here))
        face[window][nearer], depth[window][nearer] = index, here[nearer]
        weights[window][nearer] = (over_depth / over_depth.sum(-1, keepdims=True))[nearer[inside]]
    return face, weights, np.where(face >= 0, depth, 0), second


def same_faces(found, face, depth, second):
    """Pixel for pixel, but where two depths differ by less than float32 can tell. Exact ties are
    not excused.
    """
    excused = (second > depth) & (second < depth * (1 + 3e-7)) & (face >= 0)
    assert excused.mean() < 0.01
    np.testing.assert_array_equal(found[~excused], face[~excused])


def scene(seed: int, size: tuple[int, int], vertices: int = 14, faces: int = 24):
    """Random triangles, partly outside the picture and partly behind the camera."""
    rng = np.random.default_rng(seed)
    height, width = size
    screen = rng.uniform([-4, -4, -0.3], [width + 4, height + 4, 3], (vertices, 3)).astype(
        np.float32
    )
    return screen, np.stack([rng.choice(vertices, 3, replace=False) for _ in range(faces)])


def soup(kind: str, size: tuple[int, int], count: int = 400, seed: int = 0):
    """Triangles that share no corner, of one kind."""
    rng = np.random.default_rng(seed)
    height, width = size
    spread = {"specks": 0.8, "giants": 100.0}.get(kind, 8.0)
    corners = rng.uniform([-3, -3, 1], [width + 3, height + 3, 9], (count, 3, 3))
    corners[..., :2] = corners[:, :1, :2] + rng.normal(scale=spread, size=(count, 3, 2))
    if kind == "slivers":  # from pixel centre to pixel centre, a ten-thousandth of a pixel wide
        corners[:, :2, :2] = np.floor(corners[:, :2, :2]) + 0.5
        along = rng.uniform(0, 1, (count, 1))
        corners[:, 2, :2] = corners[:, 0, :2] + along * (corners[:, 1, :2] - corners[:, 0, :2])
        corners[:, 2, :2] += rng.normal(scale=1e-4, size=(count, 2))
    if kind == "on half pixels":  # corners and edges run through pixel centres
        corners[..., :2] = np.round(2 * corners[..., :2]) / 2
    if kind == "all at one depth":
        corners[..., 2] = 2
    return corners.reshape(-1, 3).astype(np.float32), np.arange(3 * count).reshape(count, 3)


@pytest.mark.parametrize("cull", [True, False])
@pytest.mark.parametrize(
    ("size", "seed"), [((9, 9), 0), ((7, 12), 1), ((12, 5), 2), ((1, 1), 3), ((40, 33), 4)]
)
def test_agrees_with_every_triangle_at_every_pixel(size, seed, cull):
    screens, faces = zip(*[scene(seed, size), scene(seed + 100, size)], strict=True)
    found = rasterize(
        torch.from_numpy(np.stack(screens)), torch.from_numpy(faces[0]), size, cull_backfaces=cull
    )
    for image in range(2):
        face, weights, depth, second = brute_force(screens[image], faces[0], *size, cull)
        same_faces(found.face[image].numpy(), face, depth, second)
        np.testing.assert_allclose(found.barycentric[image], weights, atol=2e-4)
        np.testing.assert_allclose(found.depth[image], depth, rtol=1e-4)
    assert found.face.dtype == torch.int64
    assert size == (1, 1) or (found.face >= 0).any() and (found.face < 0).any()


@pytest.mark.parametrize("cull", [True, False])
@pytest.mark.parametrize(
    "kind", ["of a few pixels", "specks", "giants", "slivers", "on half pixels", "all at one depth"]
)
def test_soups_agree_with_every_triangle_at_every_pixel(kind, cull):
    """In float32 as in float64; in float64 the weights and depths are exact, too."""
    size = (61, 84)
    screen, faces = soup(kind, size)
    face, weights, depth, second = brute_force(screen, faces, *size, cull)
    assert (face >= 0).mean() > 0.01 and len(np.unique(face)) > 10
    for precision in (torch.float32, torch.float64):
        given = torch.from_numpy(screen)[None].to(precision)
        found = rasterize(given, torch.from_numpy(faces), size, cull_backfaces=cull)
        assert found.barycentric.dtype == found.depth.dtype == precision
        same_faces(found.face[0].numpy(), face, depth, second)
    agree = (found.face[0].numpy() == face)[..., None]
    np.testing.assert_allclose(found.barycentric[0].numpy() * agree, weights * agree, atol=1e-6)
    np.testing.assert_allclose(found.depth[0], depth, rtol=3e-7)


@pytest.mark.parametrize("reach", [8.0, 300.0, 10_000.0])
def test_edges_that_graze_a_pixel_centre(reach):
    """They miss it by no more than their corners' rounding: here float32 edge functions often have
    the wrong sign.
    """
    rng = np.random.default_rng(0)
    count, size = 500, 9
    centre = rng.integers(0, size, (count, 2)) + 0.5
    corners = np.ones((count, 3, 3))
    corners[:, :, :2] = centre[:, None] + rng.normal(scale=reach, size=(count, 3, 2))
    corners[:, 1, :2] = centre + rng.uniform(0.2, 2, (count, 1)) * (centre - corners[:, 0, :2])
    corners = corners.astype(np.float32)
    found = rasterize(
        torch.from_numpy(corners), torch.tensor([[0, 1, 2]]), size, cull_backfaces=False
    )
    grazed = 0
    for image in range(count):
        face, *_ = brute_force(corners[image], np.array([[0, 1, 2]]), size, size, False)
        np.testing.assert_array_equal(found.face[image], face)
        column, row = centre[image].astype(int)
        grazed += face[row, column] == 0
    assert 0.2 * count < grazed < 0.8 * count


@pytest.mark.parametrize(
    "angles",
    [(0.0, 0.0, 0.0), (0.1, 1.5, 0.0), (-0.5, -0.7, 0.2), (0.6, 0.4, -0.6), (0.0, np.pi, 0.0)],
)
def test_heads_agree_with_every_triangle_at_every_pixel(model, angles):
    """At the size of training: from the front, in profile, looking up and down, from behind."""
    random = torch.Generator().manual_seed(0)
    shape, expression = (torch.randn(1, n, generator=random) for n in model.sizes[:2])
    head = pose(model.vertices(shape, expression), torch.tensor([angles]), torch.zeros(1, 3))
    screen = Camera().project(head, 112)
    found = rasterize(screen, model.faces, 112)
    face, weights, depth, second = brute_force(
        screen[0].numpy(), model.faces.numpy(), 112, 112, True
    )
    same_faces(found.face[0].numpy(), face, depth, second)
    agree = (found.face[0].numpy() == face)[..., None]
    np.testing.assert_allclose(found.barycentric[0].numpy() * agree, weights * agree, atol=5e-3)
    np.testing.assert_allclose(found.depth[0], depth, rtol=1e-5)
    assert (face >= 0).mean() > (0.05 if angles[1] > 3 else 0.2)


def test_a_batch_is_its_images_one_by_one_and_twice_the_same(model):
    angles = torch.tensor([[0.0, 0.0, 0.0], [0.2, 0.8, 0.1], [-0.3, -1.4, 0.0]])
    screen = Camera().project(
        pose(model.mean_shape.expand(3, -1, -1), angles, torch.zeros(3, 3)), 64
    )
    screen.requires_grad_()
    random = torch.randn(3, 64, 64, 3, generator=torch.Generator().manual_seed(0))

    def draw(screen, random):
        found = rasterize(screen, model.faces, 64)
        (gradient,) = torch.autograd.grad(
            (found.barycentric * random).sum() + found.depth.sum(), screen
        )
        return found.face, found.barycentric, found.depth, gradient

    together = draw(screen, random)
    for again, first in zip(draw(screen, random), together, strict=True):
        assert again.equal(first)
    for i in range(3):
        for alone, one in zip(draw(screen[i : i + 1], random[i : i + 1]), together, strict=True):
            assert alone[0].equal(one[i])


@pytest.mark.parametrize("chunk", [1, 50])
def test_nothing_depends_on_how_many_triangles_are_taken_at_a_time(monkeypatch, chunk):
    screen, faces = (torch.from_numpy(a) for a in soup("on half pixels", (30, 30), 60))
    screen = torch.stack([screen, screen.flip(0)])
    for cull in (True, False):
        whole = rasterize(screen, faces, 30, cull_backfaces=cull).face
        with monkeypatch.context() as patch:
            patch.setattr(raster, "_CHUNK", chunk)
            assert rasterize(screen, faces, 30, cull_backfaces=cull).face.equal(whole)


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
        (
            lambda corner: corner * torch.tensor([[1.0, 1, 1], [1, 1, 0], [1, 1, 1]]),
            False,
        ),  # a depth of 0
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
    """A jittered grid that covers the picture; on the quarter grid, edges and corners run through
    pixel centres.
    """
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
        ray = np.array(
            [(column + 0.5) / (size / 2) - 1, 1 - (row + 0.5) / (size / 2), -camera.focal]
        )
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
    values = torch.randn(
        1, 8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()

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


def test_values_may_be_less_precise_than_the_geometry():
    screen, faces = double_scene()
    found = rasterize(screen, faces, (6, 7), cull_backfaces=False)
    values = torch.rand(1, 8, 2, generator=torch.Generator().manual_seed(0))
    drawn = interpolate(found, faces, values)
    assert drawn.dtype == torch.float64
    assert drawn.equal(interpolate(found, faces, values.double()))


@pytest.mark.parametrize("size", [(0, 4), (4, -1), 0])
def test_no_picture_is_without_pixels(size):
    screen, faces = double_scene()
    with pytest.raises(ValueError, match="whole number size ≥ 1 is needed"):
        rasterize(screen, faces, size)


@pytest.mark.parametrize(
    ("screen", "faces"),
    [((5, 3), (2, 3)), ((1, 5, 2), (2, 3)), ((1, 5, 3), (2, 4)), ((1, 5, 3), (3,))],
)
def test_wrong_shapes_are_refused(unchecked, screen, faces):
    with pytest.raises(ValueError, match=r"needs screen \(B, V, 3\) and faces \(F, 3\), got"):
        rasterize(torch.ones(screen), torch.zeros(faces, dtype=torch.int64), 4)

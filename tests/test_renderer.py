"""The decoder: what z = 0 looks like, that each group does what it says, and gradients by finite
differences.
"""

import copy

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from mofa_lib import FaceCode, FaceRenderer
from mofa_lib.camera import Camera
from mofa_lib.face_code import GROUPS, group_sizes
from mofa_lib.mesh import vertex_normals
from mofa_lib.morphable import MorphableModel
from mofa_lib.raster import interpolate, rasterize

Y00, Y1M, Y10, Y11 = range(4)


def code_with(model, **parts):
    """The mean code with a few numbers changed: group={index: value}."""
    code = FaceCode.mean(model)
    for group, changes in parts.items():
        for index, value in changes.items():
            getattr(code, group)[0, index] = value
    return code


@pytest.fixture(scope="module")
def renderer(model):
    return FaceRenderer(model, 64)


def test_z_0_is_the_mean_face_in_white_light(model, renderer):
    """Frontal, at the camera's distance, albedo as it is."""
    rendering = renderer(FaceCode.mean(model))
    screen = Camera().project(model.mean_shape[None], 64)
    fragments = rasterize(screen, model.faces, 64)
    plain = interpolate(fragments, model.faces, model.mean_appearance[None])[0].permute(2, 0, 1)
    torch.testing.assert_close(rendering.image[0], plain, atol=1e-6, rtol=0)
    torch.testing.assert_close(rendering.vertices[0], model.mean_shape, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        rendering.landmarks, screen[:, model.landmarks, :2], atol=1e-4, rtol=0
    )
    assert 0.25 < rendering.mask.mean() < 0.75 and set(rendering.mask.unique().tolist()) == {0, 1}
    assert not rendering.image[(rendering.mask == 0).expand_as(rendering.image)].any()


@pytest.mark.parametrize(
    ("parts", "axis", "sign"),
    [
        ({"translation": {0: 20.0}}, 0, 1),  # to the viewer's right: larger columns
        ({"translation": {1: 20.0}}, 1, -1),  # up: smaller rows
        ({"rotation": {1: 0.2}}, 0, 1),  # nose to the viewer's right
        ({"rotation": {0: 0.2}}, 1, 1),  # looks down
    ],
)
def test_pose_moves_the_nose(model, renderer, parts, axis, sign):
    nose = [
        renderer(code).landmarks[0, 30, axis]
        for code in (code_with(model, **parts), FaceCode.mean(model))
    ]
    assert sign * (nose[0] - nose[1]) > 2


def test_nearer_faces_are_larger(model, renderer):
    near, mean = (
        renderer(c).mask.sum()
        for c in (code_with(model, translation={2: 120.0}), FaceCode.mean(model))
    )
    assert near / mean == pytest.approx((1000 / 880) ** 2, rel=0.05)


@pytest.mark.parametrize(
    ("harmonic", "brighter", "darker"),
    [
        (
            Y11,
            (slice(None), slice(34, None)),
            (slice(None), slice(None, 30)),
        ),  # light from +x: the image's right
        (
            Y1M,
            (slice(10, 22), slice(None)),
            (slice(44, 54), slice(None)),
        ),  # light from +y: the forehead
    ],
)
def test_light_comes_from_where_the_harmonics_say(model, renderer, harmonic, brighter, darker):
    """Only green is lit."""
    plain, lit = (
        renderer(FaceCode.mean(model)),
        renderer(code_with(model, illumination={9 + harmonic: 0.5})),
    )
    change = (lit.image - plain.image)[0]
    assert not change[[0, 2]].any()
    assert change[1][brighter].sum() > 2 and change[1][darker].sum() < -1


def test_shading_turns_with_the_camera_s_frame_not_with_the_head(model, renderer):
    """Light from the front stays in front: a turned head is darker on the side turned away."""
    front = {"illumination": {Y10: 0.8, 9 + Y10: 0.8, 18 + Y10: 0.8}}
    turned = code_with(model, rotation={1: 0.5}, **front)
    plain = renderer(code_with(model, rotation={1: 0.5})).image
    ratio = (renderer(turned).image / plain.clamp(min=1e-6))[0, 1]
    rendering = renderer(turned)
    normal = interpolate(
        rendering.fragments, model.faces, vertex_normals(rendering.vertices, model.faces)
    )[0]
    seen = rendering.mask[0, 0] > 0
    expected = 1 + 0.8 * 0.4886 * normal[..., 2]
    # Albedo times light is interpolated, not each alone: they agree where neighbours are alike.
    assert (ratio - expected)[seen].abs().mean() < 0.01
    assert torch.corrcoef(torch.stack([ratio[seen], expected[seen]]))[0, 1] > 0.97


def test_faces_of_a_batch_do_not_touch_each_other(model, renderer):
    code = FaceCode.from_vector(
        0.3 * torch.randn(3, 257, generator=torch.Generator().manual_seed(0)), model
    )
    together = renderer(code)
    for i in range(3):
        alone = renderer(code[i])
        torch.testing.assert_close(alone.image[0], together.image[i], atol=1e-4, rtol=0)
        torch.testing.assert_close(alone.landmarks[0], together.landmarks[i], atol=1e-4, rtol=0)


@pytest.mark.parametrize("group", GROUPS)
def test_gradients_are_finite_differences(tiny_model, group):
    """Of a weighted sum over the pixels that keep their triangle: the outline has no gradient by
    design.
    """
    model = copy.deepcopy(tiny_model).double()
    renderer = FaceRenderer(model, 20)
    random = torch.Generator().manual_seed(1)
    z = 0.2 * torch.randn(1, 42, dtype=torch.float64, generator=random)
    direction = torch.zeros(1, 42, dtype=torch.float64)
    start, length = (
        sum(group_sizes(model)[: GROUPS.index(group)]),
        group_sizes(model)[GROUPS.index(group)],
    )
    direction[:, start : start + length] = torch.randn(
        1, length, dtype=torch.float64, generator=random
    )
    weights = torch.randn(1, 3, 20, 20, dtype=torch.float64, generator=random)

    step = 1e-5
    below, above = (
        renderer(FaceCode.from_vector(z + s * step * direction, model)) for s in (-1, 1)
    )
    z.requires_grad_()
    here = renderer(FaceCode.from_vector(z, model))
    same = (here.fragments.face == below.fragments.face) & (
        here.fragments.face == above.fragments.face
    )
    same &= here.fragments.face >= 0
    assert same.float().sum() > 0.95 * here.mask.sum() > 50
    for name, at in {
        "picture": lambda r: (r.image * weights * same[:, None]).sum(),
        "landmarks": lambda r: (r.landmarks * weights[0, 0, :2, 0]).sum(),
    }.items():
        (gradient,) = torch.autograd.grad(at(here), z, retain_graph=True)
        numeric = (at(above) - at(below)) / (2 * step)
        torch.testing.assert_close((gradient * direction).sum(), numeric, rtol=1e-5, atol=1e-6)
        moves = name == "picture" or group not in ("appearance", "illumination")
        assert (numeric.abs() > 1e-3) == moves, name


def test_gradients_of_a_whole_head_are_finite_differences(model):
    """The default model at the size of training, turned nearly into profile, along one direction of
    all groups.
    """
    precise = copy.deepcopy(model).double()
    renderer = FaceRenderer(precise, 112)
    random = torch.Generator().manual_seed(0)
    units = [
        torch.full((n,), unit)
        for n, unit in zip(group_sizes(model), (1, 1, 1, 0.1, 5, 0.1), strict=True)
    ]
    z = 0.5 * torch.cat(units).double() * torch.randn(1, 257, dtype=torch.float64, generator=random)
    z[0, sum(group_sizes(model)[:3]) + 1] = 1.2
    direction = torch.cat(units).double() * torch.randn(
        1, 257, dtype=torch.float64, generator=random
    )
    weights = torch.randn(1, 3, 112, 112, dtype=torch.float64, generator=random)

    step = 1e-6
    below, above = (
        renderer(FaceCode.from_vector(z + s * step * direction, precise)) for s in (-1, 1)
    )
    here = renderer(FaceCode.from_vector(z.requires_grad_(), precise))
    same = (below.fragments.face == above.fragments.face) & (below.fragments.face >= 0)
    assert same.sum() > 0.99 * here.mask.sum() > 1000
    weights *= same[:, None]
    (gradient,) = torch.autograd.grad((here.image * weights).sum(), z)
    numeric = ((above.image - below.image) * weights).sum() / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), numeric, rtol=1e-6, atol=1e-6)


def test_forward_mode_agrees_with_backward_mode(tiny_model):
    """And both with their `torch.func` versions, which chapter 5 uses."""
    renderer = FaceRenderer(copy.deepcopy(tiny_model).double(), 16)
    random = torch.Generator().manual_seed(2)
    z, direction = 0.2 * torch.randn(2, 1, 42, dtype=torch.float64, generator=random)
    weights = torch.randn(1, 3, 16, 16, dtype=torch.float64, generator=random)

    def brightness(z):
        return (renderer(FaceCode.from_vector(z, renderer.model)).image * weights).sum()

    leaf = z.clone().requires_grad_()
    (expected,) = torch.autograd.grad(brightness(leaf), leaf)
    assert expected.abs().max() > 1
    torch.testing.assert_close(
        torch.func.jvp(brightness, (z,), (direction,))[1], (expected * direction).sum()
    )
    torch.testing.assert_close(torch.func.jacrev(brightness)(z), expected)


def test_the_same_code_gives_the_same_picture_and_gradient(model, renderer):
    z = (0.3 * torch.randn(2, 257, generator=torch.Generator().manual_seed(5))).requires_grad_()
    first, second = (renderer(FaceCode.from_vector(z, model)) for _ in range(2))
    gradients = [
        torch.autograd.grad(r.image.square().sum() + r.landmarks.sum(), z)[0]
        for r in (first, second)
    ]
    assert first.image.equal(second.image) and gradients[0].equal(gradients[1])


def test_the_paste_shows_the_face_and_the_picture_around_it(tiny_model):
    rendering = FaceRenderer(tiny_model, 16)(code_with(tiny_model, illumination={0: 20.0}))
    pictures = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    pasted = rendering.over(pictures)
    inside = (rendering.mask > 0).expand(1, 3, 16, 16)
    assert inside.any() and not inside.all() and rendering.image.max() > 1
    assert pasted[~inside].equal(pictures[~inside])
    assert pasted[inside].equal(rendering.image.clamp(0, 1)[inside])


def test_averaging_leaves_the_picture_that_a_coarser_sensor_takes(tiny_model):
    """Over any background: the mean over squares of what was pasted finely, by NumPy."""
    fine = FaceRenderer(tiny_model, 24)(code_with(tiny_model, illumination={0: 0.5}))
    coarse = fine.averaged(3)
    wall = torch.rand(1, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    pasted = fine.over(wall.expand(1, 3, 24, 24)).numpy()
    expected = pasted.reshape(1, 3, 8, 3, 8, 3).mean((3, 5))
    np.testing.assert_allclose(coarse.over(wall.expand(1, 3, 8, 8)), expected, atol=1e-5)
    assert ((coarse.mask > 0) & (coarse.mask < 1)).any()
    torch.testing.assert_close(coarse.landmarks, fine.landmarks / 3)


@pytest.mark.parametrize("factor", [5, 48])
def test_a_factor_that_does_not_divide_the_sides_is_refused(tiny_model, factor):
    fine = FaceRenderer(tiny_model, 24)(FaceCode.mean(tiny_model))
    with pytest.raises(ValueError, match=f"24 × 24 pixels has no squares of {factor} × {factor}:"):
        fine.averaged(factor)
    with pytest.raises(ValueError, match="factor ≥ 1 is needed, got 0"):
        fine.averaged(0)


def test_a_face_out_of_sight_leaves_an_empty_picture(tiny_model):
    for parts in ({"translation": {0: 5000.0}}, {"translation": {2: 2000.0}}):
        rendering = FaceRenderer(tiny_model, 16)(code_with(tiny_model, **parts))
        assert not rendering.image.any() and not rendering.mask.any()


def test_another_camera_is_used(tiny_model):
    wide = FaceRenderer(tiny_model, 32, Camera(focal=4.0))(FaceCode.mean(tiny_model)).mask.sum()
    usual = FaceRenderer(tiny_model, 32)(FaceCode.mean(tiny_model)).mask.sum()
    assert usual / wide == pytest.approx(4, rel=0.2)


def test_a_picture_has_pixels(tiny_model):
    with pytest.raises(ValueError, match="size ≥ 1 is needed, got 0"):
        FaceRenderer(tiny_model, 0)


def test_runs_on_one_device(tiny_tensors, fake_gpu):
    renderer = fake_gpu.move(FaceRenderer(MorphableModel(tiny_tensors, "tiny"), 16))
    with fake_gpu.mode:
        z = torch.randn(2, 42, device="meta", requires_grad=True)
        rendering = renderer(FaceCode.from_vector(z, renderer.model))
        assert rendering.image.shape == (2, 3, 16, 16) and rendering.image.device.type == "meta"
        (gradient,) = torch.autograd.grad(rendering.over(torch.rand_like(rendering.image)).sum(), z)
        assert gradient.shape == z.shape
        assert FaceCode.mean(renderer.model).shape.device.type == "meta"


def test_torch_can_follow_it_without_values(tiny_tensors):
    """On a GPU that is not there, and without knowing how many pixels see the face."""
    model = MorphableModel(tiny_tensors, "tiny")
    with FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True):
        for name, value in model.named_buffers():
            setattr(model, name, torch.empty(value.shape, dtype=value.dtype, device="cuda"))
        rendering = FaceRenderer(model, 16)(
            FaceCode.from_vector(torch.zeros(2, 42, device="cuda"), model)
        )
    assert rendering.image.shape == (2, 3, 16, 16) and rendering.image.device.type == "cuda"
    assert (
        rendering.fragments.face.shape == (2, 16, 16)
        and rendering.fragments.barycentric.device.type == "cuda"
    )

"""The linear model against plain sums, its refusal of broken files, and facts about the default
face.
"""

import numpy as np
import pytest
import torch

from mofa_lib.mesh import vertex_normals
from mofa_lib.morphable import MorphableModel, principal_components


def test_vertices_and_colours_are_a_mean_plus_directions(tiny_tensors, tiny_model):
    rng = np.random.default_rng(0)
    shape, expression, appearance = (rng.normal(size=(2, n)).astype(np.float32) for n in (3, 2, 4))
    vertices = tiny_model.vertices(torch.from_numpy(shape), torch.from_numpy(expression))
    colours = tiny_model.appearance(torch.from_numpy(appearance))
    t = {key: value.numpy() for key, value in tiny_tensors.items()}
    for i in range(2):
        expected = (
            t["mean_shape"] + t["shape_basis"] @ shape[i] + t["expression_basis"] @ expression[i]
        )
        np.testing.assert_allclose(vertices[i], expected, atol=1e-4)
        np.testing.assert_allclose(
            colours[i], t["mean_appearance"] + t["appearance_basis"] @ appearance[i], atol=1e-6
        )


def test_sigma_is_the_length_of_a_step_of_one(tiny_model):
    for group, move in {
        "shape": lambda z: tiny_model.vertices(z, torch.zeros(len(z), 2)) - tiny_model.mean_shape,
        "expression": lambda z: (
            tiny_model.vertices(torch.zeros(len(z), 3), z) - tiny_model.mean_shape
        ),
        "appearance": lambda z: tiny_model.appearance(z) - tiny_model.mean_appearance,
    }.items():
        sigma = getattr(tiny_model, f"{group}_sigma")
        torch.testing.assert_close(
            move(torch.eye(len(sigma))).flatten(1).norm(dim=1), sigma, rtol=1e-4, atol=0
        )


def test_a_model_may_have_no_expression(tiny_tensors):
    model = MorphableModel({**tiny_tensors, "expression_basis": torch.zeros(300, 3, 0)}, "stone")
    assert model.sizes == (3, 0, 4) and model.expression_sigma.shape == (0,)
    vertices = model.vertices(torch.zeros(1, 3), torch.zeros(1, 0))
    torch.testing.assert_close(vertices[0], model.mean_shape)


def broken(key, change):
    return lambda tensors: {**tensors, key: change(tensors[key])}


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (
            lambda t: {k: v for k, v in t.items() if k not in ("faces", "landmarks")},
            "lacks faces, landmarks",
        ),
        (
            broken("mean_shape", lambda x: x.flatten()),
            r"mean_shape has shape \(900,\) instead of \(V 3\)",
        ),
        (
            broken("shape_basis", lambda x: x[:-1]),
            r"shape_basis has shape \(299, 3, 3\) instead of \(V 3 A\)",
        ),
        (broken("mean_appearance", lambda x: x[:, :2]), r"mean_appearance has shape \(300, 2\)"),
        (broken("landmarks", lambda x: x[:5]), r"landmarks has shape \(5,\) instead of \(68\)"),
        (
            broken("faces", lambda x: x.repeat(1, 2)),
            r"faces has shape \(\d+, 6\) instead of \(F 3\)",
        ),
        (
            broken("appearance_basis", lambda x: x / 0),
            "appearance_basis has values that are not finite",
        ),
        (broken("faces", lambda x: x + 1), "faces names vertices outside 0 … 299"),
        (broken("landmarks", lambda x: x - 1), "landmarks names vertices outside 0 … 299"),
        (broken("faces", lambda x: x[:, [0, 1, 1]]), "faces has a triangle with a vertex twice"),
        (broken("faces", lambda x: x[:, [0, 1, 0]]), "faces has a triangle with a vertex twice"),
    ],
)
def test_broken_models_are_refused(tiny_tensors, breakage, message):
    with pytest.raises(ValueError, match="face model broken.*" + message):
        MorphableModel(breakage(tiny_tensors), "broken")


@pytest.mark.parametrize("shape", [(2, 5), (2, 0), (3,)])
def test_another_number_of_coefficients_is_refused(tiny_model, unchecked, shape):
    sentence = r"takes {} coefficients \(B, {}\), got \(" + str(shape[0])
    wrong = torch.zeros(shape)
    with pytest.raises(ValueError, match=sentence.format("shape", 3)):
        tiny_model.vertices(wrong, torch.zeros(2, 2))
    with pytest.raises(ValueError, match=sentence.format("expression", 2)):
        tiny_model.vertices(torch.zeros(2, 3), wrong)
    with pytest.raises(ValueError, match=sentence.format("appearance", 4)):
        tiny_model.appearance(wrong)


def test_components_need_two_samples():
    for count in (0, 1):
        with pytest.raises(ValueError, match=f"at least two samples, got {count}"):
            principal_components(torch.zeros(count, 5, 3), 2)
    samples = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(0))
    mean, basis = principal_components(samples, 4)
    assert basis.shape == (5, 3, 2) and not basis.isnan().any()
    torch.testing.assert_close(mean, samples.mean(0))


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("faces", lambda x: x.float()),
        ("landmarks", lambda x: x.float()),
        ("mean_shape", lambda x: x.long()),
    ],
)
def test_wrong_types_are_refused(tiny_tensors, key, change):
    with pytest.raises(ValueError, match=key):
        MorphableModel(broken(key, change)(tiny_tensors), "broken")


def test_a_model_without_triangles_is_refused(tiny_tensors):
    with pytest.raises(ValueError, match="faces"):
        MorphableModel({**tiny_tensors, "faces": torch.zeros(0, 3, dtype=torch.int64)}, "broken")


def test_the_digest_sees_every_change(tiny_tensors, tiny_model):
    assert (
        MorphableModel(dict(reversed(tiny_tensors.items())), "another name").digest
        == tiny_model.digest
    )
    for key in tiny_tensors:
        changed = tiny_tensors[key].clone()
        changed.flatten()[7] += 1
        assert MorphableModel({**tiny_tensors, key: changed}, "tiny").digest != tiny_model.digest, (
            key
        )


def test_the_name_and_sizes_are_shown(tiny_model):
    assert "'tiny': 300 vertices" in repr(tiny_model)
    assert "3 shape + 2 expression + 4 appearance" in repr(tiny_model)


def test_the_default_face_keeps_the_conventions(model):
    """Millimetres, centred, upright, looking at the viewer, colours in [0, 1], triangles seen from
    outside.
    """
    assert model.sizes == (80, 64, 80)
    mean, marks = model.mean_shape, model.mean_shape[model.landmarks]
    assert mean.mean(0).abs().max() < 1e-3
    assert 120 < float(mean[:, 0].max() - mean[:, 0].min()) < 220  # a head's width
    assert 0 <= model.mean_appearance.min() and model.mean_appearance.max() <= 1
    assert (
        marks[36:42, 0].max() < 0 < marks[42:48, 0].min()
    )  # the person's right eye is left in the image
    normals = vertex_normals(mean[None], model.faces)[0, model.landmarks]
    assert (
        normals[2, 0] < -0.3 and normals[14, 0] > 0.3 and normals[[36, 45, 48, 54], 2].min() > 0.3
    )


def test_the_68_landmarks_are_where_ibug_has_them(model):
    marks = model.mean_shape[model.landmarks]
    x, y, z = marks.unbind(1)
    assert len(set(model.landmarks.tolist())) == 68
    assert (
        y[8] < y[:17].min() + 2
    )  # the chin is the lowest point of the jaw, to the nearest vertex of the midline
    assert (y[27:30] > y[28:31]).all() and (z[27:30] < z[28:31]).all()  # down the bridge to the tip
    assert (
        z[30] > model.mean_shape[:, 2].max() - 3
    )  # the tip of the nose is the foremost point of the head
    assert (
        y[36:48].min() > y[30] > y[33] > y[51] > y[62] >= y[66] > y[57] > y[8]
    )  # eyes, nose, lips, chin
    middle = x[[8, 27, 28, 29, 30, 33, 51, 57, 62, 66]]
    assert middle.max() - middle.min() < 1
    pairs = torch.tensor(
        [[i, 16 - i] for i in range(8)] + [[36, 45], [39, 42], [31, 35], [48, 54], [17, 26]]
    )
    left, right = marks[pairs].unbind(1)
    torch.testing.assert_close(
        left[:, 0] + right[:, 0], 2 * middle.mean().expand(len(pairs)), atol=2.0, rtol=0
    )
    torch.testing.assert_close(left[:, 1:], right[:, 1:], atol=1.5, rtol=0)


def test_the_default_bases_are_principal_components(model):
    """Orthogonal directions, the longest first."""
    for group in ("shape", "expression", "appearance"):
        columns = getattr(model, f"{group}_basis").flatten(0, 1).double()
        sigma = getattr(model, f"{group}_sigma").double()
        assert (sigma[1:] <= 1.01 * sigma[:-1]).all(), group
        cosine = (columns.T @ columns) / sigma[:, None] / sigma
        assert (cosine - torch.eye(len(sigma))).abs().max() < 0.02, group

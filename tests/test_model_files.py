"""Face models from files: the formulas of the formats, evaluated here in float64; every fault in
one sentence.
"""

import io
import pickle
import sys
import tracemalloc
import warnings
from pathlib import Path

import h5py
import model_fixtures as make
import numpy as np
import pytest
import scipy.io
import torch

from mofa_lib import CodeDistance, FaceCode, FaceRenderer, MoFA, load_morphable_model
from mofa_lib.artifacts import save_tensors
from mofa_lib.face_code import GROUPS, group_sizes
from mofa_lib.flame_pickle import read_pickle
from mofa_lib.losses import LossWeights, statistical
from mofa_lib.model_files import DEFAULT_MODEL, place_landmarks
from mofa_lib.morphable import MorphableModel
from mofa_lib.subdivision import subdivided


@pytest.fixture(scope="module")
def face(model):
    return make.Face(model.mean_shape, model.faces, model.mean_appearance, model.landmarks)


@pytest.fixture(scope="module")
def small(sphere):
    """A closed surface of the size of a head, with few vertices: quick to write."""
    points, triangles = sphere
    return make.Face(
        points * torch.tensor([75, 120, 95]), triangles, np.full(points.shape, 0.5), np.arange(68)
    )


MAKERS = {
    "basel_2009": (make.basel_2009, make.save_mat),
    "basel_front": (make.basel_front, make.save_mat),
    "basel_2017": (make.basel_2017, make.save_h5),
    "flame": (make.flame, make.save_npz),
}


def load(path: Path) -> MorphableModel:
    """A model, without the warning that it has no expressions."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* has no expressions")
        return load_morphable_model(path)


def refused(path: Path, kind: type = ValueError) -> str:
    """The sentence with which a file is refused; it is one, and it names the file."""
    with pytest.raises(kind) as error:
        load(path)
    sentence = str(error.value)
    assert path.stem in sentence and "\n" not in sentence
    return sentence


# The files' own formulas in float64: (vertices, mean, the unit of both in mm, colours in [0, 1]).


def padded(coefficients: np.ndarray, count: int) -> np.ndarray:
    """Coefficients of a model that was cut, with zeros for the file's further components."""
    return np.concatenate([coefficients, np.zeros(count - len(coefficients))])


def evaluate_basel_2009(c, shape, expression, appearance):
    mu, deviations = c["shapeMU"].astype("f8"), c["shapeEV"].astype("f8")
    moved = mu + c["shapePC"].astype("f8") @ (deviations * padded(shape, len(deviations))[:, None])
    color = c["texMU"].astype("f8") + c["texPC"].astype("f8") @ (
        c["texEV"].astype("f8") * padded(appearance, len(c["texEV"]))[:, None]
    )
    return moved, mu, 1e-3, color / 255


def evaluate_basel_front(c, shape, expression, appearance):
    moved = (
        c["meanshape"].T
        + (c["idBase"].astype("f8") @ shape + c["exBase"].astype("f8") @ expression)[:, None]
    )
    return (
        moved,
        c["meanshape"],
        100,
        (c["meantex"][0] + c["texBase"].astype("f8") @ appearance) / 255,
    )


def evaluate_basel_2017(c, shape, expression, appearance):
    def part(name, coefficients):
        variance = c[f"{name}/model/pcaVariance"].astype("f8")
        moved = c[f"{name}/model/pcaBasis"].astype("f8") @ (
            variance**0.5 * padded(coefficients, len(variance))
        )
        return c[f"{name}/model/mean"].astype("f8") + moved

    mean = part("shape", np.zeros(0)) + part("expression", np.zeros(0))
    return part("shape", shape) + part("expression", expression), mean, 1, part("color", appearance)


def evaluate_flame(c, shape, expression, appearance):
    betas = np.concatenate([padded(shape, 300), padded(expression, 100)])
    moved = c["v_template"] + np.einsum("vck,k->vc", c["shapedirs"], betas)
    return moved, c["v_template"], 1000, None  # no colours: the skin is lent


EVALUATE = {
    "basel_2009": (evaluate_basel_2009, (80, 0, 80)),
    "basel_front": (evaluate_basel_front, (80, 64, 80)),
    "basel_2017": (evaluate_basel_2017, (80, 64, 80)),
    "flame": (evaluate_flame, (80, 64, 80)),
}


def assert_follows_the_formula(
    model: MorphableModel, kind: str, content: dict, sizes: tuple[int, int, int]
) -> None:
    assert model.sizes == sizes
    random = np.random.default_rng(0)
    codes = [[random.standard_normal(size) for size in sizes] for _ in range(2)]
    shape, expression, appearance = (
        torch.tensor(np.stack(x)).float() for x in zip(*codes, strict=True)
    )
    vertices, colours = model.vertices(shape, expression), model.appearance(appearance)
    for i, code in enumerate(codes):
        moved, mean, unit, color = EVALUATE[kind][0](content, *code)
        wanted = unit * (moved.reshape(-1, 3) - mean.reshape(-1, 3).mean(0))
        torch.testing.assert_close(vertices[i], torch.tensor(wanted).float(), atol=1e-3, rtol=0)
        if color is not None:
            color = torch.tensor(color).reshape(-1, 3).float()
            torch.testing.assert_close(colours[i], color, atol=1e-5, rtol=0)
    torch.testing.assert_close(model.mean_shape.mean(0), torch.zeros(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", MAKERS)
def test_codes_give_what_the_file_s_own_formula_gives(face, model, tmp_path, kind):
    maker, save = MAKERS[kind]
    content = maker(face)
    loaded = load(save(tmp_path / "model.file", content))
    assert loaded.name == "model"
    assert_follows_the_formula(loaded, kind, content, EVALUATE[kind][1])
    torch.testing.assert_close(
        loaded.mean_shape, model.mean_shape, atol=0.5, rtol=0
    )  # mm: the same face again
    assert loaded.faces.equal(model.faces) or loaded.faces.flip(1).sort(1).values.equal(
        model.faces.sort(1).values
    )
    away = (loaded.mean_shape[loaded.landmarks] - model.mean_shape[model.landmarks]).norm(dim=1)
    assert away.max() < (0.01 if kind == "basel_front" else 5)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("flipped", [False, True])
def test_triangles_look_outward_however_the_file_winds_them(small, tmp_path, kind, flipped):
    turned = make.Face(
        small.vertices,
        small.triangles[:, ::-1] if flipped else small.triangles,
        small.colours,
        range(68),
    )
    maker, save = MAKERS[kind]
    loaded = load(save(tmp_path / "model", maker(turned)))
    assert (torch.linalg.det(loaded.mean_shape[loaded.faces]) > 0).all()


def test_a_face_that_is_open_behind_is_turned_outward_too(face, model, tmp_path):
    loaded = load(make.save_mat(tmp_path / "model", make.basel_2009(face)))
    a, b, c = loaded.mean_shape[loaded.faces].unbind(1)
    assert torch.linalg.cross(b - a, c - a).sum(0)[2] > 0


# Variants of the formats.


def change(content: dict, **changes) -> dict:
    """A copy with keys (__ for /) replaced, changed by a function, or left out (None)."""
    changed = dict(content)
    for key, value in changes.items():
        key = key.replace("__", "/")
        changed[key] = value(content[key]) if callable(value) else value
        if value is None:
            del changed[key]
    return changed


VARIANTS = {
    "compressed": ("basel_2009", {}, {"compressed": True}),
    "double": (
        "basel_2009",
        {"shapePC": lambda v: v.astype("f8"), "texMU": lambda v: v.astype("f8")},
        {},
    ),
    "16-bit triangles": ("basel_2009", {"tl": lambda v: v.astype("u2")}, {}),
    "rows for columns": (
        "basel_2009",
        {k: lambda v: v.T for k in ("shapeMU", "shapeEV", "texMU", "texEV")},
        {},
    ),
    "transposed triangles": ("basel_2009", {"tl": lambda v: v.T}, {}),
    "columns for rows": (
        "basel_front",
        {k: lambda v: v.T for k in ("meanshape", "meantex", "keypoints")},
        {},
    ),
    "float cells": ("basel_2017", {"shape__representer__cells": lambda v: v.astype("f4")}, {}),
    "transposed cells": ("basel_2017", {"shape__representer__cells": lambda v: v.T}, {}),
    "big-endian": ("basel_2017", {"shape__model__pcaBasis": lambda v: v.astype(">f8")}, {}),
    "single": ("flame", {"shapedirs": lambda v: v.astype("f4"), "f": lambda v: v.astype("f8")}, {}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_a_format_hold_the_same_model(small, tmp_path, variant):
    kind, changes, options = VARIANTS[variant]
    maker, save = MAKERS[kind]
    content = maker(small)
    usual = load(save(tmp_path / "usual", content))
    other = load(save(tmp_path / "other", change(content, **changes), **options))
    for key, value in usual.named_buffers():
        torch.testing.assert_close(getattr(other, key), value, atol=1e-4, rtol=0)


def test_triangles_at_the_root_of_an_old_file(small, tmp_path):
    content = make.basel_2017(small)
    old = {key: value for key, value in content.items() if "representer" not in key}
    old["representer/cells"] = content["shape/representer/cells"]
    usual, other = (
        load(make.save_h5(tmp_path / n, c)) for n, c in (("usual", content), ("old", old))
    )
    assert other.digest == usual.digest


def test_the_content_decides_not_the_name(small, tmp_path):
    for kind, (maker, save) in MAKERS.items():
        content = maker(small)
        digests = {
            load(save(tmp_path / f"{kind}{ending}", content)).digest
            for ending in (".h5", ".mat", ".npz", "")
        }
        assert len(digests) == 1


def test_a_missing_group_of_expressions_is_said(small, tmp_path):
    content = make.basel_2017(small)
    neutral = {key: value for key, value in content.items() if not key.startswith("expression")}
    with pytest.warns(
        UserWarning,
        match="neutral.h5 has no expressions, so the model has zero expression parameters",
    ):
        loaded = load_morphable_model(make.save_h5(tmp_path / "neutral.h5", neutral))
    assert loaded.sizes == (80, 0, 80)


def test_expressions_beside_basel_2009_do_not_fit_and_are_not_read(small, tmp_path):
    (tmp_path / "Exp_Pca.bin").write_bytes(np.int32(79).tobytes() + bytes(80 * 159645 * 4 // 100))
    with pytest.warns(UserWarning, match="01_MorphableModel.mat has no expressions"):
        loaded = load_morphable_model(
            make.save_mat(tmp_path / "01_MorphableModel.mat", make.basel_2009(small))
        )
    assert loaded.sizes == (80, 0, 80)


def test_a_model_with_expressions_warns_of_nothing(small, tmp_path, recwarn):
    load_morphable_model(make.save_h5(tmp_path / "model.h5", make.basel_2017(small)))
    assert not recwarn.list


# Codes of other lengths in the rest of the library.

FEWER = {
    "basel_2009": (make.basel_2009, {"components": 5}, (5, 0, 5)),
    "basel_front": (make.basel_front, {"shape": 5, "expression": 1, "appearance": 6}, (5, 1, 6)),
    "basel_2017": (make.basel_2017, {"shape": 7, "expression": 3, "color": 4}, (7, 3, 4)),
    "flame": (make.flame, {"components": 306}, (80, 6, 80)),
    "flame without expressions": (make.flame, {"components": 4}, (4, 0, 80)),
}


@pytest.mark.parametrize("kind", FEWER)
def test_a_model_with_fewer_components_works_everywhere(small, tmp_path, kind):
    maker, counts, sizes = FEWER[kind]
    save = MAKERS[kind.split()[0]][1]
    loaded = load(save(tmp_path / "model", maker(small, **counts)))
    assert loaded.sizes == sizes and group_sizes(loaded) == [*sizes, 3, 3, 27]

    z = (
        0.1 * torch.randn(2, sum(sizes) + 33, generator=torch.Generator().manual_seed(1))
    ).requires_grad_()
    code = FaceCode.from_vector(z, loaded)
    assert FaceCode.mean(loaded).to_vector().shape == (1, sum(sizes) + 33)
    rendering = FaceRenderer(loaded, 24)(code)
    assert rendering.mask.mean() > 0.1
    rendering.image.square().sum().backward()
    assert (z.grad[:, : sum(sizes)] != 0).all()  # every coefficient that there is moves the picture

    terms = CodeDistance(loaded)(code, FaceCode.mean(loaded, 2))
    named = CodeDistance(loaded).terms(code, FaceCode.mean(loaded, 2))
    missing = {group for group, size in zip(GROUPS, sizes, strict=False) if not size}
    assert torch.isfinite(terms).all() and not missing & set(named)
    assert torch.isfinite(statistical(code, LossWeights())).all()
    mofa = MoFA(loaded, 112, "small").eval()
    with torch.no_grad():
        assert mofa(torch.rand(1, 3, 112, 112)).image.isfinite().all()


# Landmarks.


@pytest.mark.parametrize(
    ("stretch", "limit"),
    [((1, 1, 1), 0.5), ((1.08, 1.08, 1.08), 0.5), ((0.92, 0.92, 0.92), 0.5), ((0.95, 1.05, 1), 4)],
)
def test_landmarks_are_found_on_a_face_of_another_size_that_nods(face, stretch, limit):
    """Mean distance in mm from the points that the same face has by name; its mesh is four times
    finer.
    """
    fine = make.subdivided(face)
    turn = torch.linalg.matrix_exp(
        torch.tensor([[0.0, 0.02, 0.05], [-0.02, 0, 0.12], [-0.05, -0.12, 0]])
    )
    moved = torch.tensor(fine.vertices * stretch).float() @ turn + torch.tensor([9.0, -14.0, 30.0])
    found = place_landmarks(moved, torch.tensor(fine.triangles))
    away = (moved[found] - moved[torch.tensor(fine.landmarks)]).norm(dim=1)
    assert away.mean() < limit and away.max() < 12


@pytest.mark.parametrize("vertices", [12000, 10000, 8000])
def test_landmarks_are_found_on_a_crop(face, vertices):
    """Without ears, neck and at last the cheeks: as in the face12 files of Basel, and narrower."""
    crop = make.front_of(make.subdivided(face), vertices, 2 * vertices)
    mean = torch.tensor(crop.vertices - crop.vertices.mean(0)).float()
    found = mean[place_landmarks(mean, torch.tensor(crop.triangles))]
    nearest = torch.cdist(mean[torch.tensor(crop.landmarks)], found).amin(1)
    assert nearest.mean() < 0.5  # mm


def test_a_file_of_the_real_size(face, tmp_path):
    """`model2017-1_face12_nomouth.h5`: 28588 vertices, 56572 triangles; only the columns that are
    kept are read.
    """
    cropped = make.front_of(make.subdivided(make.subdivided(face)), 28588, 56572)
    content = make.basel_2017(cropped, 1, 1, 1)
    sizes = {"shape": (199, 80), "expression": (100, 64), "color": (199, 80)}
    basis, variance = (
        np.random.default_rng(0).standard_normal((3 * 28588, 80), np.float32),
        np.linspace(9, 1, 199),
    )
    for part, (components, _) in sizes.items():
        content[f"{part}/model/pcaVariance"] = variance[:components]
        del content[f"{part}/model/pcaBasis"]
    with h5py.File(make.save_h5(tmp_path / "face12.h5", content), "r+") as file:
        for part, (components, kept) in sizes.items():
            file.create_dataset(f"{part}/model/pcaBasis", (3 * 28588, components), "f4")[
                :, :kept
            ] = basis[:, :kept]
    tracemalloc.start()
    loaded = load(tmp_path / "face12.h5")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (
        len(loaded.mean_shape) == 28588
        and len(loaded.faces) == 56572
        and loaded.sizes == (80, 64, 80)
    )
    kept = sum(buffer.nbytes for _, buffer in loaded.named_buffers())
    assert peak < 1.6 * kept
    shape = torch.randn(1, 80, generator=torch.Generator().manual_seed(0))
    wanted = basis.astype("f8") @ (variance[:80] ** 0.5 * shape[0].double().numpy())
    moved = loaded.vertices(shape, torch.zeros(1, 64))[0] - loaded.mean_shape
    torch.testing.assert_close(
        moved, torch.tensor(wanted.reshape(-1, 3)).float(), atol=1e-3, rtol=0
    )


# Faults.

FAULTS = [
    ("basel_2009", {"shapePC": None}, "lacks shapePC"),
    ("basel_2009", {"tl": None}, "lacks tl"),
    (
        "basel_2009",
        {"shapePC": lambda v: v[:-3]},
        r"shapePC has shape \(897, 90\) instead of \(900, 90\)",
    ),
    (
        "basel_2009",
        {"shapeEV": lambda v: v[:-1]},
        r"shapePC has shape \(900, 90\) instead of \(900, 89\)",
    ),
    (
        "basel_2009",
        {"shapeMU": lambda v: v[:-1]},
        "shapeMU has 899 values instead of 897, three for each vertex",
    ),
    ("basel_2009", {"texMU": lambda v: v[:-3]}, "texMU has 897 values instead of 900"),
    (
        "basel_2009",
        {"shapeMU": lambda v: v.reshape(-1, 3)},
        r"shapeMU has shape \(300, 3\), but should be one vector",
    ),
    ("basel_2009", {"shapeEV": lambda v: -v}, "shapeEV has a negative value"),
    ("basel_2009", {"texPC": lambda v: v * np.nan}, "texPC has values that are not finite"),
    ("basel_2009", {"tl": lambda v: v - 1}, "tl names vertices outside 1 … 300"),
    ("basel_2009", {"tl": lambda v: v + 1}, "tl names vertices outside 1 … 300"),
    ("basel_2009", {"tl": lambda v: v + 0.5}, "tl should hold whole numbers"),
    ("basel_2009", {"tl": lambda v: v[:, :2]}, r"tl has shape \(\d+, 2\) instead of \(any, 3\)"),
    (
        "basel_2009",
        {"tl": np.zeros((0, 3))},
        "tl should hold whole numbers, but has fractions or nothing",
    ),
    ("basel_2009", {"shapeMU": "a word"}, "shapeMU should be an array of numbers"),
    (
        "basel_2009",
        {"shapeMU": lambda v: v / 1000},
        "would be 0.239 mm high: its unit must be another",
    ),
    ("basel_front", {"exBase": None}, "lacks exBase"),
    (
        "basel_front",
        {"keypoints": lambda v: v[:, :67]},
        r"landmarks has shape \(67,\) instead of \(68\)",
    ),
    ("basel_front", {"keypoints": lambda v: v * 100}, "keypoints names vertices outside 1 … 300"),
    (
        "basel_front",
        {"idBase": lambda v: v[:, :0]},
        r"idBase has shape \(900, 0\) instead of \(900, any\)",
    ),
    ("basel_2017", {"shape__model__mean": None}, "lacks shape/model/mean"),
    ("basel_2017", {"expression__model__pcaVariance": None}, "lacks expression/model/pcaVariance"),
    (
        "basel_2017",
        {"color__model__pcaBasis": lambda v: v[:-3]},
        r"color/model/pcaBasis has shape \(897, 85\)",
    ),
    (
        "basel_2017",
        {"shape__model__pcaBasis": lambda v: v.T},
        r"shape \(90, 900\) instead of \(900, 90\)",
    ),
    (
        "basel_2017",
        {"shape__model__pcaVariance": lambda v: v - 10},
        "shape/model/pcaVariance has a negative value",
    ),
    (
        "basel_2017",
        {"expression__model__mean": lambda v: v[:-3]},
        "expression/model/mean has 897 values instead of 900",
    ),
    (
        "basel_2017",
        {"color__model__mean": lambda v: v + np.inf},
        "color/model/mean has values that are not finite",
    ),
    (
        "basel_2017",
        {"shape__model__mean": lambda v: v.astype("f8") * 1e300},
        "mean has values that are not finite",
    ),
    (
        "basel_2017",
        {"shape__representer__cells": lambda v: v + 1},
        "cells names vertices outside 0 … 299",
    ),
    (
        "basel_2017",
        {"shape__model__mean": b"words"},
        "shape/model/mean should be an array of numbers",
    ),
    (
        "basel_2017",
        {"shape__model__mean": h5py.Empty("f4")},
        "shape/model/mean should be an array of numbers",
    ),
    ("flame", {"v_template": None}, "lacks v_template"),
    (
        "flame",
        {"v_template": lambda v: v.T},
        r"v_template has shape \(3, 300\) instead of \(any, 3\)",
    ),
    ("flame", {"v_template": np.float64(3)}, r"v_template has shape \(\) instead of"),
    (
        "flame",
        {"shapedirs": lambda v: v[:-1]},
        r"shapedirs has shape \(299, 3, 400\) instead of \(300, 3, any\)",
    ),
    ("flame", {"f": lambda v: v + 9}, "f names vertices outside 0 … 299"),
    ("flame", {"v_template": lambda v: v * 1000}, "mm high: its unit must be another"),
]


@pytest.mark.parametrize(("kind", "changes", "sentence"), FAULTS)
def test_a_wrong_content_is_named(small, tmp_path, kind, changes, sentence):
    maker, save = MAKERS[kind]
    with pytest.raises(ValueError, match=sentence) as error:
        load(save(tmp_path / "broken", change(maker(small), **changes)))
    assert "\n" not in str(error.value) and "broken" in str(error.value)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_file_is_named(small, tmp_path, kind, compressed):
    maker, save = MAKERS[kind]
    options = {"compressed": True} if compressed and save is make.save_mat else {}
    content = save(tmp_path / "whole", maker(small), **options).read_bytes()
    for share in (0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9):
        path = tmp_path / "truncated"
        path.write_bytes(content[: int(share * len(content))])
        refused(path)


@pytest.mark.parametrize("ending", [".h5", ".mat", ".npz", ".safetensors", ""])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"This is my face model.\n" * 30, "is no face model: it is neither safetensors nor HDF5"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(range(256)) * 9, "is no face model"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "is no face model"),
        (b"\x93NUMPY\x01\x00" + bytes(200), "is no face model"),
        (b"\x89HDF\r\n\x1a\n" + bytes(200), "is damaged, or holds something else"),
        (b"PK\x03\x04" + bytes(200), "is damaged, or holds something else"),
        (
            b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM",
            "is damaged, or|holds neither shapeMU nor meanshape",
        ),
        (
            b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"\xff" * 99,
            "is damaged, or holds something else",
        ),
    ],
)
def test_other_files_are_named(tmp_path, ending, content, sentence):
    path = tmp_path / f"other{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        load(path)
    refused(path)


def test_files_of_the_right_kind_that_hold_something_else(tmp_path):
    scipy.io.savemat(tmp_path / "weights.mat", {"layer": np.ones((3, 4))})
    assert "holds neither shapeMU nor meanshape" in refused(tmp_path / "weights.mat")
    scipy.io.savemat(tmp_path / "old.mat", {"shapeMU": np.ones((3, 4))}, format="4")
    assert "is no face model" in refused(tmp_path / "old.mat")
    make.save_h5(tmp_path / "weights.h5", {"model_weights/dense/kernel": np.ones((3, 4))})
    assert "lacks shape/model/mean" in refused(tmp_path / "weights.h5")
    make.save_npz(tmp_path / "weights.npz", {"layer": np.ones((3, 4))})
    assert "lacks v_template" in refused(tmp_path / "weights.npz")
    torch.save({"layer": torch.ones(3)}, tmp_path / "weights.pt")
    assert "lacks v_template" in refused(tmp_path / "weights.pt")


def test_a_mat_file_of_version_7_3_is_named(small, tmp_path):
    """It is HDF5 behind a header of MATLAB's."""
    path = tmp_path / "01_MorphableModel.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["shapeMU"] = make.basel_2009(small)["shapeMU"].T
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    assert "version 7.3: save it again in MATLAB with the option -v7" in refused(path)


def test_without_h5py_a_sentence_says_what_to_install(small, tmp_path, monkeypatch):
    path = make.save_h5(tmp_path / "model.h5", make.basel_2017(small))
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "pip install h5py" in refused(path, ModuleNotFoundError)


class Trap:
    """An object whose pickle makes a file when it is opened."""

    def __init__(self, made: Path):
        self.made = made

    def __reduce__(self):
        return open, (str(self.made), "w")


@pytest.fixture
def trap(tmp_path):
    """A trap that has been shown to work; after the test, it must not have been sprung."""
    trap = Trap(tmp_path / "sprung")
    pickle.loads(pickle.dumps(trap)).close()
    assert trap.made.exists()
    trap.made.unlink()
    yield trap
    assert not trap.made.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("ending", [".pkl", ".npz", ""])
def test_nothing_of_a_pickle_is_run(tmp_path, trap, protocol, ending):
    path = tmp_path / f"generic_model{ending}"
    for content in (trap, {"v_template": np.ones((3, 3)), "f": trap}, [trap, "x" * 10000]):
        path.write_bytes(pickle.dumps(content, protocol))
        sentence = refused(path)
        assert "is a pickle that asks for io.open" in sentence or "_io.open" in sentence


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_begins_with_a_long_value_is_known_too(tmp_path, trap, protocol):
    (tmp_path / "generic_model.pkl").write_bytes(pickle.dumps(["x" * 10000, trap], protocol))
    assert "is a pickle that asks for" in refused(tmp_path / "generic_model.pkl")


@pytest.mark.parametrize("call", ["os.system", "builtins.eval", "builtins.getattr", "numpy.load"])
def test_a_function_that_a_pickle_asks_for_is_named(tmp_path, call):
    """Written by hand: the name, its argument, the call."""
    module, _, name = call.rpartition(".")
    made = tmp_path / "sprung"
    program = f"c{module}\n{name}\n(S'touch {made}'\ntR."
    (tmp_path / "generic_model.pkl").write_bytes(program.encode())
    assert f"is a pickle that asks for {call}, which no FLAME" in refused(
        tmp_path / "generic_model.pkl"
    )
    assert not made.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("wrapped", [True, False])
def test_the_pickle_of_flame_is_read_as_it_is(small, tmp_path, protocol, wrapped):
    """With and without chumpy; the same model as from plain arrays."""
    content = make.flame(small)
    published = make.save_flame(tmp_path / "generic_model.pkl", content, protocol, wrapped)
    plain = load(make.save_npz(tmp_path / "flame.npz", content))
    assert load(published).digest == plain.digest


def test_a_pickle_that_python_2_wrote_is_read(tmp_path):
    """As it stands in the published files: short strings, and the modules' old names."""
    program = (
        b"\x80\x02}q\x01U\x07weightsq\x02cchumpy.ch\nCh\nq\x03)\x81q\x04}q\x05(U\x01xq\x06"
        b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ"
        b"\xff\xff\xff\xffK\x00tb\x89U\x10\x00\x00\x00\x00\x00\x00\xf0?\x00\x00\x00\x00\x00\x00\x04"
        b"\xc0tbU\x0b_dirty_varsc__builtin__\nset\n]\x85Rubs."
    )
    (tmp_path / "old.pkl").write_bytes(program)
    assert read_pickle(tmp_path / "old.pkl")["weights"].tolist() == [1.0, -2.5]
    assert "lacks v_template" in refused(tmp_path / "old.pkl")


def test_an_object_of_chumpy_that_holds_nothing_is_named(tmp_path):
    """By hand: the object is made, and nothing is stored in it."""
    program = b"\x80\x02}q\x01U\nv_templateq\x02cchumpy.ch\nCh\nq\x03)\x81q\x04s."
    (tmp_path / "empty.pkl").write_bytes(program)
    assert "v_template should be an array of numbers" in refused(tmp_path / "empty.pkl")


def test_a_damaged_pickle_and_one_of_something_else_are_named(small, tmp_path):
    path = make.save_flame(tmp_path / "generic_model.pkl", make.flame(small, 4), 2, True)
    path.write_bytes(path.read_bytes()[:-2000])
    assert "is damaged, or holds something else" in refused(path)
    path.write_bytes(pickle.dumps([1, 2, 3]))
    assert "is a pickle of a list, and no face model" in refused(path)


def test_a_pickle_inside_another_file_is_never_opened(small, tmp_path, trap):
    hidden = np.array([trap, trap], object)
    make.save_npz(tmp_path / "flame.npz", {**make.flame(small, 4), "v_template": hidden})
    assert "allow_pickle=False" in refused(tmp_path / "flame.npz")
    torch.save({"v_template": trap}, tmp_path / "flame.pt")
    assert "lacks v_template" in refused(tmp_path / "flame.pt")
    stored = io.BytesIO()
    np.save(stored, hidden)
    (tmp_path / "flame.npy").write_bytes(stored.getvalue())
    assert "is no face model" in refused(tmp_path / "flame.npy")


# The library's own format.


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mean_shape": lambda v: v / 1000}, "mm high: its unit must be another"),
        ({"mean_appearance": lambda v: 255 * v}, "colours of .* would go from .* must lie in"),
        ({"mean_appearance": lambda v: v - 1}, "colours of .* would go from .* must lie in"),
    ],
)
def test_our_own_files_are_checked_as_those_of_others(tiny_tensors, tmp_path, change, sentence):
    changed = {key: change.get(key, lambda v: v)(value) for key, value in tiny_tensors.items()}
    save_tensors(tmp_path / "mine.safetensors", changed, {})
    with pytest.raises(ValueError, match=sentence):
        load(tmp_path / "mine.safetensors")


def test_our_own_files_are_brought_into_our_axes(tiny_tensors, tiny_model, tmp_path):
    turned = {
        **tiny_tensors,
        "faces": tiny_tensors["faces"].flip(1),
        "mean_shape": tiny_tensors["mean_shape"] + 30,
    }
    save_tensors(tmp_path / "mine.safetensors", turned, {})
    loaded = load(tmp_path / "mine.safetensors")
    assert loaded.faces.equal(tiny_model.faces)
    torch.testing.assert_close(loaded.mean_shape.mean(0), torch.zeros(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("kind", "key"), [("basel_front", "meantex"), ("basel_2009", "texMU")])
def test_colours_in_another_range_are_named(small, tmp_path, kind, key):
    maker, save = MAKERS[kind]
    path = save(tmp_path / "model", change(maker(small), **{key: lambda v: 255 * v}))
    assert "must lie in [0, 1]" in refused(path)


def test_a_saved_model_comes_back(tiny_tensors, tiny_model, tmp_path):
    save_tensors(tmp_path / "mine.safetensors", tiny_tensors, {"name": "tiny"})
    loaded = load_morphable_model(tmp_path / "mine.safetensors")
    assert loaded.digest == tiny_model.digest and loaded.name == "tiny"
    assert load_morphable_model(str(tmp_path / "mine.safetensors")).digest == tiny_model.digest


def test_compact_types_are_widened(tiny_tensors, tmp_path):
    compact = {k: v.half() if v.is_floating_point() else v.short() for k, v in tiny_tensors.items()}
    save_tensors(tmp_path / "compact.safetensors", compact, {})
    loaded = load_morphable_model(tmp_path / "compact.safetensors")
    assert loaded.name == "compact"  # a file that says nothing is called by its own name
    assert loaded.mean_shape.dtype == torch.float32 and loaded.faces.dtype == torch.int64
    torch.testing.assert_close(loaded.mean_shape, tiny_tensors["mean_shape"], atol=0.1, rtol=0)


def test_the_fine_variant_has_a_name():
    coarse, fine = load_morphable_model("face"), load_morphable_model("face-fine")
    assert fine.digest == subdivided(coarse).digest and coarse.digest != fine.digest
    assert coarse.digest == load_morphable_model().digest


@pytest.mark.parametrize("source", ["bfm", "nowhere/model.safetensors", "."])
def test_a_missing_model_is_named(source):
    with pytest.raises(
        FileNotFoundError, match=f'no face model {source}: give "face", "face-fine" or'
    ) as error:
        load_morphable_model(source)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"\xff" * 8 + content[8:],
        lambda content: content[:40] + b"\xff" * 40 + content[80:],
    ],
    ids=["truncated", "length", "header"],
)
def test_a_damaged_model_is_named(tmp_path, damage):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(damage(DEFAULT_MODEL.read_bytes()))
    assert "damaged.safetensors is damaged or not a safetensors file" in refused(path)


def test_a_file_that_holds_something_else_is_named(tmp_path):
    save_tensors(tmp_path / "weights.safetensors", {"layer": torch.zeros(3)}, {})
    with pytest.raises(ValueError, match="face model weights lacks mean_shape"):
        load_morphable_model(tmp_path / "weights.safetensors")

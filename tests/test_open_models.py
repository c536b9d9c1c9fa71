"""Face models learnt from scans: generated files of their exact layout, and the real ICT-FaceKit.

The real files are looked for in the folder that MOFA_ICT names, or in `../shared/ict-facekit`
beside the repository; where there are none, their tests are skipped.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import model_fixtures as make
import numpy as np
import papermill
import pytest
import torch
import trimesh
from few_faces import FewFaces

from mofa_lib import (
    FaceCode,
    FaceRenderer,
    ict_facekit,
    load_morphable_model,
    load_pretrained,
    profile,
)
from mofa_lib.artifacts import load_metadata
from mofa_lib.borrowed_skin import borrowed_skin
from mofa_lib.export import export_head
from mofa_lib.faces import JAW
from mofa_lib.ict_facekit import IDENTITIES, KEPT
from mofa_lib.surfaces import nearest_places
from mofa_lib.training import main, tasks

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def face(model):
    return make.Face(model.mean_shape, model.faces, model.mean_appearance, model.landmarks)


def refused(path: Path) -> str:
    """The sentence with which a model is refused; it is one."""
    with pytest.raises(ValueError) as error, warnings.catch_warnings():
        warnings.simplefilter("error")
        load_morphable_model(path)
    sentence = str(error.value)
    assert "\n" not in sentence and sentence.endswith((".", ").", "again."))
    return sentence


def assert_same_law(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    """Whether two sets of components (3V, K) and (3V, M) have one covariance."""
    probe = np.random.default_rng(0).standard_normal((len(found), 30))
    ours, theirs = (basis @ (basis.T @ probe) for basis in (found, wanted))
    assert np.linalg.norm(ours - theirs) < tolerance * np.linalg.norm(theirs)


def flat(basis) -> np.ndarray:
    return np.asarray(basis, "f8").reshape(-1, np.shape(basis)[-1])


# ICT-FaceKit: a generated folder.


@pytest.fixture(scope="module")
def ict(face, tmp_path_factory):
    """The folder, its neutral vertices and what its meshes add, mm."""
    folder = tmp_path_factory.mktemp("ict") / "FaceXModel"
    return folder, *make.ict(folder, face)


@pytest.fixture(scope="module", autouse=True)
def meshes_are_read_once():
    """A hundred meshes take seconds, whoever reads them."""
    read, known = ict_facekit._vertices, {}

    def remembered(path: Path) -> np.ndarray:
        file = path.resolve()
        if file not in known:
            known[file] = read(path)
        return known[file]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ict_facekit, "_vertices", remembered)
        yield


@pytest.fixture(scope="module")
def ict_model(ict):
    return load_morphable_model(ict[0])


@pytest.fixture
def copied(ict, tmp_path):
    """A folder whose files may be replaced: links to the meshes."""
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    for path in ict[0].iterdir():
        (folder / path.name).symlink_to(path)
    return folder


def rewritten(folder: Path, name: str, change) -> None:
    text = (folder / name).read_text()
    (folder / name).unlink()
    (folder / name).write_text(change(text))


def test_ict_s_modes_keep_their_law_on_the_face(ict, ict_model):
    _, _, added = ict
    modes = np.stack([added[f"identity{i:03d}"][KEPT] for i in range(IDENTITIES)], 2)
    assert ict_model.sizes == (80, 5, 80)
    basis = flat(ict_model.shape_basis)
    gram = basis.T @ basis
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-3 * gram.max()  # at right angles
    kept = np.linalg.svd(flat(modes), compute_uv=False)[:80]
    np.testing.assert_allclose(np.diag(gram) ** 0.5, kept, rtol=1e-4)
    share = (kept**2).sum() / (modes**2).sum()
    assert_same_law(basis, flat(modes), 1 - share + 0.2)


def test_ict_s_expressions_have_the_statistics_of_weights(ict, ict_model):
    """Mean and covariance of faces with random weights, drawn as one would."""
    _, neutral, added = ict
    names = make.ICT_EXPRESSIONS
    moves = flat(np.stack([added[name][KEPT] for name in names], 2))  # (3V, E)
    rng = np.random.default_rng(5)
    drawn = rng.random((200_000, len(names))) * (rng.random((200_000, len(names))) < 0.12)
    for left, right in ((0, 1), (3, 4)):
        drawn[:, right] = (drawn[:, left] * rng.uniform(0.8, 1.2, len(drawn))).clip(0, 1)
    usual = neutral[KEPT] + (moves @ drawn.mean(0)).reshape(-1, 3)
    away = ict_model.mean_shape.numpy() - (usual - usual.mean(0))
    assert np.abs(away).max() < 0.05 * np.abs(moves).max()
    spread = np.linalg.cholesky(np.cov(drawn.T))
    assert_same_law(flat(ict_model.expression_basis), moves @ spread, 0.1)


def test_ict_s_folder_and_its_neutral_mesh_are_one_model(ict, ict_model):
    by_mesh = load_morphable_model(ict[0] / "generic_neutral_mesh.obj")
    assert by_mesh.digest == ict_model.digest != load_morphable_model().digest
    assert ict_model.name == "FaceXModel"


def test_ict_s_quads_become_triangles_that_look_outward(ict, ict_model):
    _, neutral, _ = ict
    assert len(ict_model.mean_shape) == len(KEPT) == 9409 + 3140
    balls = ict_model.faces[(ict_model.faces >= 9409).all(1)]
    assert len(balls) == 2 * 2 * 9 * 157  # 9 rings of 157 quads on each eyeball
    middle = ict_model.mean_shape[9409:10979].mean(0)
    corners = ict_model.mean_shape[balls[: len(balls) // 2]] - middle
    assert (torch.linalg.det(corners) > 0).all()
    marks = json.loads((ict[0] / "vertex_indices.json").read_text())["idx_to_landmark_verts"]
    off = ict_model.mean_shape[ict_model.landmarks].numpy() - neutral[marks]
    assert np.abs(off - off.mean(0)).max() < 2  # mm that the usual expression moves them by


ICT_FAULTS = {
    "missing": (
        "identity057.obj",
        None,
        "lacks identity057.obj, one of 1 missing files: copy the whole folder FaceXModel",
    ),
    "missing expression": ("jawOpen.obj", None, "lacks jawOpen.obj, one of 1 missing files"),
    "truncated": (
        "identity003.obj",
        lambda text: text[: len(text) // 2],
        "vertices instead of 26719: it is truncated, or of another version than ICT-FaceKit Light.",
    ),
    "truncated triangles": (
        "generic_neutral_mesh.obj",
        lambda text: text[:-2000],
        "polygons instead of 26384: it is truncated, or of another version than",
    ),
    "another version": (
        "identity003.obj",
        lambda text: text.replace("\nv ", "\nv 1 2 3\nv ", 1),
        "identity003.obj has 26720 vertices instead of 26719",
    ),
    "words": (
        "identity003.obj",
        lambda text: text.replace("\nv ", "\nv x", 1),
        "identity003.obj is damaged, or holds something else",
    ),
    "a number missing": (
        "identity003.obj",
        lambda text: text.replace("\nv ", "\nv 1 ", 1),
        "(a vertex is not three finite numbers)",
    ),
    "not a number": (
        "identity003.obj",
        lambda text: text.replace("\nv 0", "\nv nan0", 1).replace("\nv -", "\nv nan -", 1),
        "identity003.obj is damaged, or holds something else",
    ),
    "a corner that is not": (
        "generic_neutral_mesh.obj",
        lambda text: text.replace("\nf ", "\nf 99", 1),
        "(a polygon names a vertex that there is not)",
    ),
    "no JSON": ("vertex_indices.json", lambda text: text[:-9], "is damaged, or holds something"),
    "no key": ("vertex_indices.json", lambda text: "{}", "holds something else ('expressions')."),
    "67 landmarks": (
        "vertex_indices.json",
        lambda text: text.replace('"idx_to_landmark_verts": [', '"idx_to_landmark_verts": [1, '),
        "(idx_to_landmark_verts are not 68 vertices of the face)",
    ),
    "a path": (
        "vertex_indices.json",
        lambda text: text.replace("jawOpen", "../jawOpen"),
        "(expressions are not the names of meshes)",
    ),
}


@pytest.mark.parametrize("fault", ICT_FAULTS)
def test_a_fault_of_ict_s_folder_is_named(copied, fault):
    name, change, sentence = ICT_FAULTS[fault]
    if change is None:
        (copied / name).unlink()
    else:
        rewritten(copied, name, change)
    assert sentence in refused(copied)


def test_ict_in_millimetres_is_refused(copied):
    def scaled(text: str) -> str:
        return re.sub(r"-?\d+\.\d+", lambda number: f"{10 * float(number[0]):.4f}", text)

    rewritten(copied, "generic_neutral_mesh.obj", scaled)
    assert "mm high: its unit must be another" in refused(copied)


def test_a_mesh_alone_is_no_face_model(ict, tmp_path):
    shutil.copy(ict[0] / "generic_neutral_mesh.obj", tmp_path / "head.obj")
    for path in (tmp_path / "head.obj", ict[0] / "jawOpen.obj"):
        assert "is a mesh, but no face model: ICT-FaceKit's is the folder of" in refused(path)
    with pytest.raises(FileNotFoundError, match="There is no face model"):
        load_morphable_model(tmp_path)


def test_a_digest_is_of_the_files_not_of_the_last_bits(ict, ict_model, monkeypatch):
    """A processor may find the same components with other last bits."""
    found = ict_facekit._principal
    monkeypatch.setattr(ict_facekit, "_principal", lambda moves: found(moves) * (1 + 1e-6))
    other = load_morphable_model(ict[0])
    assert not other.shape_basis.equal(ict_model.shape_basis)
    assert other.digest == ict_model.digest


def test_another_folder_has_another_digest(copied, ict_model):
    rewritten(copied, "identity003.obj", lambda text: re.sub(r"\nv \S+", "\nv 0.5", text, count=1))
    assert load_morphable_model(copied).digest != ict_model.digest


def test_renderer_and_export_take_it(ict_model, tmp_path):
    code = FaceCode.mean(ict_model)
    rendering = FaceRenderer(ict_model, 32)(code)
    assert 0.1 < rendering.mask.mean() < 0.9
    colours = ict_model.mean_appearance.clamp(0, 1)
    export_head(tmp_path / "head.glb", ict_model.mean_shape, ict_model.faces, colours)
    mesh = trimesh.load(tmp_path / "head.glb", force="mesh", process=False)
    assert len(mesh.faces) == len(ict_model.faces)


def test_mofa_is_trained_on_its_folder(ict, ict_model, cache, monkeypatch, capsys):
    """By the command, in the profile smoke."""
    noise = FewFaces(count=8, size=224)
    monkeypatch.setattr(tasks, "rendered_faces", lambda *_: noise)
    folder = str(ict[0])
    main(["--what", "mofa", "--profile", "smoke", "--steps", "2", "--model", folder])
    path = Path(capsys.readouterr().out.splitlines()[0])
    made = load_metadata(path)
    assert made["steps"] == 2 and made["model"] == ict_model.digest
    assert f"--model {folder}" in made["command"] and path.name.startswith("mofa_smoke_")
    trained = load_pretrained(replace(profile("smoke"), weights="smoke", model=folder))
    assert trained.encode(noise.images).to_vector().shape == (8, 80 + 5 + 80 + 33)


def test_the_guide_trains_and_attacks_on_its_folder(ict, ict_model, tmp_path):
    """All that the guide shows of a model, in the profile smoke."""
    ran = papermill.execute_notebook(
        ROOT / "book" / "guide_face_models.ipynb",
        tmp_path / "out.ipynb",
        parameters={"profile": "smoke", "model": str(ict[0]), "live": True, "steps": 2},
        cwd=tmp_path,
        progress_bar=False,
    )
    said = " ".join(str(output) for cell in ran.cells for output in cell.get("outputs", []))
    assert f"{len(ict_model.mean_shape)} vertices" in said
    assert re.search(r"left of the way to the target: \d+% \d+%", said)


# GNM: a generated file.


@pytest.fixture(scope="module")
def gnm(face):
    return make.gnm(face)


def test_gnm_s_face_is_kept_in_millimetres(face, gnm, tmp_path):
    loaded = load_morphable_model(make.save_gnm(tmp_path / "gnm_head.npz", gnm))
    assert loaded.sizes == (80, 64, 80) and loaded.name == "gnm_head"
    count = len(face.vertices)
    assert len(loaded.mean_shape) == count  # no mouth sock, teeth, corneas and neck
    wanted = face.vertices - face.vertices.mean(0)
    np.testing.assert_allclose(loaded.mean_shape, wanted, atol=1e-3)
    assert loaded.faces.equal(torch.from_numpy(face.triangles))

    for basis, names, start in (
        (loaded.shape_basis, gnm["identity_names"], "head_"),
        (loaded.expression_basis, gnm["expression_names"], ("left_", "right_", "lower_")),
    ):
        key = "vertex_identity_basis" if start == "head_" else "expression_basis"
        theirs = 1000 * gnm[key][[name.startswith(start) for name in names]][:, :count]
        sizes = sorted((float(np.linalg.norm(part)) for part in theirs), reverse=True)
        np.testing.assert_allclose(
            basis.flatten(0, 1).norm(dim=0), sizes[: basis.shape[2]], rtol=1e-4
        )
        largest = theirs[np.linalg.norm(theirs, axis=(1, 2)).argmax()]
        np.testing.assert_allclose(basis[..., 0], largest, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reversed_jaw", [False, True])
def test_gnm_s_landmarks_lie_beside(face, gnm, tmp_path, reversed_jaw):
    """An early revision has five points of the jaw the other way round."""
    path = make.save_gnm(tmp_path / "gnm_head.npz", gnm, face.landmarks, reversed_jaw)
    loaded = load_morphable_model(path)
    assert loaded.landmarks.tolist() == face.landmarks.tolist()


def test_gnm_without_its_landmarks_gets_estimates(face, gnm, tmp_path):
    loaded = load_morphable_model(make.save_gnm(tmp_path / "gnm_head.npz", gnm))
    away = loaded.mean_shape[loaded.landmarks].numpy() - (
        face.vertices[face.landmarks] - face.vertices.mean(0)
    )
    assert np.linalg.norm(away, axis=1).max() < 5


GNM_FAULTS = [
    ({"version": np.array("2.1")}, "is GNM head 2.1, but what is read is GNM head 3."),
    ({"variant": np.array("body")}, "is GNM body 3.0, but what is read is GNM head 3."),
    ({"version": None}, "lacks version, so it is no face model"),
    ({"version": np.float32(3)}, "version should be text"),
    ({"expression_basis": None}, "lacks expression_basis"),
    ({"identity_names": np.array(["head_000"])}, "vertex_identity_basis has shape"),
    ({"identity_names": np.array(["eyes_000"] * 253)}, "no name in identity_names begins with"),
    ({"vertex_group_names": np.array(["skin"] * 7)}, "has no vertex group hockey_mask"),
    ({"vertex_groups": np.zeros((7, 3), "f4")}, "vertex_groups has shape (7, 3) instead of (7, "),
    ({"template_vertex_positions": lambda v: 1000 * v}, "mm high: its unit must be another"),
    ({"triangles": lambda v: v + 100}, "triangles names vertices outside 0"),
    ({"vertex_groups": np.zeros_like}, "the vertex groups hold no vertex of the face"),
]


@pytest.mark.parametrize(("changes", "sentence"), GNM_FAULTS)
def test_a_fault_of_gnm_is_named(gnm, tmp_path, changes, sentence):
    content = dict(gnm)
    for key, value in changes.items():
        content[key] = value(gnm[key]) if callable(value) else value
        if value is None:
            del content[key]
    assert sentence in refused(make.save_gnm(tmp_path / "gnm_head.npz", content))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1 0.2 2 0.7 3 0.1\n" * 67, "has shape (67, 6) instead of (68, 6)"),
        ("1 0.2 2 0.7\n" * 68, "has shape (68, 4) instead of (68, 6)"),
        ("1 0.2 99999 0.7 3 0.1\n" * 68, "head_sparse_68.txt names vertices outside 0 …"),
        ("1 0.2 2.5 0.7 3 0.1\n" * 68, "head_sparse_68.txt names vertices outside 0 …"),
        ("nose\n" * 68, "head_sparse_68.txt is damaged, or holds something else"),
    ],
)
def test_a_fault_of_gnm_s_landmarks_is_named(gnm, tmp_path, text, sentence):
    path = make.save_gnm(tmp_path / "gnm_head.npz", gnm)
    (tmp_path / "head_sparse_68.txt").write_text(text)
    assert sentence in refused(path)


# FLAME.


@pytest.mark.parametrize(("columns", "identity"), [(400, 300), (150, 100)])
def test_flame_s_expressions_begin_where_its_identities_end(sphere, tmp_path, columns, identity):
    """Copies with 150 columns hold 100 identities and 50 expressions."""
    points, triangles = sphere
    head = make.Face(points * torch.tensor([75, 120, 95]), triangles, points, range(68))
    content = make.flame(head, columns)
    path = make.save_flame(tmp_path / "flame2023_Open.pkl", content, 2, wrapped=True)
    loaded = load_morphable_model(path)
    kept = min(64, columns - identity)
    assert loaded.sizes == (80, kept, 80)
    wanted = 1000 * content["shapedirs"][..., identity : identity + kept]
    np.testing.assert_allclose(loaded.expression_basis, wanted, rtol=1e-4, atol=1e-5)
    wanted = 1000 * content["shapedirs"][..., :80]
    np.testing.assert_allclose(loaded.shape_basis, wanted, rtol=1e-4, atol=1e-5)


# The skin that is lent.


def test_a_model_that_lends_to_itself_gets_its_own_skin_back(model):
    lent = borrowed_skin(model, model.mean_shape, model.faces, model.landmarks)
    for key, values in lent.items():
        away = (values - getattr(model, key)).abs().flatten(1).amax(1)
        assert (away < 0.02).float().mean() > 0.99


def test_a_larger_face_that_stands_elsewhere_gets_it_too(model):
    turn = torch.linalg.matrix_exp(torch.tensor([[0, 0.1, 0.2], [-0.1, 0, 0.1], [-0.2, -0.1, 0]]))
    moved = 1.1 * model.mean_shape @ turn + 30
    lent = borrowed_skin(model, moved, model.faces, model.landmarks)["mean_appearance"]
    assert ((lent - model.mean_appearance).abs().amax(1) < 0.05).float().mean() > 0.93


def test_lips_are_red_and_irises_dark_on_other_meshes(ict_model, model):
    """In the colours of our mean face, looked up by hand: at the landmark, and around."""
    for point in (51, 57, 8, 30):  # lips, chin, tip of the nose
        theirs = ict_model.mean_appearance[ict_model.landmarks[point]]
        ours = model.mean_appearance[model.landmarks[point]]
        torch.testing.assert_close(theirs, ours, atol=0.06, rtol=0)
    ball = ict_model.mean_appearance[9409:10979].mean(1)
    assert ball[:157].mean() < 0.6 * ball.max()  # the foremost ring, 11 degrees from the middle


def test_the_nearest_place_is_what_every_triangle_says(model):
    random = np.random.default_rng(3)
    vertices, triangles = model.mean_shape.double().numpy(), model.faces.numpy()
    points = vertices[random.integers(0, len(vertices), 60)] + random.normal(0, 2, (60, 3))
    places = nearest_places(points, vertices, triangles)
    np.testing.assert_allclose(places.weights.sum(1), 1)
    np.testing.assert_allclose(
        np.linalg.norm(places.read(vertices) - points, axis=1), places.distance, atol=1e-6
    )
    for point, distance in zip(points, places.distance, strict=True):
        every = trimesh.triangles.closest_point(
            vertices[triangles], np.tile(point, (len(triangles), 1))
        )
        assert distance < np.linalg.norm(every - point, axis=1).min() + 0.01


def test_a_surface_that_looks_the_other_way_is_left_out():
    """Two sheets, a near one that looks down and a far one that looks up."""
    square = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    vertices = np.concatenate([square, square + [0, 0, -1]])
    triangles = np.array([[0, 2, 1], [3, 4, 5]])
    point, up = np.array([[0.2, 0.2, 0.1]]), np.array([[0.0, 0, 1]])
    assert nearest_places(point, vertices, triangles).distance == pytest.approx(0.1)
    assert nearest_places(point, vertices, triangles, up).distance == pytest.approx(1.1)


# The real ICT-FaceKit.


def real_folder() -> Path | None:
    """The folder of ICT-FaceKit on this machine; packed or whole."""
    for place in (os.environ.get("MOFA_ICT"), ROOT.parent / "shared" / "ict-facekit"):
        if place and (Path(place) / "FaceXModel" / "vertex_indices.json").is_file():
            return Path(place)
    return None


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The whole folder FaceXModel, unpacked where need be."""
    folder = real_folder()
    if folder is None:
        pytest.skip("ICT-FaceKit is not here: name its folder in MOFA_ICT")
    if (folder / "FaceXModel" / "identity099.obj").is_file():
        yield folder / "FaceXModel"
        return
    out = tmp_path_factory.mktemp("expanded")
    subprocess.run([sys.executable, folder / "expand.py", out], check=True)
    yield out / "FaceXModel"
    shutil.rmtree(out)  # 400 MB


@pytest.fixture(scope="module")
def real_model(real):
    return load_morphable_model(real)


@pytest.fixture(scope="module")
def published():
    """The meshes as published, read by trimesh, cm."""
    folder = real_folder()
    if folder is None:
        pytest.skip("ICT-FaceKit is not here: name its folder in MOFA_ICT")

    def read(name: str) -> trimesh.Trimesh:
        text = (folder / "FaceXModel" / f"{name}.obj").read_text()
        # Materials and texture coordinates cut a mesh into pieces there.
        text = re.sub(r"(\d+)/\d+", r"\1", re.sub("usemtl.*", "", text))
        return trimesh.load(io.StringIO(text), file_type="obj", process=False, maintain_order=True)

    return read


def test_the_real_meshes_are_what_trimesh_reads(real, real_model, published):
    shapes = ict_facekit.blend_shapes(real)
    neutral = published("generic_neutral_mesh")
    assert len(neutral.vertices) == 26719
    np.testing.assert_allclose(shapes.neutral, 10 * neutral.vertices[KEPT], atol=1e-6)
    for number in (0, 1, 57):
        mode = 10 * (published(f"identity{number:03d}").vertices - neutral.vertices)[KEPT]
        np.testing.assert_allclose(shapes.identities[number], mode, atol=1e-6)
    for name in ("jawOpen", "mouthSmile_L"):
        added = 10 * (published(name).vertices - neutral.vertices)[KEPT]
        np.testing.assert_allclose(shapes.expressions[name], added, atol=1e-6)

    # The same surface, whichever way a quad is cut: its area, and its volume with its sign.
    kept = neutral.faces[np.isin(neutral.faces, KEPT).all(1)]
    theirs = trimesh.Trimesh(10 * neutral.vertices, kept, process=False)
    ours = trimesh.Trimesh(shapes.neutral, real_model.faces.numpy(), process=False)
    assert ours.area == pytest.approx(theirs.area, rel=1e-3)
    assert ours.volume == pytest.approx(theirs.volume, rel=1e-2) and len(ours.faces) == len(kept)


def test_real_heads_have_people_s_eyes(real_model):
    """Between the middles of the eyeballs, over 5000 samples: people have about 63 ± 3.6 mm."""
    rng = np.random.default_rng(0)
    alpha = rng.standard_normal((5000, 80))
    left, right = slice(9409, 9409 + 1570), slice(9409 + 1570, 12549)

    def middle(ball: slice) -> np.ndarray:
        mean = real_model.mean_shape[ball].mean(0).numpy()
        return mean + alpha @ real_model.shape_basis[ball].mean(0).numpy().T

    apart = np.linalg.norm(middle(left) - middle(right), axis=1)
    assert apart.mean() == pytest.approx(63.8, abs=0.3)
    assert apart.std() == pytest.approx(3.8, abs=0.2)
    jaw = real_model.landmarks[JAW][[0, 16]]
    mean, basis = real_model.mean_shape[jaw].numpy(), real_model.shape_basis[jaw].numpy()
    width = np.linalg.norm(mean[0] - mean[1] + alpha @ (basis[0] - basis[1]).T, axis=1)
    assert width.mean() == pytest.approx(147, abs=1) and width.std() == pytest.approx(7.5, abs=0.5)


def test_eighty_real_components_hold_nearly_everything(real, real_model):
    shapes = ict_facekit.blend_shapes(real)
    held = real_model.shape_basis.double().square().sum() / np.square(shapes.identities).sum()
    assert held > 0.997
    assert real_model.sizes == (80, 40, 80)
    assert (real_model.mean_shape[real_model.landmarks[JAW], 0].diff() > 0).all()

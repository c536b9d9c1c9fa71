"""The lab's graphs against PyTorch.

They are exported in a process of their own, without the checks of types.
"""

import base64
import io
import json
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from mofa_lib import load_detector, load_pretrained
from mofa_lib.artifacts import save_json
from mofa_lib.attack import AdaptiveAttack, CodeDistance, LatentAttack, quantize
from mofa_lib.processes import alone
from mofa_lib.studio.recipe import sources
from mofa_lib.web import verify_run
from mofa_lib.web.lab import FORMAT, PEOPLE, RATE

BOUND = 4 / 255
ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="no make")


@pytest.fixture(scope="module")
def folder():
    """What the site serves: one process of the tests has it made, and `make book` finds it done."""
    folder = ROOT / "book" / "_static" / "lab" / "data"
    command = ["make", "--silent", folder.relative_to(ROOT) / ".exported"]
    with alone(ROOT / "_build" / "lab", "The lab is exported"):
        subprocess.run(command, cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def about(folder):
    return json.loads((folder / "lab.json").read_text())


@pytest.fixture(scope="module")
def graphs(folder):
    return {path.stem: onnxruntime.InferenceSession(path) for path in folder.glob("*.onnx")}


@pytest.fixture(scope="module")
def mofa():
    return load_pretrained("cpu").cpu()


@pytest.fixture(scope="module")
def detector():
    return load_detector("cpu").cpu()


@pytest.fixture(scope="module")
def faces(folder, about):
    """The gallery, as the page reads it."""
    pictures = [np.array(Image.open(folder / entry["file"])) for entry in about["gallery"]]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255


def run(graph, **inputs):
    given = {name: np.asarray(value, np.float32) for name, value in inputs.items()}
    names = [output.name for output in graph.get_outputs()]
    return dict(zip(names, map(torch.from_numpy, graph.run(None, given)), strict=True))


def beginning(image, target, weights, bound=BOUND, clip_inside=0):
    zeros = torch.zeros_like(image)
    return {
        "image": image, "u": zeros, "moment1": zeros, "moment2": zeros, "step": [0],
        "target": target, "bound": [bound], "rate": [RATE], "weights": weights,
        "clip_inside": [clip_inside],
    }  # fmt: skip


def step(graph, inputs):
    found = run(graph, **inputs)
    following = inputs | {"step": [inputs["step"][0] + 1]}
    for name in ("u", "moment1", "moment2"):
        following[name] = found[f"next_{name}"]
    return found, following


@pytest.fixture(scope="module")
def weights(about):
    return [group["weight"] for group in about["groups"]]


@torch.no_grad()
def test_codes_and_terms_are_the_library_s(graphs, mofa, faces, weights, about):
    distance, targets = CodeDistance(mofa.model), mofa.encode(faces.roll(1, 0))
    assert [group["name"] for group in about["groups"]] == list(distance.weights)
    for i in range(PEOPLE):
        target = targets[i]
        found = run(graphs["attack"], **beginning(faces[i : i + 1], target.to_vector(), weights))
        code = mofa.encode(faces[i : i + 1])
        torch.testing.assert_close(found["code"], code.to_vector(), atol=1e-4, rtol=1e-4)
        expected = torch.stack(list(distance.terms(code, target).values()))[:, 0]
        torch.testing.assert_close(found["terms"], expected, atol=1e-5, rtol=1e-4)
        assert found["attacked"].equal(faces[i : i + 1])


def test_the_derivative_is_autograd_s(graphs, mofa, faces, weights):
    """After the first step Adam's first moment is a tenth of the gradient."""
    distance, targets = CodeDistance(mofa.model), mofa.encode(faces.roll(1, 0))
    alike = []
    for i in range(4):
        u = torch.rand(1, 3, mofa.size, mofa.size, generator=torch.Generator().manual_seed(i)) - 0.5
        image = faces[i : i + 1].clamp(0.1, 0.9)
        inputs = beginning(image, targets[i].to_vector(), weights)
        moment = run(graphs["attack"], **inputs | {"u": u})["next_moment1"]
        u.requires_grad_()
        loss = distance(mofa.encode(image + BOUND * u), targets[i]).sum()
        (gradient,) = torch.autograd.grad(loss, u)
        alike.append((moment.sign() == gradient.sign()).float().mean())
        assert torch.cosine_similarity(moment.flatten(), gradient.flatten(), dim=0) > 0.999
    assert torch.stack(alike).mean() >= 0.999


def test_a_run_ends_where_the_library_ends(graphs, mofa, faces, weights):
    targets = mofa.encode(faces[[5, 7]])
    steps = 12
    attack = LatentAttack(
        mofa.encode, CodeDistance(mofa.model), BOUND, steps, precision="float32"
    )  # the graph's
    attacked = attack(faces[:2], targets)
    for i in range(2):
        inputs, course = beginning(faces[i : i + 1], targets[i].to_vector(), weights), []
        for _ in range(steps + 1):
            found, inputs = step(graphs["attack"], inputs)
            course.append(float(found["terms"].sum()))
            assert (found["attacked"] - faces[i : i + 1]).abs().max() <= BOUND + 1e-6
        assert min(course) == pytest.approx(float(attacked.distance[i]), rel=0.02)


def test_a_clip_inside_the_graph_freezes(graphs, mofa, faces, weights):
    """Chapter 7: where the clip holds a value, no gradient gets through, and Adam only coasts."""
    target = mofa.encode(faces[5:6]).to_vector()
    inside = beginning(faces[:1], target, weights, clip_inside=1)
    held = inside | {"u": torch.full_like(faces[:1], 3.0)}
    found, _ = step(graphs["attack"], held)
    assert not found["next_moment1"].any() and found["next_u"].equal(held["u"])
    found, _ = step(graphs["attack"], held | {"clip_inside": [0]})
    assert found["next_moment1"].any() and found["next_u"].abs().max() <= 1


SCORES = ("l1", "l2", "linf", "js", "cosine")
NEVER = 1e6  # a threshold that no score reaches


@pytest.mark.parametrize("which", [*SCORES, "all"])
def test_the_derivative_through_the_detector_is_autograd_s(
    graphs, mofa, detector, faces, weights, which
):
    """Of each score alone, and of all beside Δ; the limits are where every score is too high."""
    distance, target = CodeDistance(mofa.model), mofa.encode(faces[5:6])
    near = which == "all"
    image, c = faces[:1].clamp(0.1, 0.9), 0.3
    u = torch.rand(image.shape, generator=torch.Generator().manual_seed(7)) - 0.5
    u.requires_grad_()
    attacked = image + BOUND * u
    code = mofa.encode(attacked)
    scores = detector.scores(attacked, code)
    limits = {
        name: 0.8 * float(score.detach()) if which in (name, "all") else NEVER
        for name, score in scores.items()
    }
    excess = sum((scores[name] / limits[name] - 0.98).clamp(min=0) for name in SCORES)
    loss = c * excess + near * distance(code, target)
    (gradient,) = torch.autograd.grad(loss.sum(), u)

    terms = [near * weight for weight in weights]
    inputs = beginning(image, target.to_vector().detach(), terms) | {"u": u.detach()}
    known = {"c": [c], "thresholds": [limits[name] for name in SCORES]}
    found = run(graphs["knowing"], **inputs, **known)
    values = torch.cat([scores[name] for name in SCORES]).detach()
    torch.testing.assert_close(found["scores"], values, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found["excess"], excess.detach(), atol=1e-3, rtol=1e-3)
    moment = found["next_moment1"].flatten()
    assert torch.cosine_similarity(moment, gradient.flatten(), dim=0) > 0.999
    assert 10 * moment.norm() == pytest.approx(float(gradient.norm()), rel=0.01)


def test_a_knowing_run_ends_where_the_library_ends(graphs, mofa, detector, faces, weights, about):
    target = mofa.encode(faces[7:8])
    image, steps, c, bound = faces[1:2], 12, 0.3, 8 / 255
    limits = about["thresholds"]
    attack = AdaptiveAttack(
        mofa.encode, CodeDistance(mofa.model), detector.scores, limits, bound, steps,
        weight=c, searches=1, precision="float32",
    )  # fmt: skip
    attacked = attack(image, target)
    inputs = beginning(image, target.to_vector(), weights, bound)
    inputs |= {"c": [c], "thresholds": [limits[name] for name in SCORES]}
    course = []
    for _ in range(steps + 1):
        found, inputs = step(graphs["knowing"], inputs)
        course.append((float(found["excess"]), float(found["terms"].sum())))
    assert min(course)[1] == pytest.approx(float(attacked.distance), rel=0.02)


def test_a_detector_that_never_calls_leaves_the_attack_as_it_is(graphs, mofa, faces, weights):
    inputs = beginning(faces[:1], mofa.encode(faces[5:6]).to_vector().detach(), weights)
    blind = run(graphs["attack"], **inputs)
    knowing = run(graphs["knowing"], **inputs, c=[1.0], thresholds=[NEVER] * 5)
    assert not knowing["excess"].any()
    for name, value in blind.items():
        torch.testing.assert_close(knowing[name], value, atol=1e-6, rtol=1e-5)


def test_the_knowing_graph_has_no_weights_of_its_own(about):
    assert about["files"]["knowing.onnx"] < 0.1 * about["files"]["attack.onnx"]


@torch.no_grad()
def test_heads_are_those_of_the_renderer(graphs, mofa, faces):
    code = mofa.encode(faces[:1])
    found = run(graphs["face"], code=code.to_vector())
    rendering = mofa.decode(code)
    torch.testing.assert_close(found["vertices"], rendering.vertices[0], atol=1e-3, rtol=1e-5)
    seen = rendering.fragments.face[0]
    corners = mofa.model.faces[seen.clamp(min=0)]
    colours = (found["colours"][corners] * rendering.fragments.barycentric[0][..., None]).sum(2)
    there = seen >= 0
    torch.testing.assert_close(
        colours[there], rendering.image[0].permute(1, 2, 0)[there], atol=1e-4, rtol=1e-4
    )


@torch.no_grad()
def test_reformed_pictures_and_scores_are_the_detector_s(graphs, mofa, detector, faces):
    drawn = run(graphs["reform"], image=faces[:1])["drawn"]
    torch.testing.assert_close(drawn, detector.reconstruct(faces[:1]), atol=1e-4, rtol=1e-4)
    before, after = (mofa.encode(picture).to_vector() for picture in (faces[:1], drawn))
    found = run(graphs["scores"], image=faces[:1], drawn=drawn, before=before, after=after)
    for name, value in detector.scores(faces[:1]).items():
        torch.testing.assert_close(found[name], value, atol=1e-3, rtol=1e-3)


def test_what_the_page_reads_is_there(folder, about, mofa):
    for file, size in about["files"].items():
        assert (folder / file).stat().st_size == size
    triangles = np.frombuffer((folder / "faces.bin").read_bytes(), "<u2").reshape(-1, 3)
    assert np.array_equal(triangles, mofa.model.faces.numpy())
    assert len(about["gallery"]) == PEOPLE and about["length"] == 257
    assert set(about["thresholds"]) == {"l1", "l2", "linf", "js", "cosine"}
    assert -1 < about["similarity_threshold"]["value"] < 1


def png(image):
    file = io.BytesIO()
    Image.fromarray((255 * image).round().byte().permute(1, 2, 0).numpy()).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


SMALL = png(torch.zeros(3, 8, 8))
TRUNCATED = base64.b64encode(base64.b64decode(png(torch.rand(3, 64, 64)))[:-999]).decode()


@pytest.fixture
def saved(tmp_path, about, mofa, faces):
    """A run as the lab saves it."""
    distance = CodeDistance(mofa.model)
    target = mofa.encode(faces[5:6])
    adversarial = LatentAttack(mofa.encode, distance, BOUND, 5)(faces[:1], target).images
    claimed = float(distance(mofa.encode(quantize(adversarial)), target))
    run = {
        "format": FORMAT, "profile": "cpu", "weights_digest": about["weights_digest"],
        "size": mofa.size, "weights": distance.weights,
        "original": png(faces[0]), "target": png(faces[5]),
        "adversarial": png(adversarial[0]), "saved_distance": claimed,
    }  # fmt: skip
    path = tmp_path / "run.json"
    save_json(path, run)
    return path, run


@pytest.mark.parametrize("knowledge", [{}, {"knows_detector": True, "c": 0.1}])  # {}: an older run
def test_runs_of_the_lab_are_verified(saved, knowledge):
    path, run = saved
    save_json(path, run | knowledge)
    found = verify_run(path)
    assert found["distance"] == pytest.approx(found["claimed"], rel=1e-4)
    assert found["distance"] < found["clean_distance"] and 0 < found["linf"] <= 4.5
    save_json(path, run | {"adversarial": run["original"]})
    found = verify_run(path)
    assert found["distance"] == found["clean_distance"] != pytest.approx(found["claimed"], rel=1e-4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "mofa-lab-run-9"}, "has the format mofa-lab-run-9, this library reads"),
        ({"weights_digest": "0"}, "other weights of MoFA than are loaded here"),
        ({"target": "AAAA"}, "is no run saved by the lab"),
        ({"target": "A"}, "is no run saved by the lab"),
        ({"target": TRUNCATED}, "is no run saved by the lab"),
        ({"target": SMALL}, "is no run saved by the lab"),
        ({"saved_distance": None}, "is no run saved by the lab"),
        ({"saved_distance": "abc"}, "is no run saved by the lab"),
        ({"profile": "tpu"}, "is no run saved by the lab"),
        ({"weights": None}, "is no run saved by the lab"),
        ({"weights": [1, 2]}, "is no run saved by the lab"),
        ({"weights": {}}, "is no run saved by the lab"),
        ({"weights": {"shape": "1"}}, "is no run saved by the lab"),
        ({"weights": {"nose": 1}}, "is no run saved by the lab"),
    ],
)
def test_what_is_no_run_is_refused(saved, change, sentence):
    path, run = saved
    save_json(path, run | change)
    with pytest.raises(ValueError, match=f"{path.name} .*{sentence}"):
        verify_run(path)


def test_a_file_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "run.json").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match="is no run saved by the lab"):
        verify_run(tmp_path / "run.json")
    with pytest.raises(FileNotFoundError):
        verify_run(tmp_path / "none.json")


def test_the_graphs_tell_nothing_of_the_machine_that_made_them(folder):
    for path in folder.glob("*.onnx"):
        assert b".py" not in path.read_bytes() and bytes(ROOT) not in path.read_bytes()


def test_codes_of_one_coordinate_move_one_group(graphs, mofa, faces, weights, about):
    """Closed form: at the target but for one coordinate, one term is λσ/n times the difference."""
    code = mofa.encode(faces[:1])
    moved = code.to_vector().clone()
    moved[0, 200] += 0.5
    found = run(graphs["attack"], **beginning(faces[:1], moved, weights))
    names = [group["name"] for group in about["groups"]]
    terms = dict(zip(names, found["terms"].tolist(), strict=True))
    expected = 0.5 * float(mofa.model.appearance_sigma[200 - 144]) / 80
    assert terms.pop("appearance") == pytest.approx(expected, rel=1e-3)
    assert max(terms.values()) < 1e-4


def test_make_exports_the_lab_anew_when_anything_behind_it_changed():
    """All the modules that the export imports, and all that they read of what ships."""
    files = [find_spec(f"mofa_lib.{name}").origin for name in sources("web.lab")]
    modules = {Path(file).relative_to(ROOT).as_posix() for file in files}
    files = (ROOT / "mofa_lib" / "shipped").rglob("*.safetensors")
    shipped = {path.relative_to(ROOT).as_posix() for path in files}
    rules = subprocess.run(["make", "-pnq", "help"], cwd=ROOT, capture_output=True, text=True)
    line = r"^book/_static/lab/data/\.exported: ([^|]*)"
    (behind,) = re.findall(line, rules.stdout, re.MULTILINE)
    assert "mofa_lib/attack/distance.py" in modules and modules | shipped <= set(behind.split())

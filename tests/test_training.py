"""The training: batches by step, resuming, and the chain from pictures to weights that load."""

import csv
import shlex
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from few_faces import FewFaces
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from mofa_lib import (
    MoFA,
    RenderedFaces,
    load_detector,
    load_morphable_model,
    load_pretrained,
    losses,
    profiles,
)
from mofa_lib.artifacts import load_tensors, save_tensors
from mofa_lib.camera import Camera
from mofa_lib.detector import reconstruction_loss
from mofa_lib.faces import five_points, mirrored
from mofa_lib.identity import CodeTrunk, IdentityClassifier, load_identity
from mofa_lib.linear_autoencoder import LinearAutoencoder
from mofa_lib.morphable import MorphableModel
from mofa_lib.training import command, loop, main, tasks, train
from mofa_lib.training.batches import Batch, Codes, Pictures, StepSampler
from mofa_lib.training.objectives import (
    DetectorObjective,
    IdentityObjective,
    MoFAObjective,
    Objective,
)
from mofa_lib.training.tasks import Task, encode_all, make_task
from mofa_lib.weights import find_weights, load_weights, save_weights

STEPS = 12


@pytest.fixture(autouse=True)
def frequent_checkpoints(monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 5)


class Points(Dataset):
    """Inputs and targets in whole batches."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitems__(self, indices):
        return self.x[indices], self.y[indices]


class Fit(Objective):
    """Least squares; may be stopped after some steps, as by a power cut."""

    stop_after = None

    def __init__(self, network):
        super().__init__(network)
        self.seen = []

    def forward(self, batch):
        x, y = batch
        if len(self.seen) == self.stop_after:
            raise KeyboardInterrupt
        self.seen.append(x)
        loss = F.mse_loss(self.network(x).float(), y)
        return {"loss": loss, "largest": x.abs().max()}


def small_task(kind: str = "adamw", stop_after: int | None = None) -> Task:
    """A small task with the real optimisers and schedules; also with dropout and batch norm."""
    torch.manual_seed(0)
    x = torch.randn(50, 3)
    network: nn.Module = nn.Linear(3, 1)
    if kind == "network":
        network = nn.Sequential(
            nn.Unflatten(1, (1, 1, 3)),
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(24, 1),
        )
    objective = Fit(network)
    objective.stop_after = stop_after
    chosen, what, rate = {
        "adamw": (profiles.profile("cpu"), "mofa", 0.5),
        "network": (profiles.profile("cpu"), "identity", 0.05),
        "adadelta": (profiles.profile("paper"), "mofa", 1.0),
        "sgd": (profiles.profile("paper"), "detector", 0.05),
    }[kind]
    optimizer, schedule = tasks._optimizer(network, what, chosen, rate, STEPS)
    data = Points(x, x @ torch.tensor([[1.0], [2.0], [-1.0]]) + 0.5)
    return Task(objective, data, 8, STEPS, optimizer, schedule, {})


def weights_of(task: Task) -> dict[str, torch.Tensor]:
    """Parameters and buffers."""
    return {key: value.cpu().clone() for key, value in task.objective.network.state_dict().items()}


def same_weights(one: Task, other: Task) -> bool:
    """To the last bit."""
    one, other = weights_of(one), weights_of(other)
    return one.keys() == other.keys() and all(value.equal(other[key]) for key, value in one.items())


def test_the_paper_s_optimisers():
    for kind, name in {"adamw": "AdamW", "adadelta": "Adadelta", "sgd": "SGD"}.items():
        assert type(small_task(kind).optimizer).__name__ == name
    assert small_task("sgd").optimizer.defaults["momentum"] == 0.9
    rates = []
    task = small_task("sgd")
    for _ in range(STEPS):
        rates.append(task.optimizer.param_groups[0]["lr"])
        task.optimizer.step()
        task.schedule.step()
    halved_after_each_third = [0.05] * 4 + [0.025] * 4 + [0.0125] * 4
    assert rates == pytest.approx(halved_after_each_third)


def test_training_fits(tmp_path):
    task = small_task()
    course = train(task, tmp_path)
    assert [entry["step"] for entry in course] == [5, 10, 12]
    assert course[-1]["loss"] < 0.7 * course[0]["loss"]
    assert not task.objective.network.training


def test_the_course_is_the_mean_since_the_last_entry(tmp_path):
    task = small_task()
    course = train(task, tmp_path)
    largest = [float(x.abs().max()) for x in task.objective.seen]
    for entry, (first, last) in zip(course, [(0, 5), (5, 10), (10, 12)], strict=True):
        assert entry["largest"] == pytest.approx(sum(largest[first:last]) / (last - first))


@pytest.mark.parametrize("kind", ["adamw", "adadelta", "sgd", "network"])
@pytest.mark.parametrize("stop_after", [0, 3, 5, 8, 11])
def test_a_run_that_was_cut_off_ends_as_one_that_was_not(tmp_path, kind, stop_after):
    """To the last bit, with the optimiser's memory, its rates, dropout and batch norm."""
    whole = small_task(kind)
    expected = train(whole, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(small_task(kind, stop_after), tmp_path / "cut")
    torch.manual_seed(stop_after)
    resumed = small_task(kind)
    course = train(resumed, tmp_path / "cut")
    assert same_weights(resumed, whole)
    for entry in (*course, *expected):
        del entry["images_per_s"]
    assert course == expected


def test_a_run_in_small_portions_ends_as_one_that_was_not(tmp_path):
    """No time at all is one step a call."""
    whole = small_task("network")
    train(whole, tmp_path / "whole")
    for calls in range(1, STEPS + 1):
        portion = small_task("network")
        course = train(portion, tmp_path / "portions", minutes=0.0)
        assert course[-1]["step"] == calls
    assert same_weights(portion, whole)


@pytest.mark.parametrize("written", ["log.csv", "checkpoint.safetensors"])
def test_a_run_may_be_cut_off_while_it_writes(tmp_path, monkeypatch, written):
    """Before either of its files: the log may then be ahead of the checkpoint, which counts."""
    whole = small_task("network")
    expected = train(whole, tmp_path / "whole")
    name = {"log.csv": "write_bytes", "checkpoint.safetensors": "save_tensors"}[written]
    write, calls = getattr(loop, name), []

    def cut(path, *rest):
        calls.append(path)
        if len(calls) == 2:
            path.with_name(f".{written}.99").write_bytes(b"half of it")
            raise KeyboardInterrupt
        write(path, *rest)

    monkeypatch.setattr(loop, name, cut)
    with pytest.raises(KeyboardInterrupt):
        train(small_task("network"), tmp_path / "cut")
    monkeypatch.undo()
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 5)
    resumed = small_task("network")
    course = train(resumed, tmp_path / "cut")
    assert same_weights(resumed, whole)
    assert [entry["step"] for entry in course] == [entry["step"] for entry in expected]
    files = {path.name for path in (tmp_path / "cut").iterdir()}
    assert files == {"log.csv", "checkpoint.safetensors"}
    assert [int(row["step"]) for row in read_log(tmp_path / "cut")] == [5, 10, 12]


def test_dropout_is_another_in_every_step_and_with_every_seed(tmp_path):
    dropped = []

    class Dropping(Fit):
        def forward(self, batch):
            dropped.append(tuple((F.dropout(torch.ones(64), 0.5) > 0).tolist()))
            return super().forward(batch)

    for seed in (0, 1):
        task = small_task()
        train(replace(task, objective=Dropping(task.objective.network)), tmp_path / str(seed), seed)
    assert len(set(dropped)) == 2 * STEPS


def test_a_finished_run_is_not_continued(tmp_path):
    course = train(small_task(), tmp_path)
    again = small_task()
    assert train(again, tmp_path) == course and not again.objective.seen


def read_log(folder):
    with (folder / "log.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_the_log_is_the_course_as_a_table(tmp_path):
    course = train(small_task(), tmp_path)
    rows = read_log(tmp_path)
    assert [{name: float(value) for name, value in row.items()} for row in rows] == course
    assert all(entry["images_per_s"] > 0 for entry in course)


def test_a_checkpoint_is_tensors_and_the_course(tmp_path):
    course = train(small_task(), tmp_path)
    tensors, metadata = load_tensors(tmp_path / "checkpoint.safetensors")
    assert metadata["course"] == course and {"network.weight", "network.bias"} < set(tensors)


@pytest.mark.parametrize("content", ["step,lo", ""])
def test_a_log_that_was_damaged_does_not_matter(tmp_path, content):
    with pytest.raises(KeyboardInterrupt):
        train(small_task(stop_after=7), tmp_path)
    (tmp_path / "log.csv").write_text(content)
    assert [entry["step"] for entry in train(small_task(), tmp_path)] == [5, 10, 12]
    assert len(read_log(tmp_path)) == 3


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    """A rebuilt face model has bases of the same sizes: nothing else would tell."""
    with pytest.raises(KeyboardInterrupt):
        train(replace(small_task(stop_after=7), metadata={"model": "a"}), tmp_path)
    with pytest.raises(ValueError, match="belongs to another training; delete its folder"):
        train(replace(small_task(), metadata={"model": "b"}), tmp_path)
    with pytest.raises(ValueError, match="belongs to another training; delete its folder"):
        train(replace(small_task(), metadata={"model": "a"}), tmp_path, seed=1)


# Batches


def test_batches_depend_on_the_seed_and_the_step_alone():
    whole = list(StepSampler(100, 8, 0, 10, seed=3))
    beginning = list(StepSampler(100, 8, 0, 4, seed=3))
    rest = list(StepSampler(100, 8, 4, 10, seed=3))
    assert whole == beginning + rest
    assert whole != list(StepSampler(100, 8, 0, 10, seed=4))
    assert len(StepSampler(100, 8, 4, 10, seed=3)) == 6
    assert len({tuple(batch) for batch in whole}) == 10


def test_batches_visit_everything_alike():
    drawn = torch.tensor(list(StepSampler(10, 50, 0, 100, seed=0))).flatten()
    counts = drawn.bincount(minlength=10)
    assert len(counts) == 10 and counts.min() > 420 and counts.max() < 580


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_each_batch(processes):
    whole = list(StepSampler(100, 8, 2, 6, seed=3))
    shares = [
        list(StepSampler(100, 8, 2, 6, 3, process, processes)) for process in range(processes)
    ]
    assert [sum(parts, []) for parts in zip(*shares, strict=True)] == whole
    assert {len(part) for share in shares for part in share} == {8 // processes}


def test_a_batch_that_cannot_be_shared_is_refused():
    sentence = "A batch of 5 cannot be shared by 2 processes: start another number"
    with pytest.raises(ValueError, match=sentence):
        StepSampler(100, 5, 0, 10, 0, 0, 2)


@pytest.mark.parametrize("points", [5, 68])
def test_pictures_come_in_batches(points):
    faces = FewFaces(points=points)
    images, landmarks, skin, identities = Pictures(faces).__getitems__([3, 0])
    assert images.equal(faces.images[[3, 0]]) and landmarks.equal(faces.landmarks[[3, 0]])
    assert skin.equal(faces.bare[[3, 0]]) and identities.tolist() == [1, 0]
    assert len(Pictures(faces)) == 12


@pytest.mark.parametrize("points", [5, 68])
def test_after_the_pictures_come_their_mirror_images(points):
    faces = FewFaces(points=points)
    images, landmarks, skin, identities = Pictures(faces).__getitems__([3, 9])
    assert images[1].equal(images[0].flip(2)) and skin[1].equal(skin[0].flip(1))
    assert identities.tolist() == [1, 1]
    # The same places, other names.
    expected = {(round(faces.size - x, 3), round(y, 3)) for x, y in landmarks[0].tolist()}
    assert {(round(x, 3), round(y, 3)) for x, y in landmarks[1].tolist()} == expected
    assert mirrored(mirrored(landmarks, faces.size), faces.size).allclose(landmarks)


def test_a_symmetric_face_is_its_own_mirror_image(model):
    """The mean face from the front: every point becomes the one of its name on the other side."""
    marks = Camera().project(model.mean_shape[None, model.landmarks], 112)[..., :2]
    for points in (marks, five_points(marks)):
        assert (mirrored(points, 112) - points).norm(dim=2).max() < 1.5


def test_codes_come_in_batches():
    codes = torch.randn(6, 4)
    data = Codes(FewFaces(), codes)
    batch = data.__getitems__([5, 1])
    assert batch.faces.equal(codes[[5, 1]]) and batch.skin is None
    assert batch.identities.tolist() == [2, 0] and len(data) == 6


# What is minimised


@pytest.fixture
def batch():
    return Pictures(FewFaces(4, 32)).__getitems__([0, 1, 2, 3])


@pytest.fixture
def small_mofa(tiny_model):
    torch.manual_seed(0)
    mofa = MoFA(tiny_model, size=32).eval()
    nn.init.normal_(mofa.head.weight, std=0.05)
    return mofa


def test_mofa_minimises_its_three_terms(small_mofa, batch):
    images, landmarks, skin, _ = batch
    terms = MoFAObjective(small_mofa)(batch)
    code, weights = small_mofa.encode(images), losses.LossWeights()
    rendering = small_mofa.renderer(code)
    counted = (rendering.mask[:, 0] > 0) & (skin > 0)
    distance = (rendering.image - images).norm(dim=1)
    colour = torch.stack([distance[b][counted[b]].mean() for b in range(4)]).mean()
    pixels = (rendering.landmarks - landmarks).norm(dim=2).mean()
    groups = ("shape", "expression", "appearance")
    prior = sum(getattr(weights, group) * getattr(code, group).square().mean() for group in groups)
    torch.testing.assert_close(terms["photometric"], colour, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(terms["landmark_px"], pixels, atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(terms["statistical"], prior)
    expected = weights.photometric * colour + weights.landmark * pixels / 32 + prior
    torch.testing.assert_close(terms["loss"], expected, atol=1e-3, rtol=1e-3)
    assert prior > 0


@pytest.mark.parametrize("term", ["photometric", "landmark", "shape", "expression", "appearance"])
def test_each_term_can_be_left_out(small_mofa, batch, term):
    """What remains is the sum of the others: the terms are linear in their weights."""

    def loss(weights):
        return MoFAObjective(small_mofa, weights)(batch)["loss"]

    all_terms = losses.LossWeights()
    none = losses.LossWeights(0, 0, 0, 0, 0, 0)
    alone = loss(replace(none, **{term: getattr(all_terms, term)}))
    without = loss(replace(all_terms, **{term: 0.0}))
    torch.testing.assert_close(alone + without, loss(all_terms))
    assert alone > 0


def test_mofa_s_loss_stays_on_one_device(tiny_tensors, fake_gpu):
    mofa = fake_gpu.move(MoFA(MorphableModel(tiny_tensors, "tiny"), size=32).eval(), "cuda")
    with fake_gpu.mode, torch.no_grad():
        images = torch.rand(2, 3, 32, 32, device="cuda")
        skin = torch.ones(2, 32, 32, device="cuda")
        for points in (5, 68):
            marks = torch.rand(2, points, 2, device="cuda")
            terms = MoFAObjective(mofa)(Batch(images, marks, skin, None))
            assert {value.device.type for value in terms.values()} == {"cuda"}


def test_the_detector_minimises_eq_2(batch):
    network = nn.Conv2d(3, 3, 1)
    terms, drawn = DetectorObjective(network)(batch), network(batch[0])
    torch.testing.assert_close(terms["loss"], reconstruction_loss(batch[0], drawn).mean())
    torch.testing.assert_close(terms["mean_error"], (batch[0] - drawn).abs().mean())


def test_identity_minimises_cross_entropy(batch):
    classifier = IdentityClassifier(CodeTrunk(5), 2).eval()
    z = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    terms = IdentityObjective(classifier)(batch._replace(faces=z))
    chance = torch.softmax(classifier(z), 1)[torch.arange(4), batch[3]]
    torch.testing.assert_close(terms["loss"], -chance.log().mean())
    assert float(terms["top1"]) == float(((chance > 0.5).float()).mean())


# From nothing to weights


@pytest.fixture
def small_profile(cache, monkeypatch):
    """Profiles by the names gpu and smoke that train in a moment, without ImageNet's weights."""
    chosen = profiles.Profile(
        name="gpu", weights="gpu", size=224, model="face", encoder="small", classifier="tiny",
        detector="resnet18", autoencoder="table1", identities=2, per_identity=2, batch=4, steps=6,
        rate=5e-4, classes=2, classifier_steps=6, drawn=112, recognition=0.0, detector_batch=4,
        detector_steps=4, detector_rate=1e-3, attack_steps=3, faces=8, pairs=8,
    )  # fmt: skip
    monkeypatch.setitem(profiles.PROFILES, "gpu", chosen)
    for module in (tasks.autoencoder, tasks.detector):
        build = module.build
        monkeypatch.setattr(
            module, "build", lambda chosen, pretrained=False, build=build: build(chosen)
        )
    build_on_images = tasks.identity.build_on_images
    monkeypatch.setattr(
        tasks.identity, "build_on_images", lambda chosen, pretrained=False: build_on_images(chosen)
    )
    return chosen


@pytest.fixture
def few_faces(monkeypatch):
    """Where it does not matter what is seen, nothing is drawn."""
    monkeypatch.setattr(tasks, "rendered_faces", lambda *_: FewFaces(count=4, size=224))


def test_the_whole_chain_ends_in_weights_that_load(cache, small_profile, capsys):
    for what in ("mofa", "identity", "face_identity", "detector"):
        main(["--what", what, "--profile", "gpu", "--seed", "3"])
        assert f"{what}_gpu-1of" in capsys.readouterr().out
        metadata = find_weights(what, "gpu").made
        assert metadata["seed"] == 3 and metadata["steps"] > 0
        assert f"--what {what} --profile gpu --seed 3" in metadata["command"]
        assert metadata["quality"]["loss"] > 0 and metadata["precision"] in ("float32", "bf16")
    mofa, detector = load_pretrained("gpu"), load_detector("gpu")
    images = torch.rand(2, 3, 224, 224).to(mofa.scales.device)
    assert mofa.encode(images).to_vector().any()
    assert all(value.isfinite().all() for value in detector.scores(images).values())
    assert load_identity("gpu", "images")(images).shape == (2, 2)


def test_the_classifier_of_pictures_begins_where_mofa_ends(cache, small_profile, few_faces, capsys):
    with pytest.raises(SystemExit):
        main(["--what", "face_identity", "--profile", "gpu"])
    assert "--what mofa --profile gpu" in capsys.readouterr().err
    main(["--what", "mofa", "--profile", "gpu", "--steps", "2"])
    task = tasks.make_task("face_identity", small_profile)
    encoder = load_pretrained("gpu").backbone.state_dict()
    begins = task.objective.network.trunk.backbone.state_dict()
    assert begins.keys() == encoder.keys()
    assert all(begins[name].equal(encoder[name].cpu()) for name in begins)


@pytest.mark.parametrize(
    ("what", "shown"), [("mofa", 6), ("identity", 6), ("linear_autoencoder", 6), ("detector", 4)]
)
def test_a_profile_says_how_many_people_each_network_learns_from(small_profile, what, shown):
    chosen = replace(small_profile, identities=6, classes=4)
    assert tasks.people(what, chosen) == shown


def test_the_linear_autoencoder_needs_no_descent(cache, small_profile, monkeypatch, capsys):
    monkeypatch.setattr(command, "LinearAutoencoder", partial(LinearAutoencoder, latent=3))
    main(["--what", "linear_autoencoder", "--profile", "gpu", "--seed", "3"])
    assert "linear_autoencoder_gpu-1of1" in capsys.readouterr().out
    state, weights = load_weights("linear_autoencoder", "gpu")
    metadata = weights.made
    assert state["components"].shape == (3, 9408)
    assert metadata["data"].startswith("4 pictures of 2 people")
    expected = "python -m mofa_lib.training --what linear_autoencoder --profile gpu --seed 3"
    assert metadata["command"] == expected
    for option in (["--steps", "3"], ["--minutes", "1"], ["--further"]):
        with pytest.raises(SystemExit):
            main(["--what", "linear_autoencoder", "--profile", "gpu", *option])
        assert "has a closed form" in capsys.readouterr().err


def test_weights_go_where_they_are_asked_to(cache, small_profile, few_faces, tmp_path):
    out = str(tmp_path / "out")
    main(["--what", "mofa", "--profile", "gpu", "--steps", "1", "--out", out])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mofa_gpu-1of1.safetensors"]


def test_further_training_starts_from_the_weights_that_are_there(
    cache, small_profile, few_faces, monkeypatch
):
    main(["--what", "mofa", "--profile", "gpu", "--steps", "1"])
    before = load_weights("mofa", "gpu")[0]
    began = []

    def train_nothing(task, *rest):
        began.append(task.objective.network.state_dict())
        return [{"step": task.steps, "loss": 1.0}]

    monkeypatch.setattr(command, "train", train_nothing)
    main(["--what", "mofa", "--profile", "gpu", "--further"])
    for name, value in before.items():
        torch.testing.assert_close(began[0][name].cpu(), value, atol=1e-6, rtol=0)
    metadata = find_weights("mofa", "gpu").made
    assert "--further" in metadata["command"]
    assert "--further" not in metadata["further_than"]["command"]


def test_further_training_trains_although_the_first_one_is_finished(
    cache, small_profile, few_faces
):
    command_line = ["--what", "mofa", "--profile", "gpu", "--steps", "2"]
    main(command_line)
    before = load_weights("mofa", "gpu")[0]
    main([*command_line, "--further"])
    assert not load_weights("mofa", "gpu")[0]["head.weight"].equal(before["head.weight"])


def test_fewer_steps_can_be_asked_for(cache, small_profile, few_faces):
    main(["--what", "mofa", "--profile", "gpu", "--steps", "3"])
    metadata = find_weights("mofa", "gpu").made
    assert metadata["steps"] == 3 and "--steps 3" in metadata["command"]


def test_a_run_out_of_time_keeps_its_place_and_writes_weights_only_at_the_end(
    cache, small_profile, few_faces, capsys
):
    command = ["--what", "mofa", "--profile", "gpu", "--steps", "2", "--minutes", "0"]
    main(command)
    assert "after 1 of 2 steps" in capsys.readouterr().out and not [*cache.glob("weights/*")]
    main(command)
    assert find_weights("mofa", "gpu").made["steps"] == 2


def test_the_loss_s_weights_can_be_asked_for(cache, small_profile, few_faces, capsys):
    command_line = "--what mofa --profile gpu --steps 1 --loss-weights landmark=0,shape=0.5"
    main(command_line.split())
    metadata = find_weights("mofa", "gpu").made
    own = small_profile.recognition
    expected = losses.LossWeights(landmark=0.0, shape=0.5, recognition=own)
    assert metadata["loss_weights"] == asdict(expected)
    assert "landmark=0.0,shape=0.5" in metadata["command"]
    for wrong in ("hair=1", "landmark", "landmark=much"):
        with pytest.raises(SystemExit):
            main(["--what", "mofa", "--loss-weights", wrong])
        assert "of photometric, landmark, shape" in capsys.readouterr().err


def test_a_file_of_a_face_model_can_be_given(
    cache, small_profile, few_faces, tmp_path, tiny_tensors
):
    save_tensors(tmp_path / "own.safetensors", tiny_tensors, {"name": "own"})
    own = ["--profile", "gpu", "--steps", "1", "--model", str(tmp_path / "own.safetensors")]
    with_own = replace(small_profile, model=str(tmp_path / "own.safetensors"))
    for what in ("mofa", "identity"):  # identity reads the codes of that model
        main(["--what", what, *own])
        metadata = find_weights(what, with_own).made
        assert metadata["model"] == load_morphable_model(tmp_path / "own.safetensors").digest
        assert "own.safetensors" in metadata["command"]
    assert load_pretrained(with_own).model.sizes == (3, 2, 4)
    with pytest.raises(ValueError, match="was trained for model"):
        load_pretrained("gpu")
    main(["--what", "mofa", "--profile", "gpu", "--steps", "1"])  # the profile's model, beside it
    assert load_pretrained("gpu").model.sizes == (80, 64, 80)
    assert load_pretrained(with_own).model.sizes == (3, 2, 4)
    assert len(load_identity(with_own).trunk.mean) == 3 + 2 + 4 + 33


def test_the_message_s_command_makes_what_was_missing(
    cache, small_profile, few_faces, tmp_path, tiny_tensors
):
    save_tensors(tmp_path / "my own.safetensors", tiny_tensors, {"name": "own"})
    with_own = replace(small_profile, model=str(tmp_path / "my own.safetensors"))
    with pytest.raises(FileNotFoundError) as missing:
        load_pretrained(with_own)
    command_line = str(missing.value).partition("python -m mofa_lib.training ")[2]
    main([*shlex.split(command_line), "--steps", "1"])
    assert load_pretrained(with_own).weights.made["steps"] == 1


@pytest.fixture
def small_cpu(small_profile, few_faces, monkeypatch):
    """The profile cpu, which has shipped weights, trained in a moment."""
    chosen = replace(small_profile, name="cpu", weights="cpu", steps=1)
    monkeypatch.setitem(profiles.PROFILES, "cpu", chosen)


def test_what_a_user_has_trained_wins_until_it_is_deleted(cache, small_cpu, capsys):
    """Also what the training says at its end is true."""
    assert load_pretrained("cpu").weights.are_shipped
    main(["--what", "mofa", "--profile", "cpu", "--seed", "7"])
    path, undo, further = capsys.readouterr().out.splitlines()
    assert undo == (
        "The profile cpu loads them from now on; to undo that, delete or rename the files."
    )
    weights = load_pretrained("cpu").weights
    assert [str(file) for file in weights.paths] == [path] and weights.made["seed"] == 7

    with pytest.raises(ValueError, match="identity_cpu-1of1.safetensors was trained for mofa"):
        load_identity("cpu")  # which is the shipped one
    assert further.startswith("The identity classifier reads this encoder's codes, so train it too")
    main(shlex.split(further.partition("mofa_lib.training ")[2]))
    assert not load_identity("cpu").weights.are_shipped

    Path(path).rename(Path(path).with_name("kept.safetensors"))
    assert load_pretrained("cpu").weights.are_shipped and load_identity("cpu").weights.are_shipped


def test_the_end_says_who_loads_the_weights(
    cache, small_profile, few_faces, monkeypatch, tmp_path, capsys
):
    main(["--what", "mofa", "--profile", "gpu", "--steps", "1", "--out", str(tmp_path / "out")])
    assert capsys.readouterr().out.endswith(f"MOFA_WEIGHTS is {tmp_path / 'out'}.\n")
    with pytest.raises(FileNotFoundError):
        load_pretrained("gpu")
    monkeypatch.setenv("MOFA_WEIGHTS", str(tmp_path / "out"))
    assert load_pretrained("gpu").weights.paths[0].parent == tmp_path / "out"
    smoke = replace(small_profile, name="smoke", weights="cpu")
    monkeypatch.setitem(profiles.PROFILES, "smoke", smoke)
    main(["--what", "mofa", "--profile", "smoke", "--steps", "1"])
    said = "They are a try: smoke loads the weights of cpu.\n"
    assert capsys.readouterr().out.endswith(said) and load_pretrained("smoke").weights.are_shipped


@pytest.fixture
def no_drawing(monkeypatch):
    def draw(*_):
        raise AssertionError("Faces would have been drawn.")

    monkeypatch.setattr(tasks, "rendered_faces", draw)
    monkeypatch.setattr(command, "rendered_faces", draw)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("mofa --model mdoel.h5", "There is no face model mdoel.h5"),
        ("identity --model mdoel.h5", "There is no face model mdoel.h5"),
        ("detector --model face", "--model is of mofa and identity; detector sees no face model"),
        ("identity", "There are no weights of mofa for the profile gpu; train them with: python"),
        ("mofa --further", "There are no weights of mofa for the profile gpu; train them"),
        ("detector --further", "There are no weights of detector for the profile gpu; train"),
        ("mofa --celeba nowhere", "where img_align_celeba is missing"),
        ("detector --photos nowhere", "There is no folder nowhere"),
        ("mofa --celeba a --photos b", "not allowed with argument"),
        ("detector --out {file}", "the weights cannot be written to {file} (File exists); "),
        (
            "linear_autoencoder --out {file}/new",
            "cannot be written to {file}/new (Not a directory)",
        ),
    ],
)
def test_what_must_fail_fails_before_anything_is_drawn(
    cache, small_profile, no_drawing, tmp_path, capsys, options, message
):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SystemExit):
        main(["--profile", "gpu", "--what", *options.format(file=file).split()])
    assert message.format(file=file) in capsys.readouterr().err.splitlines()[-1]


def test_unequal_shares_are_refused_before_anything_is_drawn(
    cache, small_profile, no_drawing, monkeypatch, capsys
):
    monkeypatch.setattr(command, "PartialState", lambda **_: SimpleNamespace(num_processes=3))
    with pytest.raises(SystemExit):
        main(["--what", "face_identity", "--profile", "gpu"])
    assert "A batch of 8 cannot be shared by 3 processes" in capsys.readouterr().err


def test_classes_of_other_people_are_refused_before_anything_is_drawn(
    cache, small_profile, no_drawing, capsys
):
    made = {"what": "face_identity", "profile": "gpu", "size": 224}
    save_weights("face_identity", "gpu", {"last.bias": torch.zeros(5)}, made)
    with pytest.raises(SystemExit):
        main(["--what", "face_identity", "--profile", "gpu", "--further"])
    sentence = "face_identity_gpu-1of1.safetensors knows 5 people and the pictures show 2"
    assert sentence in capsys.readouterr().err


def photo_folder(folder: Path, seed: int) -> Path:
    """Two photographs of noise, and where their five points are."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    lines = []
    for name in ("a.png", "b.png"):
        noise = rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)
        points = np.array([40, 50, 88, 50, 64, 75, 45, 95, 83, 95]) + rng.uniform(-2, 2, 10)
        lines.append(",".join([name, *map(str, points)]))
    (folder / "points.csv").write_text("\n".join(lines))
    return folder


def test_a_folder_of_photographs_can_be_trained_on(cache, small_profile, no_drawing, tmp_path):
    one, other = (photo_folder(tmp_path / f"my photos {seed}", seed) for seed in (0, 1))
    options = ["--what", "mofa", "--profile", "gpu", "--steps", "1", "--photos"]
    main([*options, str(one)])
    first, weights = load_weights("mofa", "gpu")
    assert weights.made["data"] == "2 pictures of 2 people, PhotoFolder"
    assert f"--photos '{one}'" in weights.made["command"]
    main([*options, str(other)])  # as many, so its checkpoint has to tell them apart
    assert not load_weights("mofa", "gpu")[0]["head.weight"].equal(first["head.weight"])


def test_photographs_can_be_trained_on(cache, small_profile, monkeypatch):
    """Five landmarks, and as many people as the data have."""
    photographs = FewFaces(count=10, size=224, points=5)
    asked = []
    monkeypatch.setattr(command, "CelebA", lambda *wanted: asked.append(wanted) or photographs)
    for what in ("mofa", "identity", "face_identity", "detector"):
        main(["--what", what, "--profile", "gpu", "--steps", "1", "--celeba", "somewhere"])
        metadata = find_weights(what, "gpu").made
        assert "--celeba somewhere" in metadata["command"]
        assert "10 pictures of 5 people" in metadata["data"]
    assert asked == [("somewhere", "train", 224)] * 4
    assert load_weights("identity", "gpu")[0]["last.bias"].shape == (5,)
    assert load_weights("face_identity", "gpu")[0]["last.bias"].shape == (5,)
    assert not list(cache.glob("**/*.npy"))  # nothing was drawn


def test_codes_of_a_whole_data_set(cache, small_profile):
    mofa = tasks.autoencoder.build(small_profile).eval()
    nn.init.normal_(mofa.head.weight, std=0.02)
    faces = RenderedFaces("train", 3, size=224)
    expected = mofa.encode(faces.batch(slice(0, 3))).to_vector().detach()
    torch.testing.assert_close(encode_all(mofa, faces), expected)


def test_other_tasks_are_refused_before_anything_is_drawn(cache, small_profile):
    sentence = "nothing to train by the name 'hair': choose mofa, identity"
    with pytest.raises(ValueError, match=sentence):
        make_task("hair", small_profile)
    assert not list(cache.glob("**/*.npy"))
    with pytest.raises(SystemExit):
        main(["--what", "hair"])

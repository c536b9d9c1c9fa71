"""The training loop: batches by step, resuming, and the chain from pictures to weights that can be loaded."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from mofa_lib import RenderedFaces, load_detector, load_pretrained, losses, profiles, training
from mofa_lib.artifacts import load_tensors, load_weights, weights_paths
from mofa_lib.detector import reconstruction_loss
from mofa_lib.identity import CodeTrunk, IdentityClassifier, load_identity
from mofa_lib.training import (
    DetectorObjective,
    IdentityObjective,
    MoFAObjective,
    Objective,
    Pictures,
    StepSampler,
    Task,
    encode_all,
    main,
    make_task,
    train,
)

STEPS = 12


@pytest.fixture(autouse=True)
def frequent_checkpoints(monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 5)


class Line(Objective):
    """Fits a line; may be stopped after some steps, as by a power cut."""

    stop_after = None

    def __init__(self, network):
        super().__init__(network)
        self.seen = []

    def forward(self, x, y):
        if len(self.seen) == self.stop_after:
            raise KeyboardInterrupt
        self.seen.append(x)
        loss = F.mse_loss(self.network(x).float(), y)
        return {"loss": loss, "largest": x.abs().max()}


def line_task(kind: str = "adamw", stop_after: int | None = None) -> Task:
    """A tiny task with the optimisers and schedules of the real ones."""
    torch.manual_seed(0)
    network = nn.Linear(3, 1)
    x = torch.randn(50, 3)
    objective = Line(network)
    objective.stop_after = stop_after
    chosen, what, rate = {
        "adamw": (profiles.profile("cpu"), "mofa", 0.5),
        "adadelta": (profiles.profile("paper"), "mofa", 1.0),
        "sgd": (profiles.profile("paper"), "detector", 0.05),
    }[kind]
    optimizer, schedule = training._optimizer(network, what, chosen, rate, STEPS)
    data = TensorDataset(x, x @ torch.tensor([[1.0], [2.0], [-1.0]]) + 0.5)
    return Task(objective, data, 8, STEPS, optimizer, schedule, {})


def parameters(task: Task) -> torch.Tensor:
    return torch.cat([p.detach().flatten().cpu() for p in task.objective.network.parameters()])


def test_the_paper_s_optimisers():
    for kind, name in {"adamw": "AdamW", "adadelta": "Adadelta", "sgd": "SGD"}.items():
        assert type(line_task(kind).optimizer).__name__ == name
    assert line_task("sgd").optimizer.defaults["momentum"] == 0.9
    rates = []
    task = line_task("sgd")
    for _ in range(STEPS):
        rates.append(task.optimizer.param_groups[0]["lr"])
        task.optimizer.step()
        task.schedule.step()
    assert rates == pytest.approx([0.05] * 4 + [0.025] * 4 + [0.0125] * 4)  # halved after each third


def test_training_fits(tmp_path):
    task = line_task()
    course = train(task, tmp_path)
    assert [entry["step"] for entry in course] == [5, 10, 12]
    assert course[-1]["loss"] < 0.7 * course[0]["loss"]
    assert not task.objective.network.training


def test_the_course_is_the_mean_since_the_last_entry(tmp_path):
    task = line_task()
    course = train(task, tmp_path)
    largest = [float(x.abs().max()) for x in task.objective.seen]
    for entry, (first, last) in zip(course, [(0, 5), (5, 10), (10, 12)], strict=True):
        assert entry["largest"] == pytest.approx(sum(largest[first:last]) / (last - first))


@pytest.mark.parametrize("kind", ["adamw", "adadelta", "sgd"])
@pytest.mark.parametrize("stop_after", [0, 3, 5, 8, 11])
def test_a_run_that_was_cut_off_ends_as_one_that_was_not(tmp_path, kind, stop_after):
    whole = line_task(kind)
    expected = train(whole, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(line_task(kind, stop_after), tmp_path / "cut")
    resumed = line_task(kind)
    course = train(resumed, tmp_path / "cut")
    torch.testing.assert_close(parameters(resumed), parameters(whole), atol=1e-6, rtol=1e-6)
    assert [entry["step"] for entry in course] == [entry["step"] for entry in expected]
    torch.testing.assert_close(course[-1]["loss"], expected[-1]["loss"], atol=1e-5, rtol=1e-4)


def test_a_run_in_small_portions_ends_as_one_that_was_not(tmp_path):
    """No time at all is one step a call."""
    whole = line_task()
    train(whole, tmp_path / "whole")
    for calls in range(1, STEPS + 1):
        portion = line_task()
        course = train(portion, tmp_path / "portions", minutes=0.0)
        assert course[-1]["step"] == calls
    torch.testing.assert_close(parameters(portion), parameters(whole), atol=1e-6, rtol=1e-6)


def test_a_finished_run_is_not_continued(tmp_path):
    course = train(line_task(), tmp_path)
    again = line_task()
    assert train(again, tmp_path) == course and not again.objective.seen


def test_a_checkpoint_is_tensors_and_a_step(tmp_path):
    train(line_task(), tmp_path)
    tensors, metadata = load_tensors(tmp_path / "checkpoint.safetensors")
    assert metadata["step"] == STEPS and {"network.weight", "network.bias"} < set(tensors)
    assert json.loads((tmp_path / "log.json").read_text())[-1]["step"] == STEPS


@pytest.mark.parametrize("content", ['[{"step": 5, "lo', ""])
def test_a_log_that_was_cut_off_does_not_stop_a_training(tmp_path, content):
    """The log is for people; the checkpoint is what counts."""
    with pytest.raises(KeyboardInterrupt):
        train(line_task(stop_after=7), tmp_path)
    (tmp_path / "log.json").write_text(content)
    assert train(line_task(), tmp_path)[-1]["step"] == STEPS


def test_a_checkpoint_of_another_face_model_is_refused(tmp_path):
    """A rebuilt model has bases of the same sizes: nothing else would tell."""
    with pytest.raises(KeyboardInterrupt):
        train(replace(line_task(stop_after=7), metadata={"model": "a"}), tmp_path)
    with pytest.raises(ValueError, match="checkpoint"):
        train(replace(line_task(), metadata={"model": "b"}), tmp_path)


# Batches


def test_batches_depend_on_the_seed_and_the_step_alone():
    whole = list(StepSampler(100, 8, 0, 10, seed=3))
    assert whole == list(StepSampler(100, 8, 0, 4, seed=3)) + list(StepSampler(100, 8, 4, 10, seed=3))
    assert whole != list(StepSampler(100, 8, 0, 10, seed=4))
    assert len(StepSampler(100, 8, 4, 10, seed=3)) == 6
    assert len({tuple(batch) for batch in whole}) == 10


def test_batches_visit_everything_alike():
    drawn = torch.tensor(list(StepSampler(10, 50, 0, 100, seed=0))).flatten()
    counts = drawn.bincount(minlength=10)
    assert len(counts) == 10 and counts.min() > 420 and counts.max() < 580


def test_pictures_come_in_batches(cache):
    faces = RenderedFaces("train", 4, size=16, per_identity=2)
    images, landmarks, identities = Pictures(faces).__getitems__([3, 0])
    assert images.equal(faces.batch([3, 0])) and landmarks.equal(faces.landmarks[[3, 0]])
    assert identities.tolist() == [1, 0] and len(Pictures(faces)) == 4


# What is minimised


@pytest.fixture
def batch():
    random = torch.Generator().manual_seed(0)
    return torch.rand(4, 3, 32, 32, generator=random), 32 * torch.rand(4, 68, 2, generator=random), torch.arange(4) % 2


def test_mofa_minimises_its_three_terms(tiny_model, batch):
    from mofa_lib import MoFA

    torch.manual_seed(0)
    mofa = MoFA(tiny_model, size=32).eval()
    nn.init.normal_(mofa.head.weight, std=0.05)
    images, landmarks, _ = batch
    terms = MoFAObjective(mofa)(*batch)
    code, weights = mofa.encode(images), losses.LossWeights()
    rendering = mofa.renderer(code)
    colour = losses.photometric(rendering, images).mean()
    pixels = (rendering.landmarks - landmarks).norm(dim=2).mean()
    prior = losses.statistical(code, weights).mean()
    torch.testing.assert_close(terms["photometric"], colour)
    torch.testing.assert_close(terms["landmark_px"], pixels, atol=1e-2, rtol=1e-3)
    expected = weights.photometric * colour + weights.landmark * pixels / 32 + prior
    torch.testing.assert_close(terms["loss"], expected, atol=1e-3, rtol=1e-3)
    assert prior > 0


def test_the_detector_minimises_eq_2_and_sees_mirror_images(batch):
    seen = []

    class Network(nn.Module):
        def forward(self, images):
            seen.append(images)
            return images * 0.5

    images, landmarks, identities = batch
    terms = DetectorObjective(Network())(images, landmarks, identities)
    whole = [[float(p.sum()) for p in pictures] for pictures in (images, seen[0])]
    assert sorted(whole[0]) == pytest.approx(sorted(whole[1]))  # every picture once
    as_they_are = sum(any(p.equal(q) for q in seen[0]) for p in images)
    mirrored = sum(any(p.flip(2).equal(q) for q in seen[0]) for p in images)
    assert (as_they_are, mirrored) == (2, 2)
    torch.testing.assert_close(terms["loss"], reconstruction_loss(seen[0], seen[0] * 0.5).mean())


def test_identity_minimises_cross_entropy(batch):
    classifier = IdentityClassifier(CodeTrunk(5), 2).eval()
    z = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    terms = IdentityObjective(classifier)(z, *batch[1:])
    chance = torch.softmax(classifier(z), 1)[torch.arange(4), batch[2]]
    torch.testing.assert_close(terms["loss"], -chance.log().mean())
    assert float(terms["top1"]) == float(((chance > 0.5).float()).mean())


# From nothing to weights


@pytest.fixture
def small_profile(cache, monkeypatch):
    """Profiles by the names gpu and smoke that train in a moment, without ImageNet's weights."""
    chosen = profiles.Profile("gpu", "gpu", 112, "anny", "small", "resnet18", 2, 2, 4, 6, 5e-4, 4, 4, 1e-3, 8, 8)
    monkeypatch.setitem(profiles.PROFILES, "gpu", chosen)
    for module in (training.autoencoder, training.detector):
        build = module.build
        monkeypatch.setattr(module, "build", lambda chosen, pretrained=False, build=build: build(chosen))
    build_on_images = training.identity.build_on_images
    monkeypatch.setattr(training.identity, "build_on_images", lambda chosen, pretrained=False: build_on_images(chosen))
    return chosen


def test_the_whole_chain_ends_in_weights_that_load(cache, small_profile, capsys):
    for what in ("mofa", "identity", "face_identity", "detector"):
        main(["--what", what, "--profile", "gpu", "--seed", "3"])
        assert f"{what}_gpu-1of" in capsys.readouterr().out
        metadata = load_weights(what, "gpu", size=112)[1]
        assert metadata["seed"] == 3 and metadata["steps"] > 0
        assert f"--what {what} --profile gpu --seed 3" in metadata["command"]
        assert metadata["quality"]["loss"] > 0
    mofa, detector = load_pretrained("gpu"), load_detector("gpu")
    images = torch.rand(2, 3, 112, 112).to(mofa.scales.device)
    assert mofa.encode(images).to_vector().any()
    assert all(value.isfinite().all() for value in detector.scores(images).values())
    assert load_identity("gpu", "images")(images).shape == (2, 2)


def test_weights_go_where_they_are_asked_to(cache, small_profile, tmp_path):
    main(["--what", "mofa", "--profile", "gpu", "--out", str(tmp_path / "out")])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mofa_gpu-1of1.safetensors"]


def test_further_training_starts_from_the_weights_that_are_there(cache, small_profile, monkeypatch):
    main(["--what", "mofa", "--profile", "gpu"])
    before = load_weights("mofa", "gpu")[0]
    began = []
    monkeypatch.setattr(
        training,
        "train",
        lambda task, *rest: began.append(task.objective.network.state_dict()) or [{"step": task.steps, "loss": 1.0}],
    )
    main(["--what", "mofa", "--profile", "gpu", "--further"])
    for name, value in before.items():
        torch.testing.assert_close(began[0][name].cpu(), value, atol=1e-6, rtol=0)
    metadata = load_weights("mofa", "gpu")[1]
    assert "--further" in metadata["command"] and "--further" not in metadata["further_than"]["command"]


def test_further_training_trains_although_the_first_one_is_finished(cache, small_profile):
    main(["--what", "mofa", "--profile", "gpu"])
    before = load_weights("mofa", "gpu")[0]
    main(["--what", "mofa", "--profile", "gpu", "--further"])
    assert not load_weights("mofa", "gpu")[0]["head.weight"].equal(before["head.weight"])


def test_fewer_steps_can_be_asked_for(cache, small_profile):
    main(["--what", "mofa", "--profile", "gpu", "--steps", "3"])
    metadata = load_weights("mofa", "gpu")[1]
    assert metadata["steps"] == 3 and "--steps 3" in metadata["command"]


def test_a_run_out_of_time_keeps_its_place_and_writes_weights_only_at_the_end(cache, small_profile, capsys):
    command = ["--what", "mofa", "--profile", "gpu", "--steps", "2", "--minutes", "0"]
    main(command)
    assert "after 1 of 2 steps" in capsys.readouterr().out and not weights_paths("mofa", "gpu")
    main(command)
    assert load_weights("mofa", "gpu")[1]["steps"] == 2


def test_codes_of_a_whole_data_set(cache, small_profile):
    mofa = training.autoencoder.build(small_profile).eval()
    nn.init.normal_(mofa.head.weight, std=0.02)
    faces = RenderedFaces("train", 3, size=112)
    torch.testing.assert_close(encode_all(mofa, faces), mofa.encode(faces.batch(slice(0, 3))).to_vector().detach())


def test_other_tasks_are_refused_before_anything_is_drawn(cache, small_profile):
    with pytest.raises(ValueError, match="nothing to train by the name 'hair': choose mofa, identity"):
        make_task("hair", small_profile)
    assert not list(cache.glob("**/*.npy"))
    with pytest.raises(SystemExit):
        main(["--what", "hair"])

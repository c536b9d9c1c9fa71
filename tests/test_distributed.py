"""Training in several processes, and training that is killed: what ends up in the checkpoint.

Run as a script, this file is one of two processes that share a training, or one that kills
trainings and then makes the one with which the two are compared.
"""

import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import test_training
import torch
from few_faces import FewFaces
from test_training import small_task

from mofa_lib import MoFA, load_morphable_model, profiles
from mofa_lib.artifacts import load_tensors
from mofa_lib.training import loop, main, tasks, train
from mofa_lib.training.batches import Pictures
from mofa_lib.training.loop import CHECKPOINT
from mofa_lib.training.objectives import MoFAObjective
from mofa_lib.training.tasks import Task

LONG = 150  # steps of the training that is killed
KILLS = 5


def mofa_task(batch: int = 4) -> Task:
    """MoFA on noise, its batch norm frozen: then a picture does not feel which others are with it
    in a process.
    """
    torch.manual_seed(0)
    mofa = MoFA(load_morphable_model(), size=32).eval()
    torch.nn.init.normal_(mofa.head.weight, std=0.02)
    for module in mofa.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train = lambda mode=True, module=module: module
    optimizer = torch.optim.SGD(mofa.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    return Task(MoFAObjective(mofa), Pictures(FewFaces(12, 32)), batch, 4, optimizer, schedule, {})


def run_script(role: str, folder: Path, **environment: str) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment}
    command = [sys.executable, __file__, role, str(folder)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Folder and printed words of two processes that did together what `one_of_two` says."""
    folder = tmp_path_factory.mktemp("shared")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    common = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    common["MOFA_CACHE"] = str(folder / "cache")
    both = [run_script("share", folder, RANK=rank, LOCAL_RANK=rank, **common) for rank in "01"]
    try:
        printed = [process.communicate(timeout=120)[0] for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], "\n".join(printed)
    return folder, printed


def in_two_sittings(folder: Path) -> None:
    """A training with a pause, in float32: in bf16 the sum of two shares' gradients is rounded
    otherwise.
    """
    loop.mixed_precision = lambda: "no"
    train(mofa_task(), folder, seed=3, minutes=0.0)
    train(mofa_task(), folder, seed=3)


def one_of_two(folder: Path) -> None:
    """A training in two sittings; then the command line's, with faces that are slow to draw; then a
    refusal.
    """
    in_two_sittings(folder)

    def draw(split, count, seed, size, per_identity):
        first = os.environ["RANK"] == "0"
        time.sleep(0.5 * first)
        assert (folder / "drawn").exists() != first, (
            "the second process must wait until the first has drawn"
        )
        (folder / "drawn").touch()
        return FewFaces(12, size)

    tasks.RenderedFaces = draw
    smoke = profiles.PROFILES["smoke"]
    profiles.PROFILES["smoke"] = replace(smoke, recognition=0.0)  # noise shows no faces
    main(["--what", "mofa", "--profile", "smoke", "--steps", "2", "--out", str(folder / "weights")])
    try:
        train(mofa_task(batch=5), folder / "refused")
    except ValueError as error:
        print(error)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """Folder and printed words of one process."""
    folder = tmp_path_factory.mktemp("single")
    process = run_script("single", folder)
    try:
        printed = process.communicate(timeout=180)[0]
    finally:
        process.kill()
    assert process.returncode == 0, printed
    return folder, printed


def one_alone(folder: Path) -> None:
    """The trainings that are killed come first: a process that has trained is not forked."""
    killer(folder)
    in_two_sittings(folder / "alone")


def test_two_processes_end_as_one_with_the_joint_batch(shared, single):
    """In weights, in the optimiser's memory and in the terms of the log, to rounding; also after a
    pause.
    """
    before = mofa_task().objective.network.state_dict()
    one, two = (load_tensors(folder / CHECKPOINT) for folder in (single[0] / "alone", shared[0]))
    assert one[0].keys() == two[0].keys()
    for name, value in one[0].items():
        torch.testing.assert_close(
            two[0][name], value, atol=2e-5, rtol=2e-4, msg=lambda m, name=name: f"{name}: {m}"
        )
    assert (one[0]["network.head.weight"] - before["head.weight"]).abs().max() > 1e-3
    for entry, other in zip(one[1]["course"], two[1]["course"], strict=True):
        for name in set(entry) - {"images_per_s"}:
            assert other[name] == pytest.approx(entry[name], rel=1e-4), name


def test_mofa_in_portions_has_the_bits_of_mofa_in_one_go(tmp_path):
    whole = mofa_task()
    train(whole, tmp_path / "whole", seed=3)
    for _ in range(whole.steps):
        portion = mofa_task()
        train(portion, tmp_path / "portions", seed=3, minutes=0.0)
    found = portion.objective.network.state_dict()
    assert all(
        value.equal(found[name]) for name, value in whole.objective.network.state_dict().items()
    )


def test_the_first_process_draws_and_writes_while_the_other_waits(shared):
    folder, printed = shared
    written = folder / "weights" / "mofa_smoke-1of1.safetensors"
    assert load_tensors(written)[1]["steps"] == 2
    assert str(written) in printed[0] and str(written) not in printed[1]
    assert "image/s" in printed[0] and "image/s" not in printed[1]


def test_a_batch_that_two_processes_cannot_share_is_refused(shared):
    for words in shared[1]:
        assert "A batch of 5 cannot be shared by 2 processes" in words


def long_training(task: Task, folder: Path) -> None:
    loop.CHECKPOINT_EVERY = 3
    train(task, folder, seed=1)


def killer(folder: Path) -> None:
    """Let a training live until it has got on and a random moment longer, kill it, again and again;
    then let it end.
    """
    fork, moments, kills, seen = multiprocessing.get_context("fork"), random.Random(0), 0, 0
    test_training.STEPS = LONG
    task = small_task("network")  # here, since each process has a copy, and no seconds of imports

    def training(name: str) -> multiprocessing.Process:
        return fork.Process(target=long_training, args=(task, folder / name))

    whole = training("whole")
    whole.start()
    whole.join()
    for _ in range(KILLS):
        run = training("killed")
        run.start()
        while run.is_alive() and steps_done(folder / "killed") <= seen:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.03))
        run.kill()
        run.join()
        kills += run.exitcode == -signal.SIGKILL
        seen = steps_done(folder / "killed")
    last = training("killed")
    last.start()
    last.join()
    print("kills", kills, "the last at step", seen)


def steps_done(folder: Path) -> int:
    return (
        load_tensors(folder / CHECKPOINT)[1]["course"][-1]["step"]
        if (folder / CHECKPOINT).exists()
        else 0
    )


def test_a_training_that_is_killed_again_and_again_ends_with_the_same_bits(single):
    folder, printed = single
    assert int(printed.split("kills ")[1].split()[0]) >= 3, printed
    (whole, about), (killed, resumed) = (
        load_tensors(folder / name / CHECKPOINT) for name in ("whole", "killed")
    )
    assert whole.keys() == killed.keys()
    assert all(value.equal(killed[name]) for name, value in whole.items())
    for entry, other in zip(about["course"], resumed["course"], strict=True):
        assert {**entry, "images_per_s": 0} == {**other, "images_per_s": 0}
    assert {path.name for path in (folder / "killed").iterdir()} == {"log.csv", CHECKPOINT}


if __name__ == "__main__":
    {"single": one_alone, "share": one_of_two}[sys.argv[1]](Path(sys.argv[2]))

"""The command line of the training. Derived in chapter 6."""

import argparse
import hashlib
import json
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from torch import nn

from mofa_lib.artifacts import cache_folder, digest
from mofa_lib.faces import Faces
from mofa_lib.linear_autoencoder import LinearAutoencoder
from mofa_lib.photographs import CelebA
from mofa_lib.profiles import PROFILES, Profile, device, profile
from mofa_lib.studio.recipe import recipe
from mofa_lib.training.loop import mixed_precision, train
from mofa_lib.training.losses import LossWeights
from mofa_lib.training.tasks import TASKS, Task, describe, make_task, rendered_faces
from mofa_lib.weights import load_weights, save_weights

CLOSED_FORM = "linear_autoencoder"


def main(arguments: list[str] | None = None) -> None:
    """The command line, see `mofa_lib.training`; `--help` lists the options.

    Args:
        arguments: the options; by default those of the process.
    """
    given = _parse(arguments)
    settings = profile(given.profile)
    if given.model:
        settings = replace(settings, model=given.model)

    # The others may have to wait for days until the first process has drawn the faces.
    state = PartialState(cpu=device().type == "cpu", timeout=timedelta(days=7))
    learn = _solve if given.what == CLOSED_FORM else _descend
    learnt = learn(given, settings, state)
    if learnt is None or not state.is_main_process:
        return

    network, about = learnt
    metadata = {
        "what": given.what,
        "profile": settings.name,
        "size": settings.size,
        "seed": given.seed,
        "command": _command(given, settings),
        **about,
    }
    for path in save_weights(given.what, settings.name, network.state_dict(), metadata, given.out):
        print(path)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options, or an error where they contradict each other."""
    parser = argparse.ArgumentParser(
        prog="python -m mofa_lib.training", description="Train and save weights."
    )
    add = parser.add_argument
    add("--what", required=True, choices=(*TASKS, CLOSED_FORM))
    add("--profile", default=None, choices=list(PROFILES))
    add("--seed", type=int, default=0)
    add("--steps", type=_positive, default=None, help="instead of the profile's number")
    add("--minutes", type=float, default=None, help="stop in time; the same command goes on")
    add("--model", default=None, help="file of a face model, instead of the profile's")
    add("--celeba", default=None, help="folder of CelebA, instead of rendered faces")
    add(
        "--loss-weights", type=_loss_weights, help="of MoFA's terms, for example landmark=0,shape=0"
    )
    add("--further", action="store_true", help="start from the weights that are there")
    add("--out", type=Path, default=None, help="folder of the weights; by default in the cache")

    given = parser.parse_args(arguments)
    if given.loss_weights and given.what != "mofa":
        parser.error(f"--loss-weights are of MoFA's terms; {given.what} has one term")
    if given.what == CLOSED_FORM and (given.steps or given.minutes or given.further):
        parser.error(
            f"--steps, --minutes and --further are of a descent; {CLOSED_FORM} has a closed form"
        )
    return given


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a whole number from 1, got {text!r}")
    return int(text)


def _loss_weights(text: str) -> LossWeights:
    """From the command line's landmark=0,shape=0; what is not named keeps its default."""
    try:
        pairs = [term.split("=") for term in text.split(",")]
        return LossWeights(**{name: float(value) for name, value in pairs})
    except (TypeError, ValueError):
        names = ", ".join(asdict(LossWeights()))
        raise argparse.ArgumentTypeError(
            f"of {names}, as in landmark=0,shape=0; got {text!r}"
        ) from None


def _command(given: argparse.Namespace, settings: Profile) -> str:
    """The command that makes the weights again, for their metadata."""
    weights = None
    if given.loss_weights:
        pairs = asdict(given.loss_weights).items()
        weights = ",".join(f"{name}={value}" for name, value in pairs)
    options = {
        "what": given.what,
        "profile": settings.name,
        "seed": given.seed,
        "steps": given.steps,
        "model": given.model,
        "celeba": given.celeba,
        "loss-weights": weights,
    }
    words = ["python -m mofa_lib.training"]
    words += [f"--{name} {value}" for name, value in options.items() if value is not None]
    if given.further:
        words.append("--further")
    return " ".join(words)


def _faces(given: argparse.Namespace, settings: Profile) -> Faces | None:
    """The pictures that the command line asks for, if they are not the profile's."""
    return CelebA(given.celeba, "train", settings.size) if given.celeba else None


def _solve(
    given: argparse.Namespace, settings: Profile, state: PartialState
) -> tuple[nn.Module, dict]:
    """The autoencoder that has a closed form, and how it was made."""
    about = {}
    with state.main_process_first():  # it draws, the others read
        faces = _faces(given, settings)
        if faces is None:
            about["recipe"] = recipe()
            faces = rendered_faces(settings, given.seed)
    about["data"] = describe(faces)
    torch.manual_seed(given.seed)
    return LinearAutoencoder(settings.size).fit(faces), about


def _descend(
    given: argparse.Namespace, settings: Profile, state: PartialState
) -> tuple[nn.Module, dict] | None:
    """The network of a task and how it was trained; nothing if the time was over first."""
    with state.main_process_first():  # it draws or downloads, the others read
        faces = _faces(given, settings)
        task = make_task(given.what, settings, given.seed, given.steps, faces, given.loss_weights)
    if given.further:
        _start_from_earlier_weights(task, given.what, settings)

    key = hashlib.sha256(json.dumps(task.metadata).encode()).hexdigest()[:8]
    run = f"{given.what}_{settings.name}_{given.seed}_{task.steps}_{key}"
    course = train(task, cache_folder() / "training" / run, given.seed, given.minutes)

    done = course[-1]["step"]
    if done < task.steps:
        if state.is_main_process:
            print(
                f"Stopped after {done} of {task.steps} steps; "
                "the same command goes on and writes the weights."
            )
        return None
    precision = mixed_precision()
    about = {
        "steps": done,
        "precision": "float32" if precision == "no" else precision,
        "quality": {name: value for name, value in course[-1].items() if name != "images_per_s"},
    }
    return task.objective.network, about | task.metadata


def _start_from_earlier_weights(task: Task, what: str, settings: Profile) -> None:
    """Put the weights that are there into a task, and into its metadata where they come from."""
    same = {key: task.metadata[key] for key in ("model", "mofa") if key in task.metadata}
    weights, about = load_weights(what, settings.name, size=settings.size, **same)
    task.objective.network.load_state_dict(weights)
    task.metadata["further_than"] = {
        "command": about.get("command"),
        "steps": about.get("steps"),
        "further_than": about.get("further_than"),
        "weights": digest(weights),
    }

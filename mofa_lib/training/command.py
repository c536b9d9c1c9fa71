"""The command line of the training. Derived in chapter 6."""

import argparse
import hashlib
import json
import shlex
import tempfile
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from torch import nn

from mofa_lib.artifacts import cache_folder, digest
from mofa_lib.faces import Faces
from mofa_lib.linear_autoencoder import LinearAutoencoder
from mofa_lib.losses import LossWeights
from mofa_lib.model_files import load_morphable_model
from mofa_lib.photographs import CelebA, PhotoFolder
from mofa_lib.profiles import PROFILES, Profile, device, profile
from mofa_lib.training.batches import check_share
from mofa_lib.training.loop import mixed_precision, train
from mofa_lib.training.tasks import (
    TASKS,
    Task,
    batch_size,
    describe,
    make_task,
    people,
    rendered_faces,
    starts_from_imagenet,
)
from mofa_lib.weights import (
    find_weights,
    load_weights,
    save_weights,
    training_command,
    weights_folder,
)

CLOSED_FORM = "linear_autoencoder"


def main(arguments: list[str] | None = None) -> None:
    """The command line, see `mofa_lib.training`; `--help` lists the options.

    Whatever can be refused is refused before a face is drawn.

    Args:
        arguments: the options; by default those of the process.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    # The others may have to wait for days until the first process has drawn the faces.
    state = PartialState(cpu=device().type == "cpu", timeout=timedelta(days=7))
    try:
        _check_options(given)
        settings = profile(given.profile)
        if given.model:
            settings = replace(settings, model=given.model)
        faces = _photographs(given, settings)
        if given.what != CLOSED_FORM:
            check_share(batch_size(given.what, settings), state.num_processes)
        _check_what_is_needed(given, settings, faces)
    except (OSError, ValueError, ImportError) as error:
        parser.error(str(error))

    learn = _solve if given.what == CLOSED_FORM else _descend
    learnt = learn(given, settings, faces, state)
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
    paths = save_weights(given.what, settings.name, network.state_dict(), metadata, given.out)
    print(*paths, sep="\n")
    print(_who_loads(given, settings, paths[0].parent))


def _parser() -> argparse.ArgumentParser:
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
    photographs = parser.add_mutually_exclusive_group()
    photographs.add_argument("--celeba", help="folder of CelebA, instead of rendered faces")
    photographs.add_argument("--photos", help="folder of photographs, instead of rendered faces")
    add(
        "--loss-weights", type=_loss_weights, help="of MoFA's terms, for example landmark=0,shape=0"
    )
    add("--further", action="store_true", help="start from the weights that the profile loads")
    add("--out", type=Path, default=None, help="folder of the weights; by default in the cache")
    return parser


def _check_options(given: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    if given.loss_weights and given.what != "mofa":
        raise ValueError(f"--loss-weights are of MoFA's terms; {given.what} has one term")
    if given.what == CLOSED_FORM and (given.steps or given.minutes or given.further):
        raise ValueError(
            f"--steps, --minutes and --further are of a descent; {CLOSED_FORM} has a closed form"
        )
    if given.model and given.what not in ("mofa", "identity"):
        raise ValueError(
            f"--model is of mofa and identity; {given.what} sees no face model: leave it out"
        )


def _check_what_is_needed(
    given: argparse.Namespace, settings: Profile, faces: Faces | None
) -> None:
    """Refuse what would otherwise fail after hours of drawing and training."""
    load_morphable_model(settings.model)
    if given.further:
        state, weights = load_weights(given.what, settings)
        shown = int(faces.identities.max()) + 1 if faces else people(given.what, settings)
        known = len(state.get("last.bias", range(shown)))
        if known != shown:
            raise ValueError(
                f"{weights.paths[0].name} knows {known} people and the pictures show {shown}: "
                "leave --further out"
            )
    begins_as_mofa = given.what == "face_identity" and not starts_from_imagenet(settings)
    if given.what == "identity" or begins_as_mofa:  # it reads MoFA's codes
        find_weights("mofa", settings)
    folder = given.out or weights_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(
            f"the weights cannot be written to {folder} ({error.strerror}); "
            "name another folder with --out"
        ) from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a whole number from 1, got {text!r}")
    return int(text)


def _loss_weights(text: str) -> dict[str, float]:
    """From the command line's landmark=0,shape=0; what is not named keeps the profile's."""
    try:
        pairs = [term.split("=") for term in text.split(",")]
        named = {name: float(value) for name, value in pairs}
        LossWeights(**named)  # refuses names that are none
        return named
    except (TypeError, ValueError):
        names = ", ".join(asdict(LossWeights()))
        raise argparse.ArgumentTypeError(
            f"of {names}, as in landmark=0,shape=0; got {text!r}"
        ) from None


def _command(given: argparse.Namespace, settings: Profile) -> str:
    """The command that makes the weights again, for their metadata."""
    weights = None
    if given.loss_weights:
        pairs = given.loss_weights.items()
        weights = ",".join(f"{name}={value}" for name, value in pairs)
    options = {
        "what": given.what,
        "profile": settings.name,
        "seed": given.seed,
        "steps": given.steps,
        "model": given.model,
        "celeba": given.celeba,
        "photos": given.photos,
        "loss-weights": weights,
    }
    words = []
    for name, value in options.items():
        if value is not None:
            words += [f"--{name}", str(value)]
    if given.further:
        words.append("--further")
    return f"python -m mofa_lib.training {shlex.join(words)}"


def _photographs(given: argparse.Namespace, settings: Profile) -> Faces | None:
    """The pictures that the command line asks for, if they are not the profile's."""
    if given.celeba:
        return CelebA(given.celeba, "train", settings.size)
    if given.photos:
        return PhotoFolder(given.photos, settings.size)
    return None


def _solve(
    given: argparse.Namespace, settings: Profile, faces: Faces | None, state: PartialState
) -> tuple[nn.Module, dict]:
    """The autoencoder that has a closed form, and how it was made."""
    about = {}
    if faces is None:
        with state.main_process_first():  # it draws, the others read
            faces = rendered_faces(given.what, settings, given.seed)
        about["recipe"] = faces.recipe
    about["data"] = describe(faces)
    torch.manual_seed(given.seed)
    return LinearAutoencoder(settings.size).fit(faces), about


def _descend(
    given: argparse.Namespace, settings: Profile, faces: Faces | None, state: PartialState
) -> tuple[nn.Module, dict] | None:
    """The network of a task and how it was trained; nothing if the time was over first."""
    with state.main_process_first():  # it draws or downloads, the others read
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
    state, weights = load_weights(what, settings)
    task.objective.network.load_state_dict(state)
    task.metadata["further_than"] = {
        "command": weights.made.get("command"),
        "steps": weights.made.get("steps"),
        "further_than": weights.made.get("further_than"),
        "weights": digest(state),
    }


def _who_loads(given: argparse.Namespace, settings: Profile, folder: Path) -> str:
    """What comes of new weights, for the end of the training."""
    if folder != weights_folder():
        where = folder.resolve()
        return f"They are loaded where the environment variable MOFA_WEIGHTS is {where}."
    if settings.weights != settings.name:
        return f"They are a try: {settings.name} loads the weights of {settings.weights}."

    model = f" with the face model {given.model}" if given.model else ""
    text = (
        f"The profile {settings.name}{model} loads them from now on; "
        "to undo that, delete or rename the files."
    )
    if given.what == "mofa":
        text += (
            "\nThe identity classifier reads this encoder's codes, so train it too: "
            f"{training_command('identity', settings)}"
        )
    return text

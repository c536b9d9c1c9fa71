"""Training of everything that has weights: one loop for a CPU, a GPU or many, and it resumes where it stopped.

    python -m mofa_lib.training --what mofa --profile cpu
    python -m mofa_lib.training --what mofa --profile paper --model model2017.h5 --celeba FOLDER
    accelerate launch -m mofa_lib.training --what mofa --profile gpu

Batches and dropout depend only on the seed and the number of the step, so a run that was interrupted and resumed ends
with the same weights as one that was not, on a CPU to the last bit. Several processes share each batch; batch norm sees
a process's share, and dropout differs with their number. Derived in chapter 6.
"""

import argparse
import hashlib
import json
import time
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from mofa_lib.artifacts import cache_folder, digest, load_tensors, load_weights, save_tensors, save_weights, write_bytes
from mofa_lib.batches import Faces, StepSampler
from mofa_lib.linear_autoencoder import LinearAutoencoder
from mofa_lib.losses import LossWeights
from mofa_lib.photo_session import recipe
from mofa_lib.photographs import CelebA
from mofa_lib.profiles import PROFILES, Profile, device, profile
from mofa_lib.tasks import TASKS, Task, describe, make_task, rendered_faces

CHECKPOINT_EVERY = 500  # steps
GRADIENT_NORM = 1.0  # to which a step's gradient is clipped: one odd batch must not undo a thousand others
CHECKPOINT = "checkpoint.safetensors"
CLOSED_FORM = "linear_autoencoder"


def mixed_precision() -> str:
    """Accelerate's name of the precision: bf16 where the hardware computes in it, else no (float32)."""
    if device().type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "no"


def train(task: Task, folder: Path, seed: int = 0, minutes: float | None = None) -> list[dict[str, float]]:
    """Run the loop to the task's last step, or until the time is over; return the course of the terms.

    A checkpoint in `folder` is continued; beside it lies the course as a table, log.csv. Several processes, as
    `accelerate launch` starts them, share each step's batch.

    Args:
        task: what is trained; its network is changed in place.
        folder: where the checkpoint and the log live.
        seed: of the order of the pictures and of dropout.
        minutes: stop in time; the next call goes on.
    Returns:
        An entry for every 500 steps: the step, the terms' means since the last entry, pictures a second.
    Raises:
        ValueError: the checkpoint belongs to another training, or the batch cannot be shared by the processes.
    """
    started = time.monotonic()
    accelerator = Accelerator(mixed_precision=mixed_precision(), cpu=device().type == "cpu")
    process, processes = accelerator.process_index, accelerator.num_processes
    task.objective.to(accelerator.device).train()
    first, course = _resume(task, folder)
    sampler = StepSampler(len(task.data), task.batch, first, task.steps, seed, process, processes)
    loader = DataLoader(task.data, batch_sampler=sampler, collate_fn=lambda batch: batch)
    objective = accelerator.prepare(task.objective)
    bar = tqdm(total=task.steps, initial=first, unit="image", unit_scale=task.batch, disable=process > 0, mininterval=2)
    since, sums, counted = time.monotonic(), {}, 0
    for step, batch in enumerate(loader, first + 1):
        torch.manual_seed((seed * 10_000_019 + step) * processes + process)  # dropout
        terms = objective(*send_to_device(batch, accelerator.device))
        task.optimizer.zero_grad()
        accelerator.backward(terms["loss"])
        accelerator.clip_grad_norm_(objective.parameters(), GRADIENT_NORM)
        task.optimizer.step()
        task.schedule.step()
        sums = {name: sums.get(name, 0.0) + float(value.detach()) for name, value in terms.items()}
        counted += 1
        bar.set_postfix({name: f"{value / counted:.4f}" for name, value in sums.items()}, refresh=False)
        bar.update()
        if minutes is not None and time.monotonic() - started > 60 * minutes:
            accelerator.set_trigger()
        over = minutes is not None and accelerator.check_trigger()  # in any of the processes
        if step % CHECKPOINT_EVERY == 0 or step == task.steps or over:
            totals = torch.tensor(list(sums.values()), dtype=torch.float64, device=accelerator.device)
            means = (accelerator.reduce(totals, "mean") / counted).tolist()
            speed = round(counted * task.batch / (time.monotonic() - since), 2)
            course.append({"step": step, **dict(zip(sums, means, strict=True)), "images_per_s": speed})
            since, sums, counted = time.monotonic(), {}, 0
            if accelerator.is_main_process:
                _save(task, folder, course)
        if over:
            break
    bar.close()
    accelerator.wait_for_everyone()  # until the checkpoint is written
    task.objective.network.eval()
    return course


def _save(task: Task, folder: Path, course: list[dict[str, float]]) -> None:
    """The table for people, then the checkpoint, which holds all that is needed to go on, the course included."""
    for half in (*folder.glob(".log.csv.*"), *folder.glob(f".{CHECKPOINT}.*")):  # by a process that was killed
        half.unlink()
    rows = [course[0].keys(), *(entry.values() for entry in course)]
    write_bytes(folder / "log.csv", "".join(",".join(map(str, row)) + "\n" for row in rows).encode())
    state = task.optimizer.state_dict()
    tensors = {f"network.{key}": value for key, value in task.objective.network.state_dict().items()}
    for index, values in state["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in values.items()}
    rates = {"groups": state["param_groups"], "schedule": task.schedule.state_dict()}
    save_tensors(folder / CHECKPOINT, tensors, {"course": course, "made_from": task.metadata, **rates})


def _resume(task: Task, folder: Path) -> tuple[int, list[dict[str, float]]]:
    """Put the checkpoint of a folder into a task; give its step and the course so far. Without one: 0 and nothing."""
    if not (folder / CHECKPOINT).is_file():
        return 0, []
    tensors, metadata = load_tensors(folder / CHECKPOINT)
    if metadata.get("made_from") != json.loads(json.dumps(task.metadata)):
        raise ValueError(f"The checkpoint {folder / CHECKPOINT} belongs to another training; delete its folder.")
    network: dict[str, Tensor] = {}
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        part, name = key.split(".", 1)
        if part == "network":
            network[name] = value
        else:
            index, name = name.split(".", 1)
            state.setdefault(int(index), {})[name] = value
    task.objective.network.load_state_dict(network)
    task.optimizer.load_state_dict({"state": state, "param_groups": metadata["groups"]})
    task.schedule.load_state_dict(metadata["schedule"])
    return metadata["course"][-1]["step"], metadata["course"]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a whole number from 1, got {text!r}")
    return int(text)


def _loss_weights(text: str) -> LossWeights:
    """From the command line's landmark=0,shape=0; what is not named keeps its default."""
    try:
        return LossWeights(**{name: float(value) for name, value in (part.split("=") for part in text.split(","))})
    except (TypeError, ValueError):
        names = ", ".join(asdict(LossWeights()))
        raise argparse.ArgumentTypeError(f"of {names}, as in landmark=0,shape=0; got {text!r}") from None


def main(arguments: list[str] | None = None) -> None:
    """The command line, see the module; `--help` lists the options."""
    parser = argparse.ArgumentParser(prog="python -m mofa_lib.training", description="Train and save weights.")
    parser.add_argument("--what", required=True, choices=(*TASKS, CLOSED_FORM))
    parser.add_argument("--profile", default=None, choices=list(PROFILES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=_positive, default=None, help="instead of the profile's number")
    parser.add_argument("--minutes", type=float, default=None, help="stop in time; the same command goes on")
    parser.add_argument("--model", default=None, help="file of a face model, instead of the profile's")
    parser.add_argument("--celeba", default=None, help="folder of CelebA, instead of rendered faces")
    parser.add_argument("--loss-weights", type=_loss_weights, help="of MoFA's terms, for example landmark=0,shape=0")
    parser.add_argument("--further", action="store_true", help="start from the weights that are there")
    parser.add_argument("--out", type=Path, default=None, help="folder of the weights; by default in the cache")
    given = parser.parse_args(arguments)
    if given.loss_weights and given.what != "mofa":
        parser.error(f"--loss-weights are of MoFA's terms; {given.what} has one term")
    if given.what == CLOSED_FORM and (given.steps or given.minutes or given.further):
        parser.error(f"--steps, --minutes and --further are of a descent; {CLOSED_FORM} has a closed form")
    chosen = profile(given.profile)
    if given.model:
        chosen = replace(chosen, model=given.model)
    state = PartialState(cpu=device().type == "cpu", timeout=timedelta(days=7))  # of waiting for the first process
    learnt = (_solve if given.what == CLOSED_FORM else _descend)(given, chosen, state)
    if learnt is None or not state.is_main_process:
        return
    network, about = learnt
    weights = given.loss_weights and ",".join(f"{name}={value}" for name, value in asdict(given.loss_weights).items())
    options = {"what": given.what, "profile": chosen.name, "seed": given.seed, "steps": given.steps}
    options |= {"model": given.model, "celeba": given.celeba, "loss-weights": weights}
    command = "python -m mofa_lib.training" + "".join(f" --{k} {v}" for k, v in options.items() if v is not None)
    metadata = {
        "what": given.what,
        "profile": chosen.name,
        "size": chosen.size,
        "seed": given.seed,
        "command": command + " --further" * given.further,
        **about,
    }
    for path in save_weights(given.what, chosen.name, network.state_dict(), metadata, given.out):
        print(path)


def _faces(given: argparse.Namespace, chosen: Profile) -> Faces | None:
    """The pictures that the command line asks for, if they are not the profile's."""
    return CelebA(given.celeba, "train", chosen.size) if given.celeba else None


def _solve(given: argparse.Namespace, chosen: Profile, state: PartialState) -> tuple[nn.Module, dict]:
    """The autoencoder that has a closed form, and how it was made."""
    with state.main_process_first():
        faces = _faces(given, chosen)
        about = {} if faces else {"recipe": recipe()}
        faces = faces or rendered_faces(chosen, given.seed)
    torch.manual_seed(given.seed)
    return LinearAutoencoder(chosen.size).fit(faces), about | {"data": describe(faces)}


def _descend(given: argparse.Namespace, chosen: Profile, state: PartialState) -> tuple[nn.Module, dict] | None:
    """The network of a task and how it was trained; nothing if the time was over first."""
    with state.main_process_first():  # it draws or downloads, the others read
        task = make_task(given.what, chosen, given.seed, given.steps, _faces(given, chosen), given.loss_weights)
    if given.further:
        same = {key: task.metadata[key] for key in ("model", "mofa") if key in task.metadata}
        earlier, about = load_weights(given.what, chosen.name, size=chosen.size, **same)
        task.objective.network.load_state_dict(earlier)
        task.metadata["further_than"] = {key: about.get(key) for key in ("command", "steps", "further_than")}
        task.metadata["further_than"]["weights"] = digest(earlier)
    key = hashlib.sha256(json.dumps(task.metadata).encode()).hexdigest()[:8]
    run = f"{given.what}_{chosen.name}_{given.seed}_{task.steps}_{key}"
    course = train(task, cache_folder() / "training" / run, given.seed, given.minutes)
    done = course[-1]["step"]
    if done < task.steps:
        if state.is_main_process:
            print(f"Stopped after {done} of {task.steps} steps; the same command goes on and writes the weights.")
        return None
    about = {
        "steps": done,
        "precision": {"no": "float32"}.get(mixed_precision(), mixed_precision()),
        "quality": {name: value for name, value in course[-1].items() if name != "images_per_s"},
    }
    return task.objective.network, about | task.metadata


if __name__ == "__main__":
    main()

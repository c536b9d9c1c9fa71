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
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import send_to_device
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mofa_lib import autoencoder, detector, identity
from mofa_lib.artifacts import cache_folder, digest, load_tensors, load_weights, save_tensors, save_weights, write_bytes
from mofa_lib.batches import Codes, Faces, Pictures, StepSampler
from mofa_lib.face_data import RenderedFaces
from mofa_lib.losses import LossWeights
from mofa_lib.objectives import DetectorObjective, IdentityObjective, MoFAObjective, Objective
from mofa_lib.photo_session import recipe
from mofa_lib.photographs import CelebA
from mofa_lib.profiles import PROFILES, Profile, device, profile

CHECKPOINT_EVERY = 500  # steps
GRADIENT_NORM = 1.0  # to which a step's gradient is clipped: one odd batch must not undo a thousand others
CHECKPOINT = "checkpoint.safetensors"
TASKS = ("mofa", "identity", "face_identity", "detector")


@dataclass(frozen=True)
class Task:
    """What is trained, on what, and how.

    Attributes:
        objective: the network with its loss.
        data: gives a whole batch, the objective's arguments, to a list of indices.
        batch: pictures in a step, of all processes together.
        steps: number of steps.
        optimizer, schedule: stepped once each step.
        metadata: what a checkpoint must have been made from, and what the weights will say about themselves.
    """

    objective: Objective
    data: Dataset
    batch: int
    steps: int
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    metadata: dict


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


def make_task(
    what: str,
    chosen: Profile,
    seed: int = 0,
    steps: int | None = None,
    faces: Faces | None = None,
    weights: LossWeights | None = None,
) -> Task:
    """The task of this name in a profile: mofa, identity, face_identity or detector.

    Args:
        steps: instead of the profile's number.
        faces: instead of the profile's rendered faces.
        weights: of the loss's terms, instead of the default ones; for mofa only.
    """
    if what not in TASKS:
        raise ValueError(f"There is nothing to train by the name {what!r}: choose {', '.join(TASKS)}.")
    torch.manual_seed(seed)
    metadata: dict = {}
    if faces is None:
        metadata["recipe"] = recipe()
        count = chosen.identities * chosen.per_identity
        faces = RenderedFaces("train", count, seed, chosen.size, per_identity=chosen.per_identity)
    chosen = replace(chosen, identities=int(faces.identities.max()) + 1)
    data = Pictures(faces)
    batch, of_steps, rate = chosen.batch, chosen.steps, chosen.rate
    pretrained = chosen.name in ("gpu", "paper")
    metadata["data"] = f"{len(faces)} pictures of {chosen.identities} people, {type(faces).__name__}"
    if what == "mofa":
        network = autoencoder.build(chosen, pretrained)
        objective: Objective = MoFAObjective(network, weights)
        metadata |= {"model": network.model.digest, "loss_weights": asdict(objective.weights)}
    elif what == "detector":
        batch, of_steps, rate = chosen.detector_batch, chosen.detector_steps, chosen.detector_rate
        objective = DetectorObjective(detector.build(chosen, pretrained))
    elif what == "face_identity":
        batch, rate = 2 * chosen.batch, 1e-4 if pretrained else 1e-3
        objective = IdentityObjective(identity.build_on_images(chosen, pretrained))
    else:
        mofa = autoencoder.load_pretrained(chosen)
        metadata |= {"model": mofa.model.digest, "mofa": digest(load_weights("mofa", chosen.weights)[0])}
        z = encode_all(mofa, faces)
        trunk = identity.CodeTrunk(z.shape[1])
        trunk.mean, trunk.deviation = z.mean(0), z.std(0).clamp(min=1e-6)
        objective = IdentityObjective(identity.IdentityClassifier(trunk, chosen.identities))
        data = Codes(faces, z)
        batch, rate = 256, 1e-3
        of_steps = min(of_steps, 6000)
    of_steps = of_steps if steps is None else steps
    optimizer, schedule = _optimizer(objective.network, what, chosen, rate, of_steps)
    return Task(objective, data, batch, of_steps, optimizer, schedule, metadata)


@torch.no_grad()
def encode_all(mofa: autoencoder.MoFA, faces: Faces) -> Float[Tensor, "N Z"]:
    """The codes of all pictures of a data set, as vectors, on the CPU."""
    starts = tqdm(range(0, len(faces), 100), desc="encoding", disable=len(faces) < 2000)
    where = next(mofa.parameters()).device
    return torch.cat([mofa.encode(faces.batch(slice(i, i + 100)).to(where)).to_vector().cpu() for i in starts])


def _optimizer(network: nn.Module, what: str, chosen: Profile, rate: float, steps: int):
    """The paper's optimisers in its profile; elsewhere Adam with a warm-up and a cosine to zero."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    if chosen.name == "paper" and what == "mofa":
        optimizer: torch.optim.Optimizer = torch.optim.Adadelta(parameters, lr=rate)
        return optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    if chosen.name == "paper" and what == "detector":
        optimizer = torch.optim.SGD(parameters, lr=rate, momentum=0.9)
        return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, steps // 3, 0.5)
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-2 if "identity" in what else 0.0)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1, pct_start=0.05)


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
    parser.add_argument("--what", required=True, choices=TASKS)
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
    chosen = profile(given.profile)
    if given.model:
        chosen = replace(chosen, model=given.model)
    state = PartialState(cpu=device().type == "cpu", timeout=timedelta(days=7))  # of waiting for the first process
    with state.main_process_first():  # it draws or downloads, the others read
        faces = CelebA(given.celeba, "train", chosen.size) if given.celeba else None
        task = make_task(given.what, chosen, given.seed, given.steps, faces, given.loss_weights)
    if given.further:
        same = {key: task.metadata[key] for key in ("model", "mofa") if key in task.metadata}
        earlier, about = load_weights(given.what, chosen.name, size=chosen.size, **same)
        task.objective.network.load_state_dict(earlier)
        task.metadata["further_than"] = {key: about.get(key) for key in ("command", "steps", "further_than")}
        task.metadata["further_than"]["weights"] = digest(earlier)
    key = hashlib.sha256(json.dumps(task.metadata).encode()).hexdigest()[:8]
    run = f"{given.what}_{chosen.name}_{given.seed}_{task.steps}_{key}"
    course = train(task, cache_folder() / "training" / run, given.seed, given.minutes)
    if not state.is_main_process:
        return
    done = course[-1]["step"]
    if done < task.steps:
        print(f"Stopped after {done} of {task.steps} steps; the same command goes on and writes the weights.")
        return
    weights = given.loss_weights and ",".join(f"{name}={value}" for name, value in asdict(given.loss_weights).items())
    options = {"what": given.what, "profile": chosen.name, "seed": given.seed, "steps": given.steps}
    options |= {"model": given.model, "celeba": given.celeba, "loss-weights": weights}
    command = "python -m mofa_lib.training" + "".join(f" --{k} {v}" for k, v in options.items() if v is not None)
    metadata = {
        "what": given.what,
        "profile": chosen.name,
        "size": chosen.size,
        "seed": given.seed,
        "steps": done,
        "precision": {"no": "float32"}.get(mixed_precision(), mixed_precision()),
        "quality": {name: value for name, value in course[-1].items() if name != "images_per_s"},
        "command": command + " --further" * given.further,
        **task.metadata,
    }
    for path in save_weights(given.what, chosen.name, task.objective.network.state_dict(), metadata, given.out):
        print(path)


if __name__ == "__main__":
    main()

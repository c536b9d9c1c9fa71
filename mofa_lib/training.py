"""Training of everything that has weights: one loop for a CPU, a GPU or many, and it resumes where it stopped.

    python -m mofa_lib.training --what mofa --profile cpu
    accelerate launch -m mofa_lib.training --what mofa --profile paper

Batches depend only on the seed and the number of the step, so a run that was interrupted and resumed saw the same
pictures as one that was not. Derived in chapter 6.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset
from tqdm import tqdm

from mofa_lib import autoencoder, detector, identity, losses
from mofa_lib.artifacts import cache_folder, digest, load_tensors, load_weights, save_tensors, save_weights
from mofa_lib.face_data import RenderedFaces
from mofa_lib.profiles import PROFILES, Profile, device, profile

CHECKPOINT_EVERY = 500  # steps
TASKS = ("mofa", "identity", "face_identity", "detector")


class Objective(nn.Module):
    """A network with its loss: maps a batch to named terms, of which "loss" is minimised."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network


class MoFAObjective(Objective):
    """The three terms of chapter 6."""

    def forward(self, images: Tensor, landmarks: Tensor, identities: Tensor) -> dict[str, Tensor]:
        weights = losses.LossWeights()
        code = self.network.encode(images)
        rendering = self.network.decode(code)
        photometric = losses.photometric(rendering, images).mean()
        landmark = losses.landmark(rendering.landmarks, landmarks, self.network.size).mean()
        statistical = losses.statistical(code, weights).mean()
        loss = weights.photometric * photometric + weights.landmark * landmark + statistical
        return {"loss": loss, "photometric": photometric, "landmark_px": landmark * self.network.size}


class DetectorObjective(Objective):
    """Eq. 2, on pictures and their mirror images."""

    def forward(self, images: Tensor, landmarks: Tensor, identities: Tensor) -> dict[str, Tensor]:
        mirrored = torch.cat([images[0::2], images[1::2].flip(3)])
        drawn = self.network(mirrored)
        loss = detector.reconstruction_loss(mirrored, drawn).mean()
        return {"loss": loss, "mean_error": (drawn - mirrored).abs().mean()}


class IdentityObjective(Objective):
    """Cross-entropy over the training identities."""

    def forward(self, faces: Tensor, landmarks: Tensor, identities: Tensor) -> dict[str, Tensor]:
        logits = self.network(faces)
        return {"loss": F.cross_entropy(logits, identities), "top1": (logits.argmax(1) == identities).float().mean()}


@dataclass(frozen=True)
class Task:
    """What is trained, on what, and how."""

    objective: Objective
    data: Dataset
    batch: int
    steps: int
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    metadata: dict


class Pictures(Dataset):
    """Rendered faces in whole batches: images in [0, 1], landmarks, identities."""

    def __init__(self, faces: RenderedFaces):
        self.faces = faces

    def __len__(self) -> int:
        return len(self.faces)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        return self.faces.batch(indices), self.faces.landmarks[indices], self.faces.identities[indices]


class StepSampler(Sampler):
    """The indices of each step's batch, from the seed and the number of the step alone."""

    def __init__(self, length: int, batch: int, first: int, last: int, seed: int):
        self.length, self.batch, self.first, self.last, self.seed = length, batch, first, last, seed

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.last):
            generator = torch.Generator().manual_seed(self.seed * 10_000_019 + step)
            yield torch.randint(self.length, (self.batch,), generator=generator).tolist()


def train(task: Task, folder: Path, seed: int = 0, minutes: float | None = None) -> list[dict[str, float]]:
    """Run the loop to the task's last step, or until the time is over; return the course of the terms.

    A checkpoint in `folder` is continued. Mixed precision is bfloat16.

    Args:
        task: what is trained; its network is changed in place.
        folder: where the checkpoint and the log live.
        seed: of the order of the pictures.
        minutes: stop in time; the next call goes on.
    """
    accelerator = Accelerator(mixed_precision="bf16", cpu=device().type == "cpu")
    network, optimizer = task.objective.network, task.optimizer
    checkpoint, log = folder / "checkpoint.safetensors", folder / "log.json"
    first, course = 0, []
    if checkpoint.is_file():
        tensors, metadata = load_tensors(checkpoint)
        if metadata.get("model") != task.metadata.get("model"):
            raise ValueError(f"The checkpoint {checkpoint} belongs to another face model; delete its folder.")
        first, course = metadata["step"], _read_log(log)
        _restore(tensors, network, optimizer)
        for _ in range(first):
            task.schedule.step()
    torch.manual_seed(seed + first)  # dropout
    task.objective.to(accelerator.device).train()
    sampler = StepSampler(len(task.data), task.batch, first, task.steps, seed)
    loader = DataLoader(task.data, batch_sampler=sampler, collate_fn=None if _plain(task.data) else lambda batch: batch)
    objective, optimizer, loader = accelerator.prepare(task.objective, optimizer, loader)
    started, sums, counted = time.monotonic(), {}, 0
    bar = tqdm(total=task.steps, initial=first, disable=not accelerator.is_local_main_process, mininterval=2)
    for step, batch in enumerate(loader, first + 1):
        with accelerator.autocast():
            terms = objective(*batch)
        optimizer.zero_grad()
        accelerator.backward(terms["loss"])
        accelerator.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
        task.schedule.step()
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + float(value)
        counted += 1
        bar.update()
        over = minutes is not None and time.monotonic() - started > 60 * minutes
        if step % CHECKPOINT_EVERY == 0 or step == task.steps or over:
            course.append({"step": step, **{name: value / counted for name, value in sums.items()}})
            bar.set_postfix({name: f"{value:.4f}" for name, value in course[-1].items() if name != "step"})
            sums, counted = {}, 0
            if accelerator.is_main_process:
                about = {"step": step, "model": task.metadata.get("model")}
                save_tensors(checkpoint, _pack(network, task.optimizer), about)
                log.write_text(json.dumps(course, indent=1))
        if over:
            break
    bar.close()
    network.eval()
    return course


def make_task(what: str, chosen: Profile, seed: int = 0, steps: int | None = None) -> Task:
    """The task of this name in a profile: mofa, identity, face_identity or detector.

    Args:
        steps: instead of the profile's number.
    """
    if what not in TASKS:
        raise ValueError(f"There is nothing to train by the name {what!r}: choose {', '.join(TASKS)}.")
    torch.manual_seed(seed)
    faces = RenderedFaces(
        "train", chosen.identities * chosen.per_identity, seed, chosen.size, per_identity=chosen.per_identity
    )
    data: Dataset = Pictures(faces)
    batch, of_steps, rate = chosen.batch, chosen.steps, chosen.rate
    pretrained = chosen.name in ("gpu", "paper")
    metadata: dict = {}
    if what == "mofa":
        network = autoencoder.build(chosen, pretrained)
        objective: Objective = MoFAObjective(network)
        metadata["model"] = network.model.digest
    elif what == "detector":
        batch, of_steps, rate = chosen.detector_batch, chosen.detector_steps, chosen.detector_rate
        objective = DetectorObjective(detector.build(chosen, pretrained))
    elif what == "face_identity":
        of_steps = of_steps // 3
        objective = IdentityObjective(identity.build_on_images(chosen, pretrained))
    else:
        mofa = autoencoder.load_pretrained(chosen.name)
        metadata["model"] = mofa.model.digest
        z = encode_all(mofa, faces)
        trunk = identity.CodeTrunk(z.shape[1])
        trunk.mean, trunk.deviation = z.mean(0), z.std(0).clamp(min=1e-6)
        objective = IdentityObjective(identity.IdentityClassifier(trunk, chosen.identities))
        data = TensorDataset(z, faces.landmarks, faces.identities)
        batch, rate = 256, 1e-3
        of_steps = min(of_steps, 6000)
    of_steps = steps or of_steps
    optimizer, schedule = _optimizer(objective.network, what, chosen, rate, of_steps)
    return Task(objective, data, batch, of_steps, optimizer, schedule, metadata)


@torch.no_grad()
def encode_all(mofa: autoencoder.MoFA, faces: RenderedFaces) -> Tensor:
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


def _read_log(path: Path) -> list[dict[str, float]]:
    """The course so far; nothing if the log is missing or was cut off, since only the checkpoint counts."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return []


def _plain(data: Dataset) -> bool:
    return isinstance(data, TensorDataset)


def _pack(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    packed = {f"network.{key}": value for key, value in network.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        packed.update({f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()})
    return packed


def _restore(tensors: dict[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    weights = {key.removeprefix("network."): v for key, v in tensors.items() if key.startswith("network.")}
    network.load_state_dict(weights)
    state: dict[int, dict] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m mofa_lib.training", description="Train and save weights.")
    parser.add_argument("--what", required=True, choices=TASKS)
    parser.add_argument("--profile", default=None, choices=list(PROFILES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=None, help="instead of the profile's number")
    parser.add_argument("--minutes", type=float, default=None, help="stop in time; the same command goes on")
    parser.add_argument("--further", action="store_true", help="start from the weights that are there")
    parser.add_argument("--out", type=Path, default=None, help="folder of the weights; by default in the cache")
    given = parser.parse_args(arguments)
    chosen = profile(given.profile)
    task = make_task(given.what, chosen, given.seed, given.steps)
    run = f"{given.what}_{chosen.name}_{given.seed}_{task.steps}"
    if given.further:
        state, earlier = load_weights(given.what, chosen.name, size=chosen.size)
        task.objective.network.load_state_dict(state)
        task.metadata["further_than"] = {key: earlier.get(key) for key in ("command", "steps", "further_than")}
        run += f"_further_than_{digest(state)[:8]}"
    course = train(task, cache_folder() / "training" / run, given.seed, given.minutes)
    done = course[-1]["step"]
    if done < task.steps:
        print(f"Stopped after {done} of {task.steps} steps; the same command goes on and writes the weights.")
        return
    command = f"python -m mofa_lib.training --what {given.what} --profile {chosen.name} --seed {given.seed}"
    command += f" --steps {given.steps}" * (given.steps is not None) + " --further" * given.further
    metadata = {
        "what": given.what,
        "profile": chosen.name,
        "size": chosen.size,
        "seed": given.seed,
        "steps": done,
        "quality": course[-1],
        "command": command,
        **task.metadata,
    }
    for path in save_weights(given.what, chosen.name, task.objective.network.state_dict(), metadata, given.out):
        print(path)


if __name__ == "__main__":
    main()

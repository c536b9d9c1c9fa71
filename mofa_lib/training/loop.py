"""One loop for a CPU, a GPU or many; it resumes where it stopped. Derived in chapter 6.

Batches and dropout depend only on the seed and the number of the step, so a run that was
interrupted and resumed ends with the same weights as one that was not, on a CPU to the last bit.
Several processes share each batch; batch norm sees a process's share, and dropout differs with
their number.
"""

import json
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from mofa_lib.artifacts import load_tensors, save_tensors, write_bytes
from mofa_lib.profiles import device, has_bfloat16
from mofa_lib.training.batches import StepSampler, step_seed
from mofa_lib.training.tasks import Task

CHECKPOINT_EVERY = 500  # steps
# To this a step's gradient is clipped: one odd batch must not undo a thousand others.
GRADIENT_NORM = 1.0
CHECKPOINT = "checkpoint.safetensors"
LOG = "log.csv"


def mixed_precision() -> str:
    """Accelerate's name of the precision: bf16 where the hardware computes in it.

    Elsewhere it is `no`, which means float32.
    """
    if device().type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        supported = has_bfloat16()
    return "bf16" if supported else "no"


def train(
    task: Task, folder: Path, seed: int = 0, minutes: float | None = None
) -> list[dict[str, float]]:
    """Run the loop to the task's last step, or until the time is over; return the terms' course.

    A checkpoint in `folder` is continued; beside it lies the course as a table, log.csv. Several
    processes, as `accelerate launch` starts them, share each step's batch.

    Args:
        task: what is trained; its network is changed in place.
        folder: where the checkpoint and the log live.
        seed: of the order of the pictures and of dropout.
        minutes: stop in time; the next call goes on.
    Returns:
        An entry for every 500 steps: the step, the terms' means since the last entry, pictures a
            second.
    Raises:
        ValueError: the checkpoint belongs to another training, or the batch cannot be shared by the
            processes.
    """
    started = time.monotonic()
    accelerator = Accelerator(mixed_precision=mixed_precision(), cpu=device().type == "cpu")
    process, processes = accelerator.process_index, accelerator.num_processes
    task.objective.to(accelerator.device).train()
    origin = {"seed": seed, **task.metadata}
    first, course = _resume(task, folder, origin)

    sampler = StepSampler(len(task.data), task.batch, first, task.steps, seed, process, processes)
    loader = DataLoader(task.data, batch_sampler=sampler, collate_fn=lambda batch: batch)
    objective = accelerator.prepare(task.objective)
    bar = tqdm(
        total=task.steps,
        initial=first,
        unit="image",
        unit_scale=task.batch,
        disable=process > 0,
        mininterval=2,
    )

    means = _Means(task.batch)
    for step, batch in enumerate(loader, first + 1):
        torch.manual_seed(step_seed(seed, step) * processes + process)  # of dropout
        terms = objective(send_to_device(batch, accelerator.device))
        task.optimizer.zero_grad()
        accelerator.backward(terms["loss"])
        accelerator.clip_grad_norm_(objective.parameters(), GRADIENT_NORM)
        task.optimizer.step()
        task.schedule.step()

        means.add(terms)
        bar.set_postfix(means.shown(), refresh=False)
        bar.update()

        over = _is_over(accelerator, started, minutes)
        if step % CHECKPOINT_EVERY == 0 or step == task.steps or over:
            course.append({"step": step, **means.entry(accelerator)})
            means = _Means(task.batch)
            if accelerator.is_main_process:
                _save(task, folder, course, origin)
        if over:
            break

    bar.close()
    accelerator.wait_for_everyone()  # until the checkpoint is written
    task.objective.network.eval()
    return course


class _Means:
    """The terms' means since the last entry of the course, and the speed.

    Args:
        batch: pictures in a step.
    """

    def __init__(self, batch: int):
        self.batch = batch
        self.since = time.monotonic()
        self.sums: dict[str, float] = {}
        self.steps = 0

    def add(self, terms: dict[str, Tensor]) -> None:
        """Count one more step."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())
        self.steps += 1

    def shown(self) -> dict[str, str]:
        """The means of this process, for the bar."""
        return {name: f"{value / self.steps:.4f}" for name, value in self.sums.items()}

    def entry(self, accelerator: Accelerator) -> dict[str, float]:
        """The means over all processes, and pictures a second."""
        sums = torch.tensor(
            list(self.sums.values()), dtype=torch.float64, device=accelerator.device
        )
        means = (accelerator.reduce(sums, "mean") / self.steps).tolist()
        entry = dict(zip(self.sums, means, strict=True))

        seconds = time.monotonic() - self.since
        entry["images_per_s"] = round(self.steps * self.batch / seconds, 2)
        return entry


def _is_over(accelerator: Accelerator, started: float, minutes: float | None) -> bool:
    """Whether the time is over in any of the processes."""
    if minutes is None:
        return False
    if time.monotonic() - started > 60 * minutes:
        accelerator.set_trigger()
    return accelerator.check_trigger()


def _save(task: Task, folder: Path, course: list[dict[str, float]], origin: dict) -> None:
    """Write the table for people, then the checkpoint.

    The checkpoint holds all that is needed to go on, the course included.
    """
    halves = [*folder.glob(f".{LOG}.*"), *folder.glob(f".{CHECKPOINT}.*")]
    for half in halves:  # by a process that was killed
        half.unlink()

    rows = [course[0].keys(), *(entry.values() for entry in course)]
    lines = [",".join(map(str, row)) + "\n" for row in rows]
    write_bytes(folder / LOG, "".join(lines).encode())

    tensors: dict[str, Tensor] = {}
    for name, value in task.objective.network.state_dict().items():
        tensors[f"network.{name}"] = value
    optimizer = task.optimizer.state_dict()
    for index, memory in optimizer["state"].items():
        for name, value in memory.items():
            tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
    metadata = {
        "course": course,
        "made_from": origin,
        "groups": optimizer["param_groups"],
        "schedule": task.schedule.state_dict(),
    }
    save_tensors(folder / CHECKPOINT, tensors, metadata)


def _resume(task: Task, folder: Path, origin: dict) -> tuple[int, list[dict[str, float]]]:
    """Put the checkpoint of a folder into a task; give its step and the course so far.

    Without one: 0 and nothing.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return 0, []
    tensors, metadata = load_tensors(path)
    if metadata.get("made_from") != json.loads(json.dumps(origin)):
        raise ValueError(f"The checkpoint {path} belongs to another training; delete its folder.")

    network: dict[str, Tensor] = {}
    memories: dict[int, dict[str, Tensor]] = {}  # the optimiser's, by the number of the parameter
    for key, value in tensors.items():
        owner, name = key.split(".", 1)
        if owner == "network":
            network[name] = value
        else:
            index, name = name.split(".", 1)
            memories.setdefault(int(index), {})[name] = value

    course = metadata["course"]
    task.objective.network.load_state_dict(network)
    task.optimizer.load_state_dict({"state": memories, "param_groups": metadata["groups"]})
    task.schedule.load_state_dict(metadata["schedule"])
    return course[-1]["step"], course

"""The four sizes of the experiments. One name chooses everything."""

import ast
import os
import sys
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Profile:
    """All that differs between a test in CI and the paper's own scale.

    Attributes:
        name: smoke, cpu, gpu or paper.
        weights: the profile whose trained weights are loaded.
        size: image side in pixels.
        model: the face model, fine for large pictures.
        encoder: MoFA's encoder: small, resnet50, vgg19 or alexnet.
        detector: backbone of the detector's encoder: resnet18 or resnet50.
        identities, per_identity: people and pictures of each in the training set.
        batch, steps, rate: MoFA's training.
        detector_batch, detector_steps, detector_rate: the detector's training.
        faces: pictures that a chapter computes live.
        pairs: pairs of original and target behind a table.
    """

    name: str
    weights: str
    size: int
    model: str
    encoder: str
    detector: str
    identities: int
    per_identity: int
    batch: int
    steps: int
    rate: float
    detector_batch: int
    detector_steps: int
    detector_rate: float
    faces: int
    pairs: int


PROFILES = {
    chosen.name: chosen
    for chosen in (
        Profile("smoke", "cpu", 112, "anny", "small", "resnet18", 8, 4, 8, 20, 5e-4, 8, 20, 1e-3, 8, 8),
        Profile("cpu", "cpu", 112, "anny", "small", "resnet18", 2000, 12, 32, 9_000, 5e-4, 32, 4_000, 1e-3, 8, 200),
        Profile("gpu", "gpu", 224, "anny-fine", "resnet50", "resnet50", 5000, 20, 32, 60_000, 3e-4, 128, 24_000, 1e-3,
                16, 1000),
        Profile("paper", "paper", 224, "anny-fine", "vgg19", "resnet50", 8000, 20, 5, 200_000, 0.1, 128, 38_000, 0.1,
                16, 1000),
    )
}  # fmt: skip


def profile(name: str | Profile | None = None) -> Profile:
    """The profile of this name; without a name, the one in the environment variable MOFA_PROFILE, else `cpu`.

    A profile is given back as it is: `replace(profile("paper"), model="model2017.h5")` can stand wherever a name can.

    Raises:
        ValueError: there is no such profile.
    """
    name = os.environ.get("MOFA_PROFILE", "cpu") if name is None else name
    if isinstance(name, Profile):
        return name
    if not isinstance(name, str) or name not in PROFILES:
        raise ValueError(f"There is no profile {name!r}: choose one of {', '.join(PROFILES)}.")
    return PROFILES[name]


def device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe(chosen: Profile) -> str:
    """One line for the top of a chapter: profile, versions and device."""
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return f"profile {chosen.name} · {chosen.size} px · torch {torch.__version__} · {where}"


def check_parameters(**parameters: object) -> None:
    """Refuse a chapter's parameters before any work is done.

    Pass all parameters of the chapter: a name that papermill injected and that is not among them is refused too.

    Raises:
        ValueError: one sentence that says which parameter is wrong and what it may be.
    """
    unknown = sorted(_injected_names() - set(parameters))
    if unknown:
        raise ValueError(f"This chapter has no parameter {unknown[0]!r}; it has {', '.join(parameters)}.")
    bounds = {
        "seed": (0, 2**31),
        "epsilon": (0.0, 1.0),
        "steps": (1, 100_000),
        "pairs": (2, 10_000),
        "faces": (1, 10_000),
    }
    for name, value in parameters.items():
        if name == "profile":
            profile(value)
        elif name in bounds:
            low, high = bounds[name]
            kind = "a whole number" if isinstance(low, int) else "a number"
            right = isinstance(value, int if isinstance(low, int) else int | float) and not isinstance(value, bool)
            if not (right and low <= value <= high):
                raise ValueError(f"The parameter {name} must be {kind} from {low} to {high}, got {value!r}.")
        elif not isinstance(value, str | bool):
            raise ValueError(f"The parameter {name} must be text or true/false, got {value!r}.")


def _injected_names() -> set[str]:
    """Names that papermill's injected cell assigns, in a notebook run by it; else nothing."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    injected = [cell for cell in shell.user_ns["In"] if cell.startswith("# Parameters\n")] if shell else []
    assigned = [node for cell in injected for node in ast.parse(cell).body if isinstance(node, ast.Assign)]
    return {target.id for node in assigned for target in node.targets}

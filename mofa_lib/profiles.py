"""The four sizes of the experiments. One name chooses everything."""

import ast
import os
import sys
from dataclasses import dataclass, replace

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
        classifier: backbone of the identity classifier that reads pictures: tiny or vgg19 (the paper's).
        detector: backbone of the detector's encoder: resnet18 or resnet50.
        autoencoder: what the detector reforms with: table1, or linear where Table 1 cannot be trained well.
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
    classifier: str
    detector: str
    autoencoder: str
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


_CPU = Profile(
    name="cpu", weights="cpu", size=112, model="anny", encoder="small", classifier="tiny", detector="resnet18",
    autoencoder="linear", identities=2000, per_identity=12, batch=32, steps=9_000, rate=5e-4,
    detector_batch=32, detector_steps=4_000, detector_rate=1e-3, faces=8, pairs=200,
)  # fmt: skip
_SMOKE = replace(
    _CPU, name="smoke", identities=8, per_identity=4, batch=8, steps=20, detector_batch=8, detector_steps=20, pairs=8
)
_GPU = Profile(
    name="gpu", weights="gpu", size=224, model="anny-fine", encoder="resnet50", classifier="vgg19", detector="resnet50",
    autoencoder="table1", identities=5000, per_identity=20, batch=32, steps=60_000, rate=3e-4,
    detector_batch=128, detector_steps=24_000, detector_rate=1e-3, faces=16, pairs=1000,
)  # fmt: skip
_PAPER = replace(
    _GPU, name="paper", weights="paper", encoder="vgg19", identities=8000, batch=5, steps=200_000, rate=0.1,
    detector_steps=38_000, detector_rate=0.1,
)  # fmt: skip
PROFILES = {chosen.name: chosen for chosen in (_SMOKE, _CPU, _GPU, _PAPER)}


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
        "cap": (0.001, 1.0),
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

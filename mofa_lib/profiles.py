"""The four sizes of the experiments. One name chooses everything."""

import os
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
        encoder: MoFA's encoder: tiny, small, resnet50, vgg19 or alexnet.
        classifier: backbone of the identity classifier that reads pictures: tiny or vgg19 (the
            paper's).
        detector: backbone of the detector's encoder: tiny, or resnet50 (the paper's).
        autoencoder: what the detector reforms with: table1, or linear where Table 1 cannot be
            trained well.
        identities, per_identity: people and pictures of each in the training set.
        batch, steps, rate: MoFA's training.
        classes: people, of these, that the classifier of pictures and the detector learn from.
        classifier_steps: of the classifier of pictures, in batches of twice MoFA's size.
        drawn: side at which faces are drawn in MoFA's training, pixels.
        recognition: weight of the term in which a judge takes part.
        detector_batch, detector_steps, detector_rate: the detector's training.
        attack_steps: of an attack.
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
    classes: int
    classifier_steps: int
    drawn: int
    recognition: float
    detector_batch: int
    detector_steps: int
    detector_rate: float
    attack_steps: int
    faces: int
    pairs: int


_CPU = Profile(
    name="cpu", weights="cpu", size=224, model="face",
    encoder="tiny", classifier="tiny", detector="tiny", autoencoder="linear",
    identities=3000, per_identity=4,
    batch=16, steps=14_000, rate=5e-4, drawn=112, recognition=0.05,
    classes=1000, classifier_steps=1_700,
    detector_batch=32, detector_steps=850, detector_rate=1e-3,
    attack_steps=50,
    faces=8, pairs=200,
)  # fmt: skip

# They load cpu's weights and differ from it in counts alone; what `smoke` trains is only a try.
_SMOKE = replace(
    _CPU, name="smoke",
    identities=8, per_identity=4,
    batch=8, steps=20,
    classes=8, classifier_steps=20,
    detector_batch=8, detector_steps=20,
    attack_steps=10,
    faces=4, pairs=4,
)  # fmt: skip

_GPU = replace(
    _CPU, name="gpu",
    identities=5000, per_identity=12,
    batch=64, steps=30_000,
    classes=5000, classifier_steps=30_000,
    detector_batch=128, detector_steps=24_000,
    faces=16, pairs=1000,
)  # fmt: skip

_PAPER = Profile(
    name="paper", weights="paper", size=224, model="face-fine",
    encoder="vgg19", classifier="vgg19", detector="resnet50", autoencoder="table1",
    identities=8000, per_identity=20,
    batch=5, steps=200_000, rate=0.1, drawn=224, recognition=0.0,
    classes=8000, classifier_steps=200_000,
    detector_batch=128, detector_steps=38_000, detector_rate=0.1,
    attack_steps=50,
    faces=16, pairs=1000,
)  # fmt: skip

PROFILES = {settings.name: settings for settings in (_SMOKE, _CPU, _GPU, _PAPER)}


def profile(name: str | Profile | None = None) -> Profile:
    """The profile of this name; without a name the one that MOFA_PROFILE names, else `cpu`.

    MOFA_PROFILE is an environment variable; an empty one counts as unset. A profile is given back
    as it is: `replace(profile("paper"), model="model2017.h5")` can stand wherever a name can.

    Raises:
        ValueError: there is no such profile.
    Examples:
        >>> from mofa_lib import profile
        >>> settings = profile("cpu")
        >>> settings.size, settings.encoder
        (224, 'tiny')
    """
    if name is None:
        name = os.environ.get("MOFA_PROFILE") or "cpu"
    if isinstance(name, Profile):
        return name
    if not isinstance(name, str) or name not in PROFILES:
        raise ValueError(f"There is no profile {name!r}: choose one of {', '.join(PROFILES)}.")
    return PROFILES[name]


def device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bfloat16() -> bool:
    """Whether the CPU multiplies in bfloat16 (AVX-512). One that does not emulates it, slowly."""
    return torch.cpu.get_capabilities().get("avx512_bf16", False)

"""What is trained: network, pictures, loss, optimiser and schedule of every task.

Derived in chapters 6, 8 and 10.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm

from mofa_lib import autoencoder, detector, identity
from mofa_lib.artifacts import digest
from mofa_lib.face_data import RenderedFaces
from mofa_lib.faces import Faces
from mofa_lib.judges import load_judge
from mofa_lib.losses import LossWeights
from mofa_lib.profiles import Profile
from mofa_lib.training.batches import Codes, Pictures
from mofa_lib.training.objectives import (
    DetectorObjective,
    IdentityObjective,
    MoFAObjective,
    Objective,
)
from mofa_lib.training.recognition import Recognition, mean_embeddings


@dataclass(frozen=True)
class Task:
    """What is trained, on what, and how.

    Attributes:
        objective: the network with its loss.
        data: gives a whole batch, the objective's arguments, to a list of indices.
        batch: pictures in a step, of all processes together.
        steps: number of steps.
        optimizer, schedule: stepped once each step.
        metadata: what a checkpoint must have been made from, and what the weights will say of
            themselves.
    """

    objective: Objective
    data: Dataset
    batch: int
    steps: int
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    metadata: dict


def make_task(
    what: str,
    chosen: Profile,
    seed: int = 0,
    steps: int | None = None,
    faces: Faces | None = None,
    weights: Mapping[str, float] | None = None,
) -> Task:
    """The task of this name in a profile: mofa, identity, face_identity or detector.

    Args:
        what: the task's name.
        chosen: the profile.
        seed: of the network's first weights and of the faces.
        steps: instead of the profile's number.
        faces: instead of the profile's rendered faces.
        weights: of some of the loss's terms by name, in place of the profile's; for mofa only.
    Raises:
        ValueError: there is no such task.
    """
    if what not in TASKS:
        raise ValueError(
            f"There is nothing to train by the name {what!r}: choose {', '.join(TASKS)}."
        )
    torch.manual_seed(seed)
    if faces is None:
        faces = rendered_faces(what, chosen, seed)
        metadata = {"recipe": faces.recipe}
    else:  # what tells photographs from as many others
        metadata = {"landmarks": digest({"landmarks": faces.landmarks})}
    settings = replace(chosen, identities=int(faces.identities.max()) + 1)
    plan = _PLANS[what](settings, faces, weights)
    steps = plan.steps if steps is None else steps
    batch = batch_size(what, settings)
    metadata |= {"data": describe(faces), "batch": batch, "rate": plan.rate}
    optimizer, schedule = _optimizer(plan.objective.network, what, settings, plan.rate, steps)
    return Task(
        objective=plan.objective,
        data=plan.data,
        batch=batch,
        steps=steps,
        optimizer=optimizer,
        schedule=schedule,
        metadata=metadata | plan.metadata,
    )


@dataclass(frozen=True)
class _Plan:
    """What is special about a task.

    Attributes:
        objective: the network with its loss.
        data: what it sees.
        steps: number of steps, if nobody asks for another.
        rate: the largest learning rate.
        metadata: what else the weights will say of themselves.
    """

    objective: Objective
    data: Dataset
    steps: int
    rate: float
    metadata: dict = field(default_factory=dict)


def _plan_mofa(settings: Profile, faces: Faces, named: Mapping[str, float] | None) -> _Plan:
    network = autoencoder.build(settings, starts_from_imagenet(settings))
    weights = LossWeights(**{"recognition": settings.recognition, **(named or {})})
    recognition = None
    if weights.recognition:
        judge = load_judge("dlib")
        recognition = Recognition(judge, mean_embeddings(judge, faces))
    objective = MoFAObjective(network, weights, settings.drawn, recognition)
    return _Plan(
        objective,
        Pictures(faces),
        steps=settings.steps,
        rate=settings.rate,
        metadata={
            "model": network.model.digest,
            "loss_weights": asdict(objective.weights),
        },
    )


def _plan_identity(settings: Profile, faces: Faces, weights: None) -> _Plan:
    mofa = autoencoder.load_pretrained(settings)
    codes = encode_all(mofa, faces)  # (N, Z)

    trunk = identity.CodeTrunk(codes.shape[1])
    trunk.mean = codes.mean(0)
    trunk.deviation = codes.std(0).clamp(min=1e-6)  # a coordinate may be the same in all codes
    network = identity.IdentityClassifier(trunk, settings.identities)
    return _Plan(
        IdentityObjective(network),
        Codes(faces, codes),
        steps=min(settings.steps, 6000),
        rate=1e-3,
        metadata={"model": mofa.model.digest, "mofa": digest(mofa.state_dict())},
    )


def _plan_face_identity(settings: Profile, faces: Faces, weights: None) -> _Plan:
    pretrained = starts_from_imagenet(settings)
    network = identity.build_on_images(settings, pretrained)
    begins_as = {}
    if not pretrained:  # from nothing, so many classes would take days: it begins where MoFA ends
        encoder = autoencoder.load_pretrained(settings).backbone.state_dict()
        network.trunk.backbone.load_state_dict(encoder)
        begins_as = {"begins_as": digest(encoder)}
    return _Plan(
        IdentityObjective(network),
        Pictures(faces),
        steps=settings.classifier_steps,
        rate=1e-4 if pretrained else 5e-4,
        metadata=begins_as,
    )


def _plan_detector(settings: Profile, faces: Faces, weights: None) -> _Plan:
    network = detector.build(settings, starts_from_imagenet(settings))
    return _Plan(
        DetectorObjective(network),
        Pictures(faces),
        steps=settings.detector_steps,
        rate=settings.detector_rate,
    )


# Each makes its plan of a profile, the faces, and the weights of the loss, which only MoFA has.
_PLANS: dict[str, Callable[..., _Plan]] = {
    "mofa": _plan_mofa,
    "identity": _plan_identity,
    "face_identity": _plan_face_identity,
    "detector": _plan_detector,
}
TASKS = tuple(_PLANS)


def batch_size(what: str, settings: Profile) -> int:
    """Pictures in a step of a task, of all processes together."""
    sizes = {
        "mofa": settings.batch,
        "identity": 256,
        "face_identity": 2 * settings.batch,
        "detector": settings.detector_batch,
    }
    return sizes[what]


def starts_from_imagenet(settings: Profile) -> bool:
    """Whether the backbones begin with ImageNet's weights."""
    return settings.name == "paper"


def people(what: str, chosen: Profile) -> int:
    """How many a profile trains a network on."""
    return chosen.classes if what in ("face_identity", "detector") else chosen.identities


def rendered_faces(what: str, chosen: Profile, seed: int = 0) -> RenderedFaces:
    """The pictures that a profile trains a network on."""
    count = people(what, chosen) * chosen.per_identity
    return RenderedFaces("train", count, seed, chosen.size, per_identity=chosen.per_identity)


def describe(faces: Faces) -> str:
    """How many pictures of how many people, for the metadata of weights."""
    people = int(faces.identities.max()) + 1
    return f"{len(faces)} pictures of {people} people, {type(faces).__name__}"


@torch.no_grad()
def encode_all(mofa: autoencoder.MoFA, faces: Faces) -> Float[Tensor, "N Z"]:
    """The codes of all pictures of a data set, as vectors, on the CPU."""
    place = next(mofa.parameters()).device
    starts = range(0, len(faces), 100)
    codes = []
    for start in tqdm(starts, desc="encoding", disable=len(faces) < 2000):
        images = faces.batch(slice(start, start + 100)).to(place)  # (100, 3, H, W)
        codes.append(mofa.encode(images).to_vector().cpu())  # (100, Z)
    return torch.cat(codes)


def _optimizer(
    network: nn.Module, what: str, settings: Profile, rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The paper's optimisers in its profile; elsewhere AdamW, in one cycle of rate and β₁."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer: torch.optim.Optimizer
    if settings.name == "paper" and what == "mofa":
        optimizer = torch.optim.Adadelta(parameters, lr=rate)
        return optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    if settings.name == "paper" and what == "detector":
        optimizer = torch.optim.SGD(parameters, lr=rate, momentum=0.9)
        return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, max(1, steps // 3), 0.5)

    decay = 1e-2 if "identity" in what else 0.0
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        rate,
        total_steps=steps + 1,  # then the cosine ends after the last step
        pct_start=0.05,
    )
    return optimizer, schedule

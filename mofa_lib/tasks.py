"""What is trained: network, pictures, loss, optimiser and schedule of every task. Derived in chapters 6, 8 and 10."""

from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm

from mofa_lib import autoencoder, detector, identity
from mofa_lib.artifacts import digest, load_weights
from mofa_lib.batches import Codes, Faces, Pictures
from mofa_lib.face_data import RenderedFaces
from mofa_lib.losses import LossWeights
from mofa_lib.objectives import DetectorObjective, IdentityObjective, MoFAObjective, Objective
from mofa_lib.photo_session import recipe
from mofa_lib.profiles import Profile

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
        faces = rendered_faces(chosen, seed)
    chosen = replace(chosen, identities=int(faces.identities.max()) + 1)
    data = Pictures(faces)
    batch, of_steps, rate = chosen.batch, chosen.steps, chosen.rate
    pretrained = chosen.name in ("gpu", "paper")
    metadata["data"] = describe(faces)
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


def rendered_faces(chosen: Profile, seed: int = 0) -> RenderedFaces:
    """The pictures that a profile trains on."""
    count = chosen.identities * chosen.per_identity
    return RenderedFaces("train", count, seed, chosen.size, per_identity=chosen.per_identity)


def describe(faces: Faces) -> str:
    """How many pictures of how many people, for the metadata of weights."""
    return f"{len(faces)} pictures of {int(faces.identities.max()) + 1} people, {type(faces).__name__}"


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

"""What each network is trained for: a batch of faces in, named terms out.

Derived in chapters 6, 8 and 10.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from mofa_lib import losses
from mofa_lib.autoencoder import MoFA
from mofa_lib.detector import reconstruction_loss
from mofa_lib.renderer import FaceRenderer
from mofa_lib.training.batches import Batch
from mofa_lib.training.recognition import Recognition


class Objective(nn.Module):
    """A network with its loss: maps a batch to named terms, of which "loss" is minimised."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network


class MoFAObjective(Objective):
    """The terms of chapter 6; a weight of zero leaves a term out.

    Args:
        network: the MoFA that is trained.
        weights: of the terms.
        side: at which faces are drawn and compared with averaged pictures, pixels; by default the
            network's own.
        recognition: the term in which a judge takes part.
    """

    def __init__(
        self,
        network: MoFA,
        weights: losses.LossWeights | None = None,
        side: int | None = None,
        recognition: Recognition | None = None,
    ):
        super().__init__(network)
        self.weights = weights or losses.LossWeights()
        self.renderer = FaceRenderer(network.model, side or network.size)
        self.recognition = recognition

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        weights, side = self.weights, self.renderer.size
        code = self.network.encode(batch.faces)
        rendering = self.network.decode(code, self.renderer)
        pictures, skin, landmarks = _averaged(batch, side)

        photometric = losses.photometric(rendering, pictures, skin).mean()
        landmark = losses.landmark(rendering.landmarks, landmarks, side).mean()
        statistical = losses.statistical(code, weights).mean()
        terms = {
            "loss": weights.photometric * photometric + weights.landmark * landmark + statistical,
            "photometric": photometric,
            "landmark_px": landmark * self.network.size,
            "statistical": statistical,
        }
        if self.recognition is not None:
            recognition = self.recognition(rendering, landmarks, batch.identities).mean()
            terms["loss"] = terms["loss"] + weights.recognition * recognition
            terms["recognition"] = recognition
        return terms


def _averaged(batch: Batch, side: int) -> tuple[Tensor, Tensor | None, Tensor]:
    """Pictures, skin and landmarks of a batch as they are in pictures of this side."""
    factor = batch.faces.shape[-1] / side
    if factor == 1:
        return batch.faces, batch.skin, batch.landmarks
    pictures = F.interpolate(batch.faces, side, mode="area")
    skin = None if batch.skin is None else F.interpolate(batch.skin[:, None], side, mode="area")
    return pictures, None if skin is None else skin[:, 0], batch.landmarks / factor


class DetectorObjective(Objective):
    """Eq. 2: the mean over the batch."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        drawn = self.network(batch.faces)  # (B, 3, H, W)
        return {
            "loss": reconstruction_loss(batch.faces, drawn).mean(),
            "mean_error": (drawn - batch.faces).abs().mean(),
        }


class IdentityObjective(Objective):
    """Cross-entropy over the training identities."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.network(batch.faces)  # (B, identities)
        right = logits.argmax(1) == batch.identities  # (B,)
        return {
            "loss": F.cross_entropy(logits, batch.identities),
            "top1": right.float().mean(),
        }

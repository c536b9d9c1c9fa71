"""What each network is trained for: a batch of faces in, named terms out.

Derived in chapters 6, 8 and 10.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from mofa_lib.detector import reconstruction_loss
from mofa_lib.training import losses
from mofa_lib.training.batches import Batch


class Objective(nn.Module):
    """A network with its loss: maps a batch to named terms, of which "loss" is minimised."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network


class MoFAObjective(Objective):
    """The three terms of chapter 6; a weight of zero leaves a term out.

    Args:
        network: the MoFA that is trained.
        weights: of the terms.
    """

    def __init__(self, network: nn.Module, weights: losses.LossWeights | None = None):
        super().__init__(network)
        self.weights = weights or losses.LossWeights()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        weights = self.weights
        size = self.network.size
        code = self.network.encode(batch.faces)
        rendering = self.network.decode(code)

        photometric = losses.photometric(rendering, batch.faces, batch.skin).mean()
        landmark = losses.landmark(rendering.landmarks, batch.landmarks, size).mean()
        statistical = losses.statistical(code, weights).mean()
        return {
            "loss": weights.photometric * photometric + weights.landmark * landmark + statistical,
            "photometric": photometric,
            "landmark_px": landmark * size,
            "statistical": statistical,
        }


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

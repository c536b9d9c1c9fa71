"""What each network is trained for: a batch of faces in, named terms out. Derived in chapters 6, 8 and 10."""

from torch import Tensor, nn
from torch.nn import functional as F

from mofa_lib import detector, losses


class Objective(nn.Module):
    """A network with its loss: maps a batch to named terms, of which "loss" is minimised.

    A batch is pictures (or codes), landmarks, skin (1 where a picture shows the bare face) and identities.
    """

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

    def forward(
        self, images: Tensor, landmarks: Tensor, skin: Tensor | None = None, identities: Tensor | None = None
    ) -> dict[str, Tensor]:
        weights, size = self.weights, self.network.size
        code = self.network.encode(images)
        rendering = self.network.decode(code)
        photometric = losses.photometric(rendering, images, skin).mean()
        landmark = losses.landmark(rendering.landmarks, landmarks, size).mean()
        statistical = losses.statistical(code, weights).mean()
        loss = weights.photometric * photometric + weights.landmark * landmark + statistical
        return {
            "loss": loss,
            "photometric": photometric,
            "landmark_px": landmark * size,
            "statistical": statistical,
        }


class DetectorObjective(Objective):
    """Eq. 2."""

    def forward(self, images: Tensor, landmarks: Tensor, skin: Tensor | None, identities: Tensor) -> dict[str, Tensor]:
        drawn = self.network(images)
        loss = detector.reconstruction_loss(images, drawn).mean()
        return {"loss": loss, "mean_error": (drawn - images).abs().mean()}


class IdentityObjective(Objective):
    """Cross-entropy over the training identities."""

    def forward(self, faces: Tensor, landmarks: Tensor, skin: Tensor | None, identities: Tensor) -> dict[str, Tensor]:
        logits = self.network(faces)
        return {"loss": F.cross_entropy(logits, identities), "top1": (logits.argmax(1) == identities).float().mean()}

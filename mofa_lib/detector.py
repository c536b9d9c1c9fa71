"""An autoencoder that has only seen normal faces, and the scores by which an attack shows. Derived in chapter 8."""

import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mofa_lib.artifacts import load_weights
from mofa_lib.autoencoder import PIXEL_MEAN, PIXEL_STD, backbone, check_images, load_pretrained
from mofa_lib.face_code import FaceCode
from mofa_lib.identity import IdentityClassifier, load_identity
from mofa_lib.linear_autoencoder import LinearAutoencoder
from mofa_lib.profiles import Profile, device, profile

LATENT = 1024
CHANNELS = {112: (256, 128, 128, 64, 3), 224: (256, 128, 128, 64, 32, 3)}  # of the deconvolutions, Table 1


class ReformingAutoencoder(nn.Module):
    """Table 1: a ResNet to 1024 numbers, and transposed convolutions back to the image.

    The chain of sizes is 2, 7, 14, 28, 56, 112 (and 224 in the paper).

    Args:
        size: 112 or 224.
        encoder: resnet18 or resnet50 (the paper's).
        pretrained: start the encoder from ImageNet's weights.
    Source: Teng 2021, Table 1; derived in chapter 8.
    """

    def __init__(self, size: int = 112, encoder: str = "resnet18", pretrained: bool = False):
        super().__init__()
        if size not in CHANNELS:
            raise ValueError(f"Table 1's chain gives the sizes 112 and 224, not {size}.")
        self.size = size
        self.backbone, features = backbone(encoder, pretrained)
        self.latent = nn.Linear(features, LATENT)
        layers, inside = [], 256
        for i, outside in enumerate(CHANNELS[size]):
            layers.append(nn.ConvTranspose2d(inside, outside, 7 if i == 0 else 4, stride=2, padding=1))
            if outside != 3:
                layers += [nn.BatchNorm2d(outside), nn.ReLU(inplace=True)]
            inside = outside
        self.decoder = nn.Sequential(*layers, nn.Sigmoid())
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD)[:, None, None], persistent=False)

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1024"]:
        """h(I), the picture in 1024 numbers."""
        check_images(images, self.size)
        normal = ((images - self.pixel_mean) / self.pixel_std).contiguous(memory_format=torch.channels_last)
        return self.latent(self.backbone(normal))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """g(h(I)): the nearest thing to the picture that the autoencoder can draw."""
        latent = self.encode(images)
        drawn = self.decoder(latent.unflatten(1, (256, 2, 2)).contiguous(memory_format=torch.channels_last))
        return drawn.float().clamp(0, 1)


def reconstruction_loss(images: Float[Tensor, "B 3 H W"], drawn: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """Eq. 2 for each picture: the ℓ2 norm, not squared, with a small floor in the root.

    Source: Teng 2021, Eq. 2; derived in chapter 8.
    """
    return ((images - drawn).square().sum((1, 2, 3)) + 1e-6).sqrt()


def jensen_shannon(p: Float[Tensor, "B N"], q: Float[Tensor, "B N"]) -> Float[Tensor, " B"]:
    """Jensen–Shannon divergence of probability rows, in nats, between 0 and ln 2.

    Source: Teng 2021, Eq. 4 to 6; derived in chapter 8.
    """
    middle = (p + q) / 2
    divergence = sum((x * (x.clamp(min=1e-12) / middle.clamp(min=1e-12)).log()).sum(1) for x in (p, q)) / 2
    return divergence.clamp(0.0, math.log(2))


class Detector(nn.Module):
    """Decides whether a picture was tampered with, from what an autoencoder makes of it.

    Args:
        reconstruct: anything that maps images to images.
        classifier: f, the identity classifier whose opinions before and after are compared.
        encode: maps images to the codes that `classifier` reads.
        temperature: of the softmax in the JS score.
    Source: Teng 2021, section 3.3; the JS score is MagNet's (Meng and Chen 2017).
    """

    def __init__(
        self, reconstruct: Callable, classifier: IdentityClassifier, encode: Callable, temperature: float = 1.0
    ):
        super().__init__()
        self.reconstruct, self.classifier, self.encode = reconstruct, classifier, encode
        self.temperature = temperature

    def scores(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Float[Tensor, " B"]]:
        """Scores by name, a number for each picture; the higher, the more suspicious.

        l1, l2 and linf are plain norms of the difference to the reconstruction (Eq. 3), js the divergence of f's
        opinions (Eq. 4–6), cosine one minus the similarity of f's features.

        Source: Teng 2021, Table 2, whose columns they are; derived in chapter 8, used in chapter 11.
        """
        drawn = self.reconstruct(images)
        return self.compare(images, drawn, self.encode(images), self.encode(drawn))

    def compare(
        self, images: Tensor, drawn: Tensor, before: FaceCode | Tensor, after: FaceCode | Tensor
    ) -> dict[str, Float[Tensor, " B"]]:
        """The scores, from pictures, their reconstructions and the codes of both.

        Source: Teng 2021, Eq. 3; derived in chapter 8.
        """
        difference = (images - drawn).flatten(1)
        p, q = (F.softmax(self.classifier(code) / self.temperature, 1) for code in (before, after))
        features = (self.classifier.features(code) for code in (before, after))
        return {
            "l1": difference.norm(1, 1),
            "l2": difference.norm(2, 1),
            "linf": difference.norm(torch.inf, 1),
            "js": jensen_shannon(p, q),
            "cosine": 1 - F.cosine_similarity(*features, dim=1),
        }


def calibrate(benign: Float[Tensor, " N"], false_positives: float = 0.05) -> float:
    """The threshold that at most this share of new benign scores will exceed, without looking at an attack.

    It is the ⌈(n+1)(1−α)⌉-th smallest calibration score (split conformal prediction).

    Raises:
        ValueError: too few scores for so small a rate.
    """
    rank = math.ceil((len(benign) + 1) * (1 - false_positives) - 1e-9)  # 55.000000000000004 means 55
    if not 1 <= rank <= len(benign):
        raise ValueError(
            f"{len(benign)} calibration scores cannot fix a rate of {false_positives}: "
            f"take at least {math.ceil(1 / max(false_positives, 1e-9)) - 1}."
        )
    return float(benign.sort().values[rank - 1])


def flagged(scores: Mapping[str, Tensor], thresholds: Mapping[str, float]) -> dict[str, Tensor]:
    """Which pictures each score calls attacked."""
    return {name: scores[name] > threshold for name, threshold in thresholds.items()}


def load_detector(name: str | Profile = "cpu", autoencoder: str | None = None) -> Detector:
    """The detector with its trained autoencoder and identity classifier.

    Args:
        name: a profile or its name.
        autoencoder: `table1`, or `linear` (a `LinearAutoencoder`), which draws better where there was little time to
            train; without it, the one that the profile recommends.
    Raises:
        FileNotFoundError, ValueError: as `load_pretrained`.
    """
    chosen = profile(name)
    autoencoder = autoencoder or chosen.autoencoder
    if autoencoder not in ("table1", "linear"):
        raise ValueError(f"There is no autoencoder {autoencoder!r}: choose table1 or linear.")
    reform = build(chosen) if autoencoder == "table1" else LinearAutoencoder(chosen.size)
    what = "detector" if autoencoder == "table1" else "linear_autoencoder"
    reform.load_state_dict(load_weights(what, chosen.weights, size=chosen.size)[0])
    reform.eval().requires_grad_(False).to(device())
    return Detector(reform, load_identity(name), load_pretrained(name).encode)


def build(chosen: Profile, pretrained: bool = False) -> ReformingAutoencoder:
    """Table 1's autoencoder as a profile wants it, untrained."""
    return ReformingAutoencoder(chosen.size, chosen.detector, pretrained)

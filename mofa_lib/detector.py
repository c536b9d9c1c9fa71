"""An autoencoder that has only seen normal faces, and the scores by which an attack shows.

Derived in chapter 8.
"""

import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mofa_lib.autoencoder import load_pretrained
from mofa_lib.backbones import backbone, normalized
from mofa_lib.face_code import FaceCode
from mofa_lib.faces import check_images
from mofa_lib.identity import IdentityClassifier, cosine_similarity, load_identity
from mofa_lib.inputs import check_finite, standard_torch, takes_arrays
from mofa_lib.linear_autoencoder import LATENT, LinearAutoencoder
from mofa_lib.profiles import Profile, profile
from mofa_lib.weights import load_weights, with_weights

# Table 1: kernel and channels of each transposed convolution; all have stride 2 and padding 1. The
# side of the map grows from 2 to 7, 14, 28, 56, 112, 224.
TABLE_1 = [(7, 256), (4, 128), (4, 128), (4, 64), (4, 32), (4, 3)]


class ReformingAutoencoder(nn.Module):
    """Table 1: a ResNet to 1024 numbers, and transposed convolutions back to the image.

    The chain of sizes is 2, 7, 14, 28, 56, 112, 224.

    Args:
        encoder: name of the backbone, see `backbone`; resnet50 is the paper's.
        pretrained: start the encoder from ImageNet's weights.
    Source: Teng 2021, Table 1; derived in chapter 8.
    """

    size = 224  # pixels

    def __init__(self, encoder: str = "tiny", pretrained: bool = False):
        super().__init__()
        self.backbone, features = backbone(encoder, pretrained)
        self.latent = nn.Linear(features, LATENT)  # 256 channels of 2 × 2

        layers, inside = [], LATENT // 4  # channels of the 2 × 2 map
        for kernel, outside in TABLE_1:
            layers.append(nn.ConvTranspose2d(inside, outside, kernel, stride=2, padding=1))
            if outside != 3:  # not behind the last, which draws the picture
                layers += [nn.BatchNorm2d(outside), nn.ReLU(inplace=True)]
            inside = outside
        self.decoder = nn.Sequential(*layers, nn.Sigmoid())

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1024"]:
        """h(I), the picture in 1024 numbers."""
        check_images(images, self.size)
        features = self.backbone(normalized(images, self.latent.weight.dtype))  # (B, F)
        return self.latent(features)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """g(h(I)): the nearest thing to the picture that the autoencoder can draw."""
        small = self.encode(images).unflatten(1, (LATENT // 4, 2, 2))  # (B, 256, 2, 2)
        drawn = self.decoder(small.contiguous(memory_format=torch.channels_last))  # (B, 3, H, W)
        return drawn.float().clamp(0, 1)


@takes_arrays
def reconstruction_loss(
    images: Float[Tensor, "B 3 H W"], drawn: Float[Tensor, "B 3 H W"]
) -> Float[Tensor, " B"]:
    """Eq. 2 for each picture: the ℓ2 norm, not squared, with a small floor in the root.

    Source: Teng 2021, Eq. 2; derived in chapter 8.
    """
    squares = (images - drawn).square().sum((1, 2, 3))
    return (squares + 1e-6).sqrt()  # Eq. 2; at 0 the root has no derivative


@takes_arrays
def reconstruction_error(
    images: Float[Tensor, "B 3 H W"], drawn: Float[Tensor, "B 3 H W"], p: float
) -> Float[Tensor, " B"]:
    """The plain p-norm of the difference between each picture and its reconstruction.

    Args:
        images: RGB in [0, 1].
        drawn: their reconstructions.
        p: 1, 2 or infinity.
    Source: Teng 2021, Eq. 3; derived in chapter 8.
    """
    return (images - drawn).flatten(1).norm(p, 1)  # Eq. 3


@takes_arrays
def kullback_leibler(p: Float[Tensor, "B N"], q: Float[Tensor, "B N"]) -> Float[Tensor, " B"]:
    """Kullback–Leibler divergence of probability rows, in nats; with a floor for log 0.

    Source: Teng 2021, Eq. 5; derived in chapter 8.
    """
    return (p * (p.clamp(min=1e-12) / q.clamp(min=1e-12)).log()).sum(1)  # Eq. 5


@takes_arrays
def jensen_shannon(p: Float[Tensor, "B N"], q: Float[Tensor, "B N"]) -> Float[Tensor, " B"]:
    """Jensen–Shannon divergence of probability rows, in nats, between 0 and ln 2.

    Source: Teng 2021, Eq. 4 and 6; derived in chapter 8.
    """
    middle = (p + q) / 2  # Eq. 6
    divergence = (kullback_leibler(p, middle) + kullback_leibler(q, middle)) / 2  # Eq. 4
    return divergence.clamp(0.0, math.log(2))


class Detector(nn.Module):
    """Decides whether a picture was tampered with, from what an autoencoder makes of it.

    Args:
        reconstruct: anything that maps images to images.
        classifier: f, the identity classifier whose opinions before and after are compared.
        encode: maps images to the codes that `classifier` reads.
        temperature: of the softmax in the JS score.
    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from mofa_lib import Detector, IdentityClassifier
        >>> def blur(images):  # stands for an autoencoder
        ...     return torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1)
        >>> trunk = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 256))
        >>> opinions = IdentityClassifier(trunk, identities=5).eval()
        >>> detector = Detector(blur, opinions, encode=lambda images: images)
        >>> scores = detector.scores(torch.rand(4, 3, 8, 8))
        >>> {name: tuple(score.shape) for name, score in scores.items()}
        {'l1': (4,), 'l2': (4,), 'linf': (4,), 'js': (4,), 'cosine': (4,)}

    Source: Teng 2021, section 3.3; the JS score is MagNet's (Meng and Chen 2017).
    """

    def __init__(
        self,
        reconstruct: Callable,
        classifier: IdentityClassifier,
        encode: Callable,
        temperature: float = 1.0,
    ):
        super().__init__()
        self.reconstruct = reconstruct
        self.classifier = classifier
        self.encode = encode
        self.temperature = temperature

    def scores(
        self, images: Float[Tensor, "B 3 H W"], code: FaceCode | Tensor | None = None
    ) -> dict[str, Float[Tensor, " B"]]:
        """Scores by name, a number for each picture; the higher, the more suspicious.

        l1, l2 and linf are plain norms of the difference to the reconstruction (Eq. 3), js the
        divergence of f's opinions (Eq. 4–6), cosine one minus the similarity of f's features.

        Args:
            code: what `encode` makes of the images, where that is known already.
        Source: Teng 2021, Table 2, whose columns they are; derived in chapter 8.
        """
        check_images(images)
        drawn = self.reconstruct(images)
        before = self.encode(images) if code is None else code
        return self.compare(images, drawn, before, self.encode(drawn))

    def compare(
        self, images: Tensor, drawn: Tensor, before: FaceCode | Tensor, after: FaceCode | Tensor
    ) -> dict[str, Float[Tensor, " B"]]:
        """The scores, from pictures, their reconstructions and the codes of both."""
        f = self.classifier
        p = F.softmax(f(before) / self.temperature, 1)
        q = F.softmax(f(after) / self.temperature, 1)
        return {
            "l1": reconstruction_error(images, drawn, 1),
            "l2": reconstruction_error(images, drawn, 2),
            "linf": reconstruction_error(images, drawn, torch.inf),
            "js": jensen_shannon(p, q),
            "cosine": 1 - cosine_similarity(f.features(before), f.features(after)),
        }


def calibrate(benign: Float[Tensor, " N"], false_positives: float = 0.05) -> float:
    """The threshold that at most this share of new benign scores will exceed.

    It is the ⌈(n+1)(1−α)⌉-th smallest calibration score (split conformal prediction), chosen
    without looking at an attack.

    Args:
        benign: scores of pictures that nobody attacked and that the training has not seen.
        false_positives: α, the share.
    Raises:
        ValueError: too few scores for so small a rate, or one that is not finite.
    """
    benign = torch.as_tensor(benign)
    check_finite("Calibration scores", benign)
    if not 0 < false_positives < 1:
        raise ValueError(f"A rate of false positives lies between 0 and 1, got {false_positives}.")
    # A little less, because 55.000000000000004 means 55.
    rank = math.ceil((len(benign) + 1) * (1 - false_positives) - 1e-9)
    if not 1 <= rank <= len(benign):
        least = math.ceil(1 / false_positives) - 1
        raise ValueError(
            f"{len(benign)} calibration scores cannot fix a rate of {false_positives}: "
            f"take at least {least}."
        )
    return float(benign.sort().values[rank - 1])


def calibrate_together(
    benign: Mapping[str, Float[Tensor, " N"]], false_positives: float = 0.05
) -> dict[str, float]:
    """Thresholds of several scores, so that about this share of new pictures raises *any* alarm.

    Each lies at the same rank among its own scores. Which rank that is, the highest rank of each
    picture says.

    Args:
        benign: scores by name, all of the same pictures.
        false_positives: α, the share that exceeds any of the thresholds.
    Raises:
        ValueError: as `calibrate`.
    """
    for name, scores in benign.items():
        check_finite(f"Calibration scores {name}", scores)
    ranks = torch.stack([scores.argsort().argsort() for scores in benign.values()])  # (K, N)
    rank = int(calibrate(ranks.amax(0).float(), false_positives))
    return {name: float(scores.sort().values[rank]) for name, scores in benign.items()}


def flagged(
    scores: Mapping[str, Float[Tensor, " B"]], thresholds: Mapping[str, float]
) -> dict[str, Bool[Tensor, " B"]]:
    """Which pictures each score that has a threshold calls attacked: those above it.

    Raises:
        ValueError: a score or a threshold is NaN.
    """
    calls = {}
    for name, threshold in thresholds.items():
        if scores[name].isnan().any() or math.isnan(threshold):
            raise ValueError(f"The scores {name} or their threshold are not numbers (NaN).")
        calls[name] = scores[name] > threshold
    return calls


@standard_torch()
def load_detector(name: str | Profile = "cpu", autoencoder: str | None = None) -> Detector:
    """The detector with its trained autoencoder and identity classifier.

    `reconstruct.weights` and `classifier.weights` say which files were loaded.

    Args:
        name: a profile or its name.
        autoencoder: `table1`, or `linear` (a `LinearAutoencoder`), which draws better where there
            was little time to train; without it, the one that the profile recommends.
    Raises:
        FileNotFoundError, ValueError: as `load_pretrained`.
    Examples:
        >>> import torch
        >>> from mofa_lib import load_detector
        >>> detector = load_detector("cpu")
        >>> images = torch.rand(2, 3, 224, 224).to(detector.classifier.last.weight.device)
        >>> list(detector.scores(images))
        ['l1', 'l2', 'linf', 'js', 'cosine']
    """
    settings = profile(name)
    autoencoder = autoencoder or settings.autoencoder
    if autoencoder == "table1":
        reform, trained = build(settings), "detector"
    elif autoencoder == "linear":
        reform, trained = LinearAutoencoder(settings.size), "linear_autoencoder"
    else:
        raise ValueError(f"There is no autoencoder {autoencoder!r}: choose table1 or linear.")

    with_weights(reform, *load_weights(trained, settings))
    return Detector(reform, load_identity(name), load_pretrained(name).encode)


def build(chosen: Profile, pretrained: bool = False) -> ReformingAutoencoder:
    """Table 1's autoencoder as a profile wants it, untrained."""
    return ReformingAutoencoder(chosen.detector, pretrained)

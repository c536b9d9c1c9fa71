"""Who is it? Softmax over training identities, on codes and on images; cosine similarity. Derived in chapter 10."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mofa_lib.artifacts import digest, load_weights
from mofa_lib.autoencoder import PIXEL_MEAN, PIXEL_STD, backbone, check_images
from mofa_lib.face_code import FaceCode
from mofa_lib.model_files import load_morphable_model
from mofa_lib.profiles import Profile, device, profile

WIDTH = 256


class IdentityClassifier(nn.Module):
    """f: a trunk that makes features, and a softmax over the identities of the training set.

    Args:
        trunk: maps codes or images to features (B, 256).
        identities: number of people in the training set.
    Source: Teng 2021, section 4.3; derived in chapter 10.
    """

    def __init__(self, trunk: nn.Module, identities: int):
        super().__init__()
        self.trunk = trunk
        self.last = nn.Linear(WIDTH, identities)

    def features(self, faces: FaceCode | Tensor) -> Float[Tensor, "B 256"]:
        """Penultimate features, on which faces are compared."""
        return self.trunk(faces)

    def forward(self, faces: FaceCode | Tensor) -> Float[Tensor, "B N"]:
        """Logits of the training identities."""
        return self.last(F.dropout(torch.relu(self.trunk(faces)), 0.3, self.training))


class CodeTrunk(nn.Module):
    """Features from the semantic vector z, standardised over the training set."""

    def __init__(self, length: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(length))
        self.register_buffer("deviation", torch.ones(length))
        self.layers = nn.Sequential(nn.Linear(length, 512), nn.ReLU(), nn.Dropout(0.3), nn.Linear(512, WIDTH))

    def forward(self, code: FaceCode | Tensor) -> Tensor:
        z = code.to_vector() if isinstance(code, FaceCode) else code
        return self.layers((z - self.mean) / self.deviation)


class ImageTrunk(nn.Module):
    """Features straight from the picture, without a face model."""

    def __init__(self, size: int, encoder: str, pretrained: bool = False):
        super().__init__()
        self.size = size
        self.backbone, features = backbone(encoder, pretrained)
        self.embed = nn.Linear(features, WIDTH)
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.size)
        normal = (images - self.pixel_mean) / self.pixel_std
        return self.embed(self.backbone(normal.contiguous(memory_format=torch.channels_last))).float()


def cosine_similarity(a: Float[Tensor, "B N"], b: Float[Tensor, "B N"]) -> Float[Tensor, " B"]:
    """Eq. 8: the cosine of the angle between the features of two faces.

    Source: Teng 2021, Eq. 8; derived in chapter 10.
    """
    return F.cosine_similarity(a, b, dim=1)


def verification_pairs(identities: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine similarities of all pairs of pictures: of the same person, and of different people."""
    unit = F.normalize(features, dim=1)
    similar = unit @ unit.T
    same = identities[:, None] == identities[None]
    above = torch.ones_like(same).triu(1)
    return similar[same & above], similar[~same & above]


def equal_error_threshold(same: Float[Tensor, " S"], different: Float[Tensor, " D"]) -> tuple[float, float]:
    """The similarity at which as many friends are refused as strangers let in, and that error rate."""
    candidates = torch.cat([same, different]).unique()
    refused = torch.searchsorted(same.sort().values, candidates) / len(same)
    let_in = 1 - torch.searchsorted(different.sort().values, candidates) / len(different)
    best = int((refused - let_in).abs().argmin())
    return float(candidates[best]), float((refused[best] + let_in[best]) / 2)


def load_identity(name: str | Profile = "cpu", on: str = "codes") -> IdentityClassifier:
    """A trained identity classifier, in eval mode.

    Args:
        name: a profile or its name.
        on: "codes" reads MoFA's codes, "images" reads pictures.
    Raises:
        FileNotFoundError, ValueError: as `load_pretrained`.
    """
    what = {"codes": "identity", "images": "face_identity"}
    if on not in what:
        raise ValueError(f'An identity classifier reads "codes" or "images", not {on!r}.')
    chosen = profile(name)
    wanted = {}
    if on == "codes":  # of one face model and one encoder
        mofa = digest(load_weights("mofa", chosen.weights)[0])
        wanted = {"model": load_morphable_model(chosen.model).digest, "mofa": mofa}
    state, _ = load_weights(what[on], chosen.weights, size=chosen.size, **wanted)
    people = len(state["last.bias"])
    trunk = CodeTrunk(len(state["trunk.mean"])) if on == "codes" else ImageTrunk(chosen.size, chosen.classifier)
    classifier = IdentityClassifier(trunk, people)
    classifier.load_state_dict(state)
    return classifier.eval().requires_grad_(False).to(device())


def build_on_images(chosen: Profile, pretrained: bool = False) -> IdentityClassifier:
    """The classifier of pictures as a profile wants it, untrained."""
    return IdentityClassifier(ImageTrunk(chosen.size, chosen.classifier, pretrained), chosen.identities)


@torch.no_grad()
def in_batches(function: Callable, images: Tensor, batch: int = 50) -> Tensor:
    """`function` of many pictures, some at a time, put together again."""
    return torch.cat([function(images[i : i + batch]) for i in range(0, len(images), batch)])

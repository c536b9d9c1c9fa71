"""Who is it? Softmax over training identities, on codes and on images; cosine similarity.

Derived in chapter 10.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mofa_lib.backbones import backbone, normalized
from mofa_lib.face_code import FaceCode
from mofa_lib.faces import check_images
from mofa_lib.inputs import standard_torch
from mofa_lib.profiles import Profile, profile
from mofa_lib.weights import Weights, load_weights, with_weights

WIDTH = 256  # of the features


class IdentityClassifier(nn.Module):
    """f: a trunk that makes features, and a softmax over the identities of the training set.

    Args:
        trunk: maps codes or images to features (B, 256).
        identities: number of people in the training set.
    Attributes:
        weights: the files that `load_identity` has loaded; None before.
    Source: Teng 2021, section 4.3; derived in chapter 10.
    """

    weights: Weights | None = None

    def __init__(self, trunk: nn.Module, identities: int):
        super().__init__()
        self.trunk = trunk
        self.last = nn.Linear(WIDTH, identities)

    def features(self, faces: FaceCode | Tensor) -> Float[Tensor, "B 256"]:
        """Penultimate features, on which faces are compared."""
        return self.trunk(faces)

    def forward(self, faces: FaceCode | Tensor) -> Float[Tensor, "B N"]:
        """Logits of the training identities."""
        features = torch.relu(self.features(faces))  # (B, 256)
        return self.last(F.dropout(features, 0.3, self.training))


class CodeTrunk(nn.Module):
    """Features from the semantic vector z, standardised over the training set.

    Args:
        length: of z.
    """

    def __init__(self, length: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(length))
        self.register_buffer("deviation", torch.ones(length))
        self.layers = nn.Sequential(
            nn.Linear(length, 512), nn.ReLU(), nn.Dropout(0.3), nn.Linear(512, WIDTH)
        )

    def forward(self, code: FaceCode | Tensor) -> Tensor:
        z = code.to_vector() if isinstance(code, FaceCode) else code
        return self.layers((z - self.mean) / self.deviation)


class ImageTrunk(nn.Module):
    """Features straight from the picture, without a face model.

    Args:
        size: image side in pixels.
        encoder: name of the backbone, see `backbone`.
        pretrained: start the backbone from ImageNet's weights.
    """

    def __init__(self, size: int, encoder: str, pretrained: bool = False):
        super().__init__()
        self.size = size
        self.backbone, features = backbone(encoder, pretrained)
        self.embed = nn.Linear(features, WIDTH)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 256"]:
        check_images(images, self.size)
        features = self.backbone(normalized(images, self.embed.weight.dtype))  # (B, F)
        return self.embed(features).float()


def cosine_similarity(a: Float[Tensor, "B N"], b: Float[Tensor, "B N"]) -> Float[Tensor, " B"]:
    """Eq. 8: the cosine of the angle between the features of two faces.

    Source: Teng 2021, Eq. 8; derived in chapter 10.
    """
    return F.cosine_similarity(a, b, dim=1)  # Eq. 8


def verification_pairs(
    identities: Int[Tensor, " N"], features: Float[Tensor, "N F"]
) -> tuple[Float[Tensor, " S"], Float[Tensor, " D"]]:
    """Cosine similarities of all pairs of pictures: of the same person, and of different people.

    Args:
        identities: who is in each picture.
        features: what is compared.
    Returns:
        Two lists of numbers in [−1, 1]; each pair counts once.
    """
    unit = F.normalize(features, dim=1)
    similar = unit @ unit.T  # (N, N), Eq. 8 for all pairs at once
    same = identities[:, None] == identities[None]
    above = torch.ones_like(same).triu(1)  # each pair once, nobody with themselves
    return similar[same & above], similar[~same & above]


@standard_torch()
def load_identity(name: str | Profile = "cpu", on: str = "codes") -> IdentityClassifier:
    """A trained identity classifier, in eval mode.

    Args:
        name: a profile or its name.
        on: "codes" reads MoFA's codes, "images" reads pictures.
    Raises:
        FileNotFoundError, ValueError: as `load_pretrained`.
    """
    if on not in ("codes", "images"):
        raise ValueError(f'An identity classifier reads "codes" or "images", not {on!r}.')
    settings = profile(name)

    if on == "codes":
        state, weights = load_weights("identity", settings)
        trunk = CodeTrunk(len(state["trunk.mean"]))
    else:
        state, weights = load_weights("face_identity", settings)
        trunk = ImageTrunk(settings.size, settings.classifier)

    classifier = IdentityClassifier(trunk, identities=len(state["last.bias"]))
    return with_weights(classifier, state, weights)


def build_on_images(chosen: Profile, pretrained: bool = False) -> IdentityClassifier:
    """The classifier of pictures as a profile wants it, untrained."""
    trunk = ImageTrunk(chosen.size, chosen.classifier, pretrained)
    return IdentityClassifier(trunk, chosen.identities)

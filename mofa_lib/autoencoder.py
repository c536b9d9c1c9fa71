"""MoFA: an image encoder in front of the renderer. Derived in chapter 6."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mofa_lib.backbones import backbone, normalized
from mofa_lib.face_code import FaceCode, group_sizes
from mofa_lib.faces import check_images
from mofa_lib.inputs import standard_torch, whole
from mofa_lib.model_files import load_morphable_model
from mofa_lib.morphable import MorphableModel
from mofa_lib.profiles import Profile, profile
from mofa_lib.renderer import FaceRenderer, Rendering
from mofa_lib.subdivision import subdivided
from mofa_lib.weights import Weights, load_weights, with_weights

# What one unit of the encoder's output means for pose and light; the model's coefficients are in
# standard deviations.
ROTATION_SCALE = 0.2  # radians
# mm; depth is the hardest to see and needs the largest steps
TRANSLATION_SCALE = (15.0, 15.0, 80.0)
ILLUMINATION_SCALE = 0.4

FINER = 2  # as wide and high as it is shown is what `draw` draws
FINE = 10_000  # vertices; then triangles are smaller than the pixels of a figure


class MoFA(nn.Module):
    """The model-based face autoencoder: `encode` is learnt, decoding is the renderer.

    Args:
        model: the face model.
        size: image side in pixels.
        encoder: name of the backbone, see `backbone`.
        pretrained: start the backbone from ImageNet's weights.
    Attributes:
        weights: the files that `load_pretrained` has loaded; None before.
    Examples:
        >>> import torch
        >>> from mofa_lib import MoFA, load_morphable_model
        >>> mofa = MoFA(load_morphable_model())  # untrained: all is the mean face
        >>> images = torch.rand(2, 3, 224, 224)
        >>> code = mofa.encode(images)
        >>> code.to_vector().shape
        torch.Size([2, 257])
        >>> mofa.decode(code).image.shape
        torch.Size([2, 3, 224, 224])

    Source: Tewari et al. 2017; Teng 2021, section 3.1; derived in chapter 6.
    """

    weights: Weights | None = None

    def __init__(
        self,
        model: MorphableModel,
        size: int = 224,
        encoder: str = "tiny",
        pretrained: bool = False,
    ):
        super().__init__()
        self.model = model
        self.size = whole("size", size, 1)
        self.renderer = FaceRenderer(model, self.size)

        self.backbone, features = backbone(encoder, pretrained)
        self.head = nn.Linear(features, sum(group_sizes(model)))
        nn.init.zeros_(self.head.weight)  # training starts at z = 0, the mean face
        nn.init.zeros_(self.head.bias)

        scales = [  # in the order of the code's groups
            torch.ones(sum(model.sizes)),
            torch.full((3,), ROTATION_SCALE),
            torch.tensor(TRANSLATION_SCALE),
            torch.full((27,), ILLUMINATION_SCALE),  # 3 colours × 9 spherical harmonics
        ]
        self.register_buffer("scales", torch.cat(scales), persistent=False)

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> FaceCode:
        """The code of each picture.

        Args:
            images: aligned faces, RGB in [0, 1].
        Raises:
            TypeError, ValueError: the images have another type, shape or range.
        """
        check_images(images, self.size)
        features = self.backbone(normalized(images, self.head.weight.dtype))  # (B, F)
        z = self.head(features).float() * self.scales  # (B, 257) with the default model
        return FaceCode.from_vector(z, self.model)

    def decode(self, code: FaceCode, renderer: FaceRenderer | None = None) -> Rendering:
        """The renderer in full precision, also inside a mixed-precision training step.

        Args:
            renderer: another one than its own, of another size.
        """
        with torch.autocast(code.shape.device.type, enabled=False):
            return (renderer or self.renderer)(code)

    @torch.no_grad()
    def draw(self, code: FaceCode) -> Rendering:
        """What codes mean, as a figure should show it: the mesh refined, drawn finer, averaged."""
        renderer = FaceRenderer(_refined(self.model, code.shape.device), FINER * self.size)
        return self.decode(code, renderer).averaged(FINER)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Rendering:
        """The reconstruction of each picture."""
        return self.decode(self.encode(images))


@lru_cache(maxsize=2)
def _refined(model: MorphableModel, place: torch.device) -> MorphableModel:
    """The model with four times the triangles, unless it has enough."""
    fine_enough = len(model.mean_shape) > FINE
    return model if fine_enough else subdivided(model).to(place)


@standard_torch()
def load_pretrained(name: str | Profile = "cpu") -> MoFA:
    """MoFA with trained weights, in eval mode, on the GPU where there is one.

    What you trained for this profile and its face model comes before what is shipped, until you
    delete or rename it; the attribute `weights` says which it was.

    Args:
        name: a profile or its name. The weights of `smoke`, `cpu` and `gpu` come with the library;
            those of `paper` are trained by you.
    Raises:
        FileNotFoundError: nobody has trained these weights here; the message names the command that
            does.
        ValueError: the weights belong to another face model, size or profile, or the file is
            damaged.
    Examples:
        >>> import torch
        >>> from mofa_lib import load_pretrained
        >>> mofa = load_pretrained("cpu")
        >>> images = torch.rand(2, 3, mofa.size, mofa.size).to(mofa.scales.device)
        >>> mofa(images).image.shape
        torch.Size([2, 3, 224, 224])
        >>> mofa.weights.made["profile"]
        'cpu'
    """
    settings = profile(name)
    mofa = build(settings)
    return with_weights(mofa, *load_weights("mofa", settings))


def build(chosen: Profile, pretrained: bool = False) -> MoFA:
    """MoFA as a profile wants it, untrained."""
    return MoFA(load_morphable_model(chosen.model), chosen.size, chosen.encoder, pretrained)

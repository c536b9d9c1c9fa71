"""MoFA: an image encoder in front of the renderer. Derived in chapter 6."""

import warnings
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision import models

from mofa_lib.artifacts import load_weights
from mofa_lib.face_code import FaceCode
from mofa_lib.model_files import load_morphable_model
from mofa_lib.morphable import MorphableModel
from mofa_lib.profiles import Profile, device, profile
from mofa_lib.renderer import FaceRenderer, Rendering

# What one unit of the encoder's output means for pose and light; the model's coefficients are in standard deviations.
ROTATION_SCALE = 0.2  # radians
TRANSLATION_SCALE = (15.0, 15.0, 80.0)  # mm; depth is the hardest to see and needs the largest steps
ILLUMINATION_SCALE = 0.4
PIXEL_MEAN, PIXEL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, which the backbones expect


def backbone(name: str, pretrained: bool = False) -> tuple[nn.Module, int]:
    """A network from images to features, and the number of features.

    Args:
        name: small (4 M parameters), tiny (the same at a quarter of the cost), resnet18, resnet50, vgg19 (the paper's)
            or alexnet (MoFA's).
        pretrained: start from ImageNet's weights, which torchvision downloads; not for `small` and `tiny`. Where they
            cannot be had, a warning says so and the start is random.
    """
    if name in ("small", "tiny"):
        return SmallResNet(stride=2 if name == "small" else 4), SmallResNet.features
    if name not in ("resnet18", "resnet50", "vgg19", "alexnet"):
        raise ValueError(f"There is no encoder {name!r}: choose small, tiny, resnet18, resnet50, vgg19 or alexnet.")
    make = getattr(models, name)
    try:
        network = make(weights="DEFAULT" if pretrained else None)
    except OSError as error:  # no network, or no room
        warnings.warn(
            f"ImageNet's weights for {name} cannot be had ({error}), so the encoder starts at random; "
            f"put their file into {Path(torch.hub.get_dir()) / 'checkpoints'} or go online.",
            stacklevel=2,
        )
        network = make()
    if name.startswith("resnet"):
        features = network.fc.in_features
        network.fc = nn.Identity()
        return network, features
    network.classifier = nn.Sequential(*list(network.classifier.children())[:-1])
    return network, 4096


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions around a shortcut. Source: He et al. 2016."""

    def __init__(self, inside: int, outside: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        same = stride == 1 and inside == outside
        self.shortcut = nn.Identity() if same else nn.Conv2d(inside, outside, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class SmallResNet(nn.Sequential):
    """A residual network for CPUs: eight blocks of 32 to 256 channels, then a hidden layer on the 2 × 2 pooled map.

    Args:
        stride: of the first convolution.
    """

    features = 512

    def __init__(self, stride: int):
        widths = [32, 32, 64, 64, 128, 128, 256, 256]
        blocks = [
            ResidualBlock(inside, outside, 1 if inside == outside else 2)
            for inside, outside in zip([32, *widths], widths, strict=False)
        ]
        super().__init__(
            nn.Conv2d(3, 32, 5, stride, 2, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            *blocks,
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(1024, self.features),
            nn.ReLU(inplace=True),
        )


def check_images(images: Tensor, size: int) -> None:
    """Refuse what is no batch of RGB pictures in [0, 1] of the right size, with a sentence that says why."""
    if torch.compiler.is_exporting():  # a graph cannot refuse
        return
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"Images must be a floating-point tensor in [0, 1], got {kind}; divide 8-bit values by 255.")
    if images.ndim != 4 or tuple(images.shape[1:]) != (3, size, size):
        raise ValueError(
            f"Images must have shape (B, 3, {size}, {size}), got {tuple(images.shape)}; "
            "align a photograph with align_photo, or resize it."
        )
    low, high = (float(v) for v in images.detach().aminmax()) if images.numel() else (0.0, 0.0)
    if not (low >= -1e-4 and high <= 1 + 1e-4):  # also catches NaN
        raise ValueError(f"Images must lie in [0, 1], got values from {low:.3g} to {high:.3g}.")


class MoFA(nn.Module):
    """The model-based face autoencoder: `encode` is learnt, decoding is the renderer.

    Args:
        model: the face model.
        size: image side in pixels.
        encoder: name of the backbone, see `backbone`.
        pretrained: start the backbone from ImageNet's weights.
    Source: Tewari et al. 2017; Teng 2021, section 3.1; derived in chapter 6.
    """

    def __init__(self, model: MorphableModel, size: int = 112, encoder: str = "small", pretrained: bool = False):
        super().__init__()
        self.model, self.size = model, size
        self.renderer = FaceRenderer(model, size)
        self.backbone, features = backbone(encoder, pretrained)
        groups = [*model.sizes, 3, 3, 27]
        self.head = nn.Linear(features, sum(groups))
        nn.init.zeros_(self.head.weight)  # training starts at z = 0, the mean face
        nn.init.zeros_(self.head.bias)
        rotation, light = torch.full((3,), ROTATION_SCALE), torch.full((27,), ILLUMINATION_SCALE)
        scales = torch.cat([torch.ones(sum(model.sizes)), rotation, torch.tensor(TRANSLATION_SCALE), light])
        self.register_buffer("scales", scales, persistent=False)
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD)[:, None, None], persistent=False)

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> FaceCode:
        """The code of each picture.

        Args:
            images: aligned faces, RGB in [0, 1].
        Raises:
            TypeError, ValueError: the images have another type, shape or range.
        """
        check_images(images, self.size)
        normal = (images - self.pixel_mean) / self.pixel_std
        z = self.head(self.backbone(normal.contiguous(memory_format=torch.channels_last)))
        return FaceCode.from_vector(z.float() * self.scales, self.model)

    def decode(self, code: FaceCode) -> Rendering:
        """The renderer in full precision, also inside a mixed-precision training step."""
        with torch.autocast(code.shape.device.type, enabled=False):
            return self.renderer(code)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Rendering:
        """Reconstructions."""
        return self.decode(self.encode(images))


def load_pretrained(name: str | Profile = "cpu") -> MoFA:
    """MoFA with trained weights, in eval mode, on the GPU where there is one.

    Args:
        name: a profile or its name. `smoke` and `cpu` come with the library; `gpu` and `paper` are trained by you.
    Raises:
        FileNotFoundError: nobody has trained these weights here; the message names the command that does.
        ValueError: the weights belong to another face model, size or profile, or the file is damaged.
    """
    chosen = profile(name)
    mofa = build(chosen)
    mofa.load_state_dict(load_weights("mofa", chosen.weights, size=chosen.size, model=mofa.model.digest)[0])
    return mofa.eval().requires_grad_(False).to(device())


def build(chosen: Profile, pretrained: bool = False) -> MoFA:
    """MoFA as a profile wants it, untrained."""
    return MoFA(load_morphable_model(chosen.model), chosen.size, chosen.encoder, pretrained)

"""Networks from pictures to features, and how they expect a picture. Derived in chapter 6."""

import warnings
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Of ImageNet's pixels, RGB, as torchvision's weights expect them.
PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)

PUBLISHED = ("resnet18", "resnet50", "vgg19", "alexnet")


def normalized(
    images: Float[Tensor, "B 3 H W"], dtype: torch.dtype = torch.float32
) -> Float[Tensor, "B 3 H W"]:
    """Pictures in [0, 1] as a backbone expects them.

    In memory the channels come last, which CPUs like.

    Args:
        images: of any precision.
        dtype: the type of the backbone's weights, in which they come.
    """
    pixels = torch.tensor([PIXEL_MEAN, PIXEL_STD], dtype=dtype, device=images.device)
    mean, std = pixels[..., None, None]  # (3, 1, 1) each
    standard = (images.to(dtype) - mean) / std
    return standard.contiguous(memory_format=torch.channels_last)


def backbone(name: str, pretrained: bool = False) -> tuple[nn.Module, int]:
    """A network from normalised images to features, and the number of features.

    Args:
        name: small (4 M parameters), tiny (the same at a quarter of the cost), resnet18, resnet50,
            vgg19 (the paper's) or alexnet (MoFA's).
        pretrained: start from ImageNet's weights, which torchvision downloads; not for `small` and
            `tiny`. Where they cannot be had, a warning says so and the start is random.
    Raises:
        ValueError: there is no such network.
    """
    if name in ("small", "tiny"):
        return SmallResNet(stride=2 if name == "small" else 4), SmallResNet.features
    if name not in PUBLISHED:
        raise ValueError(
            f"There is no encoder {name!r}: "
            "choose small, tiny, resnet18, resnet50, vgg19 or alexnet."
        )

    # The last layer, which names ImageNet's classes, is taken off.
    network = _published(name, pretrained)
    if name.startswith("resnet"):
        features = network.fc.in_features
        network.fc = nn.Identity()
    else:
        features = network.classifier[-1].in_features
        network.classifier = network.classifier[:-1]
    return network, features


def _published(name: str, pretrained: bool) -> nn.Module:
    """A network of torchvision, where possible with ImageNet's weights."""
    from torchvision import models  # takes as long as torch to import, and few need it

    make = getattr(models, name)
    try:
        return make(weights="DEFAULT" if pretrained else None)
    except OSError as error:  # no network, or no room
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        warnings.warn(
            f"ImageNet's weights for {name} cannot be had ({error}), "
            f"so the encoder starts at random; put their file into {folder} or go online.",
            stacklevel=3,
        )
        return make()


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions around a shortcut. Source: He et al. 2016.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        stride: of the first convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        if stride == 1 and in_channels == out_channels:
            self.shortcut = nn.Identity()
        else:  # brings the input to the shape of the output
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    @property
    def convolutions(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        """The two of the body, each with the norm behind it."""
        first, first_norm, _, second, second_norm = self.body
        return [(first, first_norm), (second, second_norm)]

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D I J"]:
        return torch.relu(self.body(x) + self.shortcut(x))


class SmallResNet(nn.Sequential):
    """A residual network for CPUs: eight blocks of 32 to 256 channels, then a hidden layer.

    The hidden layer reads the last map, averaged to 2 × 2.

    Args:
        stride: of the first convolution.
    """

    features = 512
    widths = (32, 32, 64, 64, 128, 128, 256, 256)

    def __init__(self, stride: int):
        # The blocks are made before the stem, so that a seed keeps drawing the same weights.
        blocks, channels = [], 32
        for width in self.widths:  # a block with more channels halves the sides of the map
            blocks.append(ResidualBlock(channels, width, stride=1 if channels == width else 2))
            channels = width
        super().__init__(
            nn.Conv2d(3, 32, 5, stride, 2, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            *blocks,  # (B, 256, …)
            nn.AdaptiveAvgPool2d(2),  # (B, 256, 2, 2)
            nn.Flatten(),  # (B, 1024)
            nn.Linear(1024, self.features),  # (B, 512)
            nn.ReLU(inplace=True),
        )

    @property
    def stem(self) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        """The first convolution and its norm."""
        return self[0], self[1]

    @property
    def blocks(self) -> list[ResidualBlock]:
        """The residual blocks, in order."""
        return [layer for layer in self if isinstance(layer, ResidualBlock)]

    @property
    def pool(self) -> nn.AdaptiveAvgPool2d:
        """What averages the last map to 2 × 2."""
        return self[-4]

    @property
    def hidden(self) -> nn.Linear:
        """The hidden layer, whose outputs are the features."""
        return self[-2]

"""The networks of the judges, as their authors published them, without what only training needs."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class DlibBlock(nn.Module):
    """Two 3 × 3 convolutions around a shortcut.

    Args:
        inside: channels of the input.
        outside: channels of the output.
        down: halve the sides; then the shortcut is the input, averaged over 2 × 2 pixels.
    """

    def __init__(self, inside: int, outside: int, down: bool):
        super().__init__()
        self.down = down
        first = {"stride": 2} if down else {"padding": 1}
        self.first = nn.Conv2d(inside, outside, 3, **first)
        self.second = nn.Conv2d(outside, outside, 3, padding=1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D I J"]:
        body = self.second(torch.relu(self.first(x)))  # (B, D, I, J)
        if self.down:
            x = F.avg_pool2d(x, 2)
            # New channels start at zero. A side that was even has lost one pixel more in the body.
            x = F.pad(x, (0, 0, 0, 0, 0, body.shape[1] - x.shape[1]))
            body = F.pad(body, (0, x.shape[3] - body.shape[3], 0, x.shape[2] - body.shape[2]))
        return torch.relu(body + x)


class DlibNet(nn.Sequential):
    """dlib's recogniser, a residual network: 128 numbers of a picture of 150 × 150 pixels.

    A scale and a bias behind each convolution are part of it.

    Source: King 2017, "High quality face recognition with deep metric learning", in dlib.
    """

    # Channels of the blocks; a change halves the sides of the map, and so does the last.
    widths = (32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 256, 256, 256, 256)

    def __init__(self):
        blocks, inside = [], 32
        for number, outside in enumerate(self.widths, 1):
            down = outside != inside or number == len(self.widths)
            blocks.append(DlibBlock(inside, outside, down))
            inside = outside
        super().__init__(
            nn.Conv2d(3, 32, 7, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            *blocks,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),  # (B, 256)
            nn.Linear(256, 128, bias=False),
        )


class FaceRes(nn.Sequential):
    """HSE's recogniser, a MobileNet: 1024 numbers of a picture of 224 × 224 pixels, of length 1.

    Batch norms are folded into the convolutions. The two layers that guess age and gender are left
    out.

    Source: Howard et al. 2017, "MobileNets"; Savchenko 2019, "Efficient facial representations for
    age, gender and identity recognition".
    """

    # Channels and stride of each pair of convolutions: within the channels, then across them.
    pairs = (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1),
        (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1),
    )  # fmt: skip

    def __init__(self):
        layers, inside = _layer(3, 32, 3, stride=2), 32
        for outside, stride in self.pairs:
            layers += _layer(inside, inside, 3, stride, groups=inside)
            layers += _layer(inside, outside, 1)
            inside = outside
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x: Float[Tensor, "B 3 224 224"]) -> Float[Tensor, "B 1024"]:
        return F.normalize(super().forward(x))


def _layer(
    inside: int, outside: int, side: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """A convolution that keeps the sides of a map, or halves them, and ReLU up to 6."""
    # Where an even side is halved, TensorFlow pads only its end.
    pad = (0, 1, 0, 1) if stride == 2 else side // 2
    convolution = nn.Conv2d(inside, outside, side, stride, groups=groups)
    return [nn.ZeroPad2d(pad), convolution, nn.ReLU6()]

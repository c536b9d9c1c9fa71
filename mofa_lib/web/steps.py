"""One step of the attack as a module without autograd: each layer's derivative is written out."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mofa_lib.attack import WEIGHTS, CodeDistance
from mofa_lib.autoencoder import MoFA
from mofa_lib.backbones import PIXEL_MEAN, PIXEL_STD, ResidualBlock
from mofa_lib.face_code import GROUPS, FaceCode, group_sizes

BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8  # Adam's, PyTorch's defaults


class _Kept(NamedTuple):
    """What the encoder has computed on its way, each behind its ReLU.

    Attributes:
        passed: what comes out of the stem and of each block.
        inner: what is between the two convolutions of each block.
        hidden: the hidden layer.
    """

    passed: list[Tensor]
    inner: list[Tensor]
    hidden: Tensor


class AttackStep(nn.Module):
    """One step of Algorithm 1, reading "unit_cap", with the encoder's derivative written out.

    Args:
        mofa: with the encoder `small` or `tiny`; in eval mode.
    Source: Teng 2021, Algorithm 1; derived in chapter 7.
    """

    def __init__(self, mofa: MoFA):
        super().__init__()
        network = mofa.backbone
        self.first = _Normalised(*network.stem)
        self.blocks = nn.ModuleList(_Block(block) for block in network.blocks)
        self.hidden = network.hidden
        self.head = mofa.head

        side = _side_of_map(mofa)
        places = torch.eye(side * side).unflatten(1, (side, side))  # one picture for each place
        self.register_buffer("pool", network.pool(places).flatten(1))  # (side², 4)
        self.register_buffer("scales", mofa.scales)  # (Z,)
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN)[:, None, None])
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD)[:, None, None])
        self.register_buffer("share", _shares(mofa))  # (groups, Z)

    def forward(
        self, image, u, moment1, moment2, step, target, bound, rate, weights, clip_inside, *known
    ):
        """The next iterate with Adam's moments; the terms, the code and the picture of this one.

        `clip_inside` is 0 for the library's projection, and 1 for the clip of the paper's formula,
        which stops the gradient where it clips.
        """
        # The limits of u: it stays in [−1, 1], and the attacked picture in [0, 1].
        unit = bound.clamp(min=1e-12)
        low = torch.maximum(-image / unit, -torch.ones_like(u))  # (1, 3, H, W)
        high = torch.minimum((1 - image) / unit, torch.ones_like(u))
        clipped = torch.minimum(torch.maximum(u, low), high)
        attacked = image + bound * clipped

        slope, terms, code, *more = self._loss(attacked, target, weights, *known)
        gradient = bound * slope  # (1, 3, H, W)
        gradient = gradient * (1 - clip_inside * (u != clipped).to(u.dtype))

        # Adam.
        moment1 = BETA1 * moment1 + (1 - BETA1) * gradient
        moment2 = BETA2 * moment2 + (1 - BETA2) * gradient * gradient
        root = (moment2 / (1 - BETA2 ** (step + 1))).sqrt() + ADAM_EPSILON
        moved = u - rate * moment1 / (1 - BETA1 ** (step + 1)) / root

        projected = torch.minimum(torch.maximum(moved, low), high)
        following = torch.lerp(projected, moved, clip_inside)
        return following, moment1, moment2, terms, code, attacked.clamp(0, 1), *more

    def _loss(self, attacked: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        """The loss' slope at a picture; the terms of Eq. 1, and the code."""
        code, kept = self._encode(attacked)
        terms, by_code = self._distance(code, target, weights)
        return self._back(by_code, kept), terms, code

    def _distance(self, code: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The terms of Eq. 1, (groups,), and the slope of their sum at the code, (1, Z)."""
        difference = code - target
        terms = weights * (difference.abs() @ self.share.T)[0]
        return terms, (weights @ self.share) * difference.sign()

    def _encode(self, images: Tensor) -> tuple[Tensor, _Kept]:
        """The code, and what its derivative needs."""
        x = self.first((images - self.pixel_mean) / self.pixel_std).relu()
        passed, inner = [x], []
        for block in self.blocks:
            x, inside = block(x)
            inner.append(inside)
            passed.append(x)
        pooled = (x.flatten(2) @ self.pool).flatten(1)  # (1, 4C)
        hidden = self.hidden(pooled).relu()
        return self.head(hidden) * self.scales, _Kept(passed, inner, hidden)

    def _back(self, gradient: Tensor, kept: _Kept) -> Tensor:
        """From a gradient with respect to the code to one with respect to the pictures."""
        last = kept.passed[-1]  # (1, C, side, side)
        gradient = (gradient * self.scales) @ self.head.weight * (kept.hidden > 0)
        pooled = (gradient @ self.hidden.weight).unflatten(1, (last.shape[1], -1))  # (1, C, 4)
        gradient = (pooled @ self.pool.T).view_as(last)
        for number in reversed(range(len(self.blocks))):
            gradient = gradient * (kept.passed[number + 1] > 0)
            gradient = self.blocks[number].back(gradient, kept.inner[number])
        return self.first.back(gradient * (kept.passed[0] > 0)) / self.pixel_std


def group_places(mofa: MoFA) -> dict[str, tuple[int, int]]:
    """Where each group of the code begins and ends."""
    places = {}
    start = 0
    for group, size in zip(GROUPS, group_sizes(mofa.model), strict=True):
        places[group] = (start, start + size)
        start += size
    return places


def _side_of_map(mofa: MoFA) -> int:
    """The side of the encoder's last map: the picture's, divided by all strides."""
    network = mofa.backbone
    stem, _ = network.stem
    strided = [stem, *(block.convolutions[0][0] for block in network.blocks)]
    return mofa.size // math.prod(convolution.stride[0] for convolution in strided)


def _shares(mofa: MoFA) -> Tensor:
    """σ/n of every coordinate of the code, a row for each term of Eq. 1."""
    ones = FaceCode.from_vector(torch.ones(1, len(mofa.scales)), mofa.model)
    by_group = CodeDistance(mofa.model, dict.fromkeys(WEIGHTS, 1.0)).by_group(ones)
    places = group_places(mofa)
    shares = torch.zeros(len(by_group), len(mofa.scales))
    for row, (group, values) in enumerate(by_group.items()):
        start, end = places[group]
        shares[row, start:end] = values
    return shares


class _Normalised(nn.Module):
    """A convolution with batch norm in eval mode, and what it does to a gradient going back."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.Module):
        super().__init__()
        self.convolution = convolution
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.convolution(x))

    def back(self, gradient: Tensor) -> Tensor:
        """The side of an input is a multiple of the stride."""
        if isinstance(self.norm, nn.BatchNorm2d):
            scale = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()  # (C,)
            gradient = gradient * scale[:, None, None]
        stride, padding = self.convolution.stride[0], self.convolution.padding[0]
        return F.conv_transpose2d(
            gradient, self.convolution.weight, None, stride, padding, output_padding=stride - 1
        )


class _Block(nn.ModuleList):
    """The convolutions of a residual block, the one of its shortcut last if it has one."""

    def __init__(self, block: ResidualBlock):
        layers = [_Normalised(convolution, norm) for convolution, norm in block.convolutions]
        if isinstance(block.shortcut, nn.Conv2d):
            layers.append(_Normalised(block.shortcut, nn.Identity()))
        super().__init__(layers)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What comes out of the block, and what is between its convolutions."""
        first, second, *shortcut = self
        inner = first(x).relu()
        straight = shortcut[0](x) if shortcut else x
        return (second(inner) + straight).relu(), inner

    def back(self, gradient: Tensor, inner: Tensor) -> Tensor:
        """From a gradient before the block's last ReLU to one at its input."""
        first, second, *shortcut = self
        straight = shortcut[0].back(gradient) if shortcut else gradient
        return first.back(second.back(gradient) * (inner > 0)) + straight

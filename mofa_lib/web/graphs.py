"""The lab's networks as modules without autograd, and as ONNX graphs.

They are what `mofa_lib.web` exports. The attack's graph holds the encoder and, layer by layer, its
derivative.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mofa_lib.attack import WEIGHTS, CodeDistance
from mofa_lib.autoencoder import MoFA
from mofa_lib.backbones import PIXEL_MEAN, PIXEL_STD, ResidualBlock
from mofa_lib.detector import Detector
from mofa_lib.face_code import GROUPS, FaceCode, group_sizes

BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8  # Adam's, PyTorch's defaults
SCORES = ("l1", "l2", "linf", "js", "cosine")  # outputs of the scores' graph, in this order


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

    def forward(self, image, u, moment1, moment2, step, target, bound, rate, weights, clip_inside):
        """The terms and the code at the present iterate, and the next iterate with Adam's moments.

        `clip_inside` is 0 for the library's projection, and 1 for the clip of the paper's formula,
        which stops the gradient where it clips.
        """
        # The limits of u: it stays in [−1, 1], and the attacked picture in [0, 1].
        unit = bound.clamp(min=1e-12)
        low = torch.maximum(-image / unit, -torch.ones_like(u))  # (1, 3, H, W)
        high = torch.minimum((1 - image) / unit, torch.ones_like(u))
        clipped = torch.minimum(torch.maximum(u, low), high)
        attacked = image + bound * clipped

        code, kept = self._encode(attacked)  # (1, Z)
        difference = code - target
        terms = weights * (difference.abs() @ self.share.T)[0]  # (groups,)
        from_code = (weights @ self.share) * difference.sign()  # (1, Z), the terms' derivative
        gradient = bound * self._back(from_code, kept)  # (1, 3, H, W)
        gradient = gradient * (1 - clip_inside * (u != clipped).to(u.dtype))

        # Adam.
        moment1 = BETA1 * moment1 + (1 - BETA1) * gradient
        moment2 = BETA2 * moment2 + (1 - BETA2) * gradient * gradient
        root = (moment2 / (1 - BETA2 ** (step + 1))).sqrt() + ADAM_EPSILON
        moved = u - rate * moment1 / (1 - BETA1 ** (step + 1)) / root

        projected = torch.minimum(torch.maximum(moved, low), high)
        following = torch.lerp(projected, moved, clip_inside)
        return following, moment1, moment2, terms, code, attacked.clamp(0, 1)

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


class CodeToHead(nn.Module):
    """From a code to the posed vertices in mm and their lit colours.

    They are as the renderer has them before it draws.
    """

    def __init__(self, mofa: MoFA):
        super().__init__()
        self.renderer = mofa.renderer

    def forward(self, code: Tensor) -> tuple[Tensor, Tensor]:
        vertices, colours = self.renderer.surface(FaceCode.from_vector(code, self.renderer.model))
        return vertices[0], colours[0]


class Scores(nn.Module):
    """The detector's five scores, from pictures and codes that are already there."""

    def __init__(self, detector: Detector):
        super().__init__()
        self.detector = detector

    def forward(
        self, image: Tensor, drawn: Tensor, before: Tensor, after: Tensor
    ) -> tuple[Tensor, ...]:
        scores = self.detector.compare(image, drawn, before, after)
        return tuple(scores[name] for name in SCORES)


def graphs(mofa: MoFA, detector: Detector) -> dict[str, bytes]:
    """The files of the four graphs.

    They are the attack's step, a code's head, the reformed picture, and the scores.
    """
    step = AttackStep(mofa)
    picture = (1, 3, mofa.size, mofa.size)
    code = (1, len(mofa.scales))
    number = (1,)
    shapes = {
        "image": picture,
        "drawn": picture,
        "u": picture,
        "moment1": picture,
        "moment2": picture,
        "code": code,
        "target": code,
        "before": code,
        "after": code,
        "step": number,
        "bound": number,
        "rate": number,
        "clip_inside": number,
        "weights": (len(step.share),),
    }
    # In the order in which AttackStep takes and returns them.
    inputs = ["image", "u", "moment1", "moment2", "step", "target"]
    inputs += ["bound", "rate", "weights", "clip_inside"]
    outputs = ["next_u", "next_moment1", "next_moment2", "terms", "code", "attacked"]
    attack = _graph(step, inputs, outputs, shapes)
    face = _graph(CodeToHead(mofa), ["code"], ["vertices", "colours"], shapes)
    reform = _graph(detector.reconstruct, ["image"], ["drawn"], shapes)
    scores = _graph(Scores(detector), ["image", "drawn", "before", "after"], list(SCORES), shapes)
    return {
        "attack.onnx": attack,
        "face.onnx": face,
        "reform.onnx": reform,
        "scores.onnx": scores,
    }


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


def _graph(
    module: nn.Module, inputs: list[str], outputs: list[str], shapes: dict[str, tuple]
) -> bytes:
    """A module as an ONNX graph that computes in float32."""
    # Each input has a tensor of its own: one given twice would be one input.
    arguments = tuple(torch.rand(shapes[name]) for name in inputs)
    program = torch.onnx.export(
        module.eval(),
        arguments,
        input_names=inputs,
        output_names=outputs,
        dynamo=True,
        optimize=False,
        verbose=False,
    )
    model = program.model_proto
    for node in model.graph.node:  # PyTorch's stack traces: a third of a megabyte, and our paths
        del node.metadata_props[:]
    _halve(model.graph)
    return model.SerializeToString()


def _halve(graph) -> None:
    """Store in float16 what that holds without loss, and cast it back where the graph begins."""
    import onnx
    from onnx import numpy_helper

    casts = []
    for tensor in graph.initializer:
        full = numpy_helper.to_array(tensor)
        if full.dtype != np.float32 or (full.astype(np.float16) != full).any():
            continue
        half = f"{tensor.name}_half"
        cast = onnx.helper.make_node("Cast", [half], [tensor.name], to=onnx.TensorProto.FLOAT)
        casts.append(cast)
        tensor.CopyFrom(numpy_helper.from_array(full.astype(np.float16), half))

    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)

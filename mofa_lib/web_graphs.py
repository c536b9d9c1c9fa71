"""The lab's networks as modules without autograd, and as ONNX graphs: what `mofa_lib.web` exports.

The attack's graph holds the encoder and, layer by layer, its derivative.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mofa_lib.attack import WEIGHTS, CodeDistance
from mofa_lib.autoencoder import MoFA, ResidualBlock
from mofa_lib.camera import pose
from mofa_lib.detector import Detector
from mofa_lib.face_code import GROUPS, FaceCode, group_sizes
from mofa_lib.lighting import irradiance, vertex_normals

BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8  # PyTorch's defaults


class AttackStep(nn.Module):
    """One step of Algorithm 1, reading "unit_cap", with the encoder's derivative written out.

    Args:
        mofa: with the encoder `small`; in eval mode.
    Source: Teng 2021, Algorithm 1; derived in chapter 7.
    """

    def __init__(self, mofa: MoFA):
        super().__init__()
        first, norm, _, *blocks, pool, _, hidden, _ = mofa.backbone
        self.first = _Normalised(first, norm)
        self.blocks = nn.ModuleList(_convolutions(block) for block in blocks)
        side = mofa.size // math.prod(layer.stride[0] for layer in (first, *(block.body[0] for block in blocks)))
        self.register_buffer("pool", pool(torch.eye(side * side).unflatten(1, (side, side))).flatten(1))
        self.hidden, self.head = hidden, mofa.head
        for name in ("scales", "pixel_mean", "pixel_std"):
            self.register_buffer(name, getattr(mofa, name))
        ones = FaceCode.from_vector(torch.ones(1, len(mofa.scales)), mofa.model)
        parts = CodeDistance(mofa.model, dict.fromkeys(WEIGHTS, 1.0)).by_group(ones)  # σ/n of every coordinate
        share = torch.zeros(len(parts), len(mofa.scales))
        for row, (group, values) in enumerate(parts.items()):
            share[row, slice(*group_places(mofa)[group])] = values
        self.register_buffer("share", share)

    def forward(self, image, u, moment1, moment2, step, target, bound, rate, weights, clip_inside):
        """The terms and the code at the present iterate, and the next iterate with Adam's moments.

        `clip_inside` is 0 for the library's projection, and 1 for the clip of the paper's formula, which stops the
        gradient where it clips.
        """
        unit = bound.clamp(min=1e-12)
        low, high = (
            torch.maximum(-image / unit, -torch.ones_like(u)),
            torch.minimum((1 - image) / unit, torch.ones_like(u)),
        )
        clipped = torch.minimum(torch.maximum(u, low), high)
        attacked = image + bound * clipped
        code, backwards = self._encode(attacked)
        difference = code - target
        terms = weights * (difference.abs() @ self.share.T)[0]
        gradient = bound * backwards((weights @ self.share) * difference.sign())
        gradient = gradient * (1 - clip_inside * (u != clipped).to(u.dtype))
        moment1 = BETA1 * moment1 + (1 - BETA1) * gradient
        moment2 = BETA2 * moment2 + (1 - BETA2) * gradient * gradient
        root = (moment2 / (1 - BETA2 ** (step + 1))).sqrt() + ADAM_EPSILON
        moved = u - rate * moment1 / (1 - BETA1 ** (step + 1)) / root
        projected = torch.minimum(torch.maximum(moved, low), high)
        return torch.lerp(projected, moved, clip_inside), moment1, moment2, terms, code, attacked.clamp(0, 1)

    def _encode(self, images: Tensor):
        """The code, and the map from a gradient with respect to it to one with respect to the pictures."""
        x = self.first((images - self.pixel_mean) / self.pixel_std).relu()
        passed, inner = [x], []
        for first, second, *shortcut in self.blocks:
            inner.append(first(x).relu())
            straight = shortcut[0](x) if shortcut else x
            x = (second(inner[-1]) + straight).relu()
            passed.append(x)
        hidden = self.hidden((x.flatten(2) @ self.pool).flatten(1)).relu()

        def backwards(gradient: Tensor) -> Tensor:
            gradient = (gradient * self.scales) @ self.head.weight * (hidden > 0)
            gradient = (gradient @ self.hidden.weight).unflatten(1, (x.shape[1], -1)) @ self.pool.T
            gradient = gradient.view_as(x)
            for i, (first, second, *shortcut) in reversed([*enumerate(self.blocks)]):
                gradient = gradient * (passed[i + 1] > 0)
                straight = shortcut[0].back(gradient) if shortcut else gradient
                gradient = first.back(second.back(gradient) * (inner[i] > 0)) + straight
            return self.first.back(gradient * (passed[0] > 0)) / self.pixel_std

        return self.head(hidden) * self.scales, backwards


class CodeToHead(nn.Module):
    """From a code to the posed vertices in mm and their lit colours, as the renderer has them before it draws."""

    def __init__(self, mofa: MoFA):
        super().__init__()
        self.model = mofa.model

    def forward(self, code: Tensor) -> tuple[Tensor, Tensor]:
        face = FaceCode.from_vector(code, self.model)
        vertices = pose(self.model.vertices(face.shape, face.expression), face.rotation, face.translation)
        light = irradiance(vertex_normals(vertices, self.model.faces), face.illumination.unflatten(1, (3, 9)))
        return vertices[0], (self.model.appearance(face.appearance) * light)[0]


class Scores(nn.Module):
    """The detector's five scores, from pictures and codes that are already there."""

    def __init__(self, detector: Detector):
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor, drawn: Tensor, before: Tensor, after: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.detector.compare(image, drawn, before, after).values())


def graphs(mofa: MoFA, detector: Detector) -> dict[str, bytes]:
    """The files of the four graphs: the attack's step, a code's head, the reformed picture, the scores."""
    size, step = mofa.size, AttackStep(mofa)
    shapes = {
        **dict.fromkeys(["image", "drawn", "u", "moment1", "moment2"], (1, 3, size, size)),
        **dict.fromkeys(["code", "target", "before", "after"], (1, len(mofa.scales))),
        **dict.fromkeys(["step", "bound", "rate", "clip_inside"], (1,)),
        "weights": (len(step.share),),
    }
    moments = ["moment1", "moment2"]
    parts = {
        "attack": (
            step,
            ["image", "u", *moments, "step", "target", "bound", "rate", "weights", "clip_inside"],
            ["next_u", *(f"next_{moment}" for moment in moments), "terms", "code", "attacked"],
        ),
        "face": (CodeToHead(mofa), ["code"], ["vertices", "colours"]),
        "reform": (detector.reconstruct, ["image"], ["drawn"]),
        "scores": (Scores(detector), ["image", "drawn", "before", "after"], ["l1", "l2", "linf", "js", "cosine"]),
    }
    return {f"{graph}.onnx": _graph(*part, shapes) for graph, part in parts.items()}


def group_places(mofa: MoFA) -> dict[str, tuple[int, int]]:
    """Where each group of the code begins and ends."""
    ends = np.cumsum(group_sizes(mofa.model)).tolist()
    return dict(zip(GROUPS, zip([0, *ends[:-1]], ends, strict=True), strict=True))


class _Normalised(nn.Module):
    """A convolution with batch norm in eval mode, and what it does to a gradient on its way back."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.Module):
        super().__init__()
        self.convolution, self.norm = convolution, norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.convolution(x))

    def back(self, gradient: Tensor) -> Tensor:
        """Inputs have an even side where the stride is 2, and any side where it is 1."""
        if isinstance(self.norm, nn.BatchNorm2d):
            scale = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
            gradient = gradient * scale[:, None, None]
        stride, padding = self.convolution.stride[0], self.convolution.padding[0]
        return F.conv_transpose2d(gradient, self.convolution.weight, None, stride, padding, output_padding=stride - 1)


def _convolutions(block: ResidualBlock) -> nn.ModuleList:
    """Both convolutions of a block, and the one of its shortcut if it has one."""
    first, norm1, _, second, norm2 = block.body
    found = [_Normalised(first, norm1), _Normalised(second, norm2)]
    if isinstance(block.shortcut, nn.Conv2d):
        found.append(_Normalised(block.shortcut, nn.Identity()))
    return nn.ModuleList(found)


def _graph(module: nn.Module, inputs: list[str], outputs: list[str], shapes: dict[str, tuple]) -> bytes:
    """A module as an ONNX graph that computes in float32; what float16 holds without loss is stored so."""
    import onnx
    from onnx import numpy_helper

    arguments = tuple(torch.rand(shapes[name]) for name in inputs)  # one tensor given twice would be one input
    program = torch.onnx.export(
        module.eval(), arguments, input_names=inputs, output_names=outputs, dynamo=True, optimize=False, verbose=False
    )
    model = program.model_proto
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        full = numpy_helper.to_array(tensor)
        if full.dtype != np.float32 or (full.astype(np.float16) != full).any():
            continue
        casts.append(onnx.helper.make_node("Cast", [f"{tensor.name}_half"], [tensor.name], to=onnx.TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(full.astype(np.float16), f"{tensor.name}_half"))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model.SerializeToString()

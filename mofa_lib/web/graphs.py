"""The lab's networks as ONNX graphs. They are what `mofa_lib.web` exports."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from mofa_lib.autoencoder import MoFA
from mofa_lib.detector import Detector
from mofa_lib.face_code import FaceCode
from mofa_lib.web.knowing import SCORES, KnowingStep
from mofa_lib.web.steps import AttackStep

LARGE = 1024  # bytes of a tensor that are worth a second graph's reading them in another's file


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
    """The files of the five graphs.

    They are the attack's step, a code's head, the reformed picture, the scores, and the step of an
    attacker who knows the detector. That one has no weights of its own: it reads them in the files
    of the others.
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
        "c": number,
        "thresholds": (len(SCORES),),
    }
    # In the order in which the steps take and return them.
    inputs = ["image", "u", "moment1", "moment2", "step", "target"]
    inputs += ["bound", "rate", "weights", "clip_inside"]
    outputs = ["next_u", "next_moment1", "next_moment2", "terms", "code", "attacked"]
    files = {
        "attack.onnx": _graph(step, inputs, outputs, shapes),
        "face.onnx": _graph(CodeToHead(mofa), ["code"], ["vertices", "colours"], shapes),
        "reform.onnx": _graph(detector.reconstruct, ["image"], ["drawn"], shapes),
        "scores.onnx": _graph(
            Scores(detector), ["image", "drawn", "before", "after"], list(SCORES), shapes
        ),
    }
    knowing = KnowingStep(mofa, detector)
    known, found = ["c", "thresholds"], ["scores", "excess"]
    files["knowing.onnx"] = _graph(knowing, inputs + known, outputs + found, shapes, files)
    return files


def _graph(
    module: nn.Module,
    inputs: list[str],
    outputs: list[str],
    shapes: dict[str, tuple],
    lenders: Mapping[str, bytes] = MappingProxyType({}),
) -> bytes:
    """A module as an ONNX graph that computes in float32.

    Args:
        lenders: files by name, beside which the graph will lie: large weights that one of them
            holds are read there.
    """
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
    _borrow(model.graph, lenders)
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


def _borrow(graph, lenders: Mapping[str, bytes]) -> None:
    """Replace large tensors by the place where a file has the same bytes."""
    from onnx import external_data_helper

    for tensor in graph.initializer:
        content = tensor.raw_data
        if len(content) < LARGE:
            continue
        for name, file in lenders.items():
            offset = file.find(content)
            if offset >= 0:
                external_data_helper.set_external_data(tensor, name, offset, len(content))
                tensor.ClearField("raw_data")
                break

"""The browser lab: its networks as ONNX graphs, its faces, its thresholds; and a way back for its runs.

    python -m mofa_lib.web FOLDER

A browser has no autograd: the attack's graph holds the encoder and, layer by layer, its derivative. Nothing here is
trained or tuned. Needs `pip install mofa_lib[web]`.
"""

import argparse
import base64
import binascii
import io
import json
import math
import string
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError
from torch import Tensor, nn
from torch.nn import functional as F

from mofa_lib.artifacts import digest, load_weights, save_json, write_bytes
from mofa_lib.attack import WEIGHTS, CodeDistance
from mofa_lib.autoencoder import MoFA, ResidualBlock, load_pretrained
from mofa_lib.camera import pose
from mofa_lib.detector import Detector, calibrate, load_detector
from mofa_lib.face_code import GROUPS, SYMBOLS, FaceCode, group_sizes
from mofa_lib.face_data import RenderedFaces
from mofa_lib.identity import in_batches, verification_pairs
from mofa_lib.lighting import irradiance, vertex_normals
from mofa_lib.metrics import linf
from mofa_lib.profiles import profile

FORMAT = "mofa-lab-run-1"
PEOPLE = 12  # in the gallery
CALIBRATION = 200  # pictures
FALSE_POSITIVES, FALSE_ACCEPTS = 0.05, 0.01
EPSILON, STEPS, RATE = 8 / 255, 50, 0.1  # where the lab's controls stand at first
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
            share[row, slice(*_places(mofa)[group])] = values
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


def export_lab(folder: str | Path, name: str = "cpu") -> None:
    """Write all that the lab fetches to a folder: graphs, triangles, gallery and lab.json.

    Args:
        name: the profile whose weights are exported; one with the encoder `small`.
    Raises:
        FileNotFoundError, ValueError: as `load_pretrained`.
    """
    folder, chosen = Path(folder), profile(name)
    mofa, detector = load_pretrained(chosen).cpu(), load_detector(chosen).cpu()
    files = _graphs(mofa, detector)
    files["faces.bin"] = mofa.model.faces.numpy().astype("<u2").tobytes()
    gallery = _gallery(mofa.size)
    for file, content in (files | gallery).items():
        write_bytes(folder / file, content)
    about = {
        "profile": chosen.name,
        "size": mofa.size,
        "length": len(mofa.scales),
        "weights_digest": digest(load_weights("mofa", chosen.weights)[0]),
        "groups": [
            {"name": group, "symbol": SYMBOLS[group], "weight": weight, "start": start, "end": end}
            for group, weight in WEIGHTS.items()
            for start, end in [_places(mofa)[group]]
        ],
        "steps": STEPS,
        "rate": RATE,
        "epsilon": EPSILON,
        "vertices": len(mofa.model.mean_shape),
        "triangles": len(mofa.model.faces),
        **_thresholds(mofa, detector),
        "gallery": [
            {"file": file, "name": letter, "alt": f"Rendered person {letter}"}
            for file, letter in zip(gallery, string.ascii_uppercase, strict=False)
        ],
        "files": {file: len(content) for file, content in files.items()},
    }
    save_json(folder / "lab.json", about)


def verify_run(path: str | Path) -> dict[str, float]:
    """Recompute with PyTorch what a run saved by the lab says about itself.

    Args:
        path: the JSON file that the lab saved.
    Returns:
        distance: Δ of Eq. 1 between the saved adversarial picture and its target; claimed: the same as the lab had it;
        clean_distance: Δ of the original; linf: the largest change of a pixel value, in 1/255.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no run of the lab, or one of other weights.
    """
    path = Path(path)
    try:
        run = json.loads(path.read_text(encoding="utf8"))
        if run["format"] != FORMAT:
            raise ValueError(f"{path} has the format {run['format']}, this library reads {FORMAT}.")
        pictures = [_decode(run[name]) for name in ("original", "adversarial", "target")]
        chosen, made_with, weights = profile(run["profile"]), run["weights_digest"], run["weights"]
        claimed = float(run["saved_distance"])
    except (
        json.JSONDecodeError,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        binascii.Error,
        UnidentifiedImageError,
    ) as error:
        raise ValueError(f"{path} is no run saved by the lab ({type(error).__name__}: {error}).") from None
    if made_with != digest(load_weights("mofa", chosen.weights)[0]):
        raise ValueError(
            f"{path} was made with other weights of MoFA than this library ships: run it again in the lab."
        )
    mofa = load_pretrained(chosen)
    images = [picture[None].to(mofa.scales.device) for picture in pictures]
    (original, adversarial, target), distance = map(mofa.encode, images), CodeDistance(mofa.model, weights)
    return {
        "distance": float(distance(adversarial, target)),
        "claimed": claimed,
        "clean_distance": float(distance(original, target)),
        "linf": float(linf(images[1] - images[0])),
    }


def _places(mofa: MoFA) -> dict[str, tuple[int, int]]:
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


def _graphs(mofa: MoFA, detector: Detector) -> dict[str, bytes]:
    """The files of the four graphs: the attack's step, a code's head, the reformed picture, the scores."""
    size, step = mofa.size, AttackStep(mofa)
    shapes = {
        **dict.fromkeys(["image", "drawn", "u", "moment1", "moment2"], (1, 3, size, size)),
        **dict.fromkeys(["code", "target", "before", "after"], (1, len(mofa.scales))),
        **dict.fromkeys(["step", "bound", "rate", "clip_inside"], (1,)),
        "weights": (len(step.share),),
    }
    moments = ["moment1", "moment2"]
    graphs = {
        "attack": (
            step,
            ["image", "u", *moments, "step", "target", "bound", "rate", "weights", "clip_inside"],
            ["next_u", *(f"next_{moment}" for moment in moments), "terms", "code", "attacked"],
        ),
        "face": (CodeToHead(mofa), ["code"], ["vertices", "colours"]),
        "reform": (detector.reconstruct, ["image"], ["drawn"]),
        "scores": (Scores(detector), ["image", "drawn", "before", "after"], ["l1", "l2", "linf", "js", "cosine"]),
    }
    return {f"{graph}.onnx": _graph(*parts, shapes) for graph, parts in graphs.items()}


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


def _gallery(size: int) -> dict[str, bytes]:
    """PNG files of rendered people whom no training saw: of twice as many, those whose bare face shows most."""
    faces, found = RenderedFaces("test", 8 * PEOPLE, 0, size, 4), {}
    shown, pictures = faces.skin(slice(None)).sum((1, 2)).view(2 * PEOPLE, 4).max(1)
    for number, person in enumerate(sorted(shown.topk(PEOPLE).indices.tolist())):
        file = io.BytesIO()
        image = faces.images[4 * person + int(pictures[person])]
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "PNG", optimize=True)
        found[f"gallery/{number:02d}.png"] = file.getvalue()
    return found


def _thresholds(mofa: MoFA, detector: Detector) -> dict[str, object]:
    """What the detector and the verification are calibrated to, on pictures that show no attack."""
    faces = RenderedFaces("calibration", CALIBRATION, 0, mofa.size, 4)
    images = faces.batch(slice(None))
    parts = [detector.scores(images[i : i + 50]) for i in range(0, CALIBRATION, 50)]
    scores = {score: torch.cat([part[score] for part in parts]) for score in parts[0]}
    features = in_batches(lambda some: detector.classifier.features(mofa.encode(some)), images)
    _, different = verification_pairs(faces.identities, features)
    return {
        "thresholds": {score: calibrate(values, FALSE_POSITIVES) for score, values in scores.items()},
        "calibration": {"n": CALIBRATION, "false_positives": FALSE_POSITIVES},
        "similarity_threshold": {
            "value": calibrate(different, FALSE_ACCEPTS),
            "false_accept_rate": FALSE_ACCEPTS,
        },
    }


def _decode(text: str) -> Float[Tensor, "3 H W"]:
    picture = Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m mofa_lib.web", description="Export what the browser lab fetches.")
    parser.add_argument("folder", type=Path)
    export_lab(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    main()

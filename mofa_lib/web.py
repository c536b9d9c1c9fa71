"""The browser lab: its networks as ONNX graphs, its faces, its thresholds; and a way back for its runs.

    python -m mofa_lib.web FOLDER

A browser has no autograd, so the graphs of `mofa_lib.web_graphs` need none. Nothing here is trained or tuned. Needs
`pip install mofa_lib[web]`.
"""

import argparse
import base64
import binascii
import io
import json
import string
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from mofa_lib.artifacts import digest, load_weights, save_json, write_bytes
from mofa_lib.attack import WEIGHTS, CodeDistance
from mofa_lib.autoencoder import MoFA, load_pretrained
from mofa_lib.detector import Detector, calibrate, load_detector
from mofa_lib.face_code import SYMBOLS
from mofa_lib.face_data import RenderedFaces
from mofa_lib.identity import in_batches, verification_pairs
from mofa_lib.metrics import linf
from mofa_lib.profiles import profile
from mofa_lib.web_graphs import graphs, group_places

FORMAT = "mofa-lab-run-1"
PEOPLE = 12  # in the gallery
CALIBRATION = 200  # pictures
FALSE_POSITIVES, FALSE_ACCEPTS = 0.05, 0.01
EPSILON, STEPS, RATE = 8 / 255, 50, 0.1  # where the lab's controls stand at first


def export_lab(folder: str | Path, name: str = "cpu") -> None:
    """Write all that the lab fetches to a folder: graphs, triangles, gallery and lab.json.

    Args:
        name: the profile whose weights are exported; one with the encoder `small`.
    Raises:
        FileNotFoundError, ValueError: as `load_pretrained`.
    """
    folder, chosen = Path(folder), profile(name)
    mofa, detector = load_pretrained(chosen).cpu(), load_detector(chosen).cpu()
    files = graphs(mofa, detector)
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
            for start, end in [group_places(mofa)[group]]
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

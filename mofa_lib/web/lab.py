"""The browser lab: its graphs, its faces, its thresholds; and a way back for its runs.

    python -m mofa_lib.web FOLDER

A browser has no autograd, so the graphs of `mofa_lib.web.graphs` need none. Nothing here is trained
or tuned. Needs `pip install mofa_lib[web]`.
"""

import argparse
import base64
import io
import json
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mofa_lib.artifacts import digest, save_json, write_bytes
from mofa_lib.attack import WEIGHTS, CodeDistance
from mofa_lib.autoencoder import MoFA, load_pretrained
from mofa_lib.detector import Detector, calibrate, load_detector
from mofa_lib.displays import png
from mofa_lib.face_code import SYMBOLS
from mofa_lib.face_data import RenderedFaces
from mofa_lib.faces import check_images, in_batches
from mofa_lib.identity import verification_pairs
from mofa_lib.metrics import linf
from mofa_lib.profiles import Profile, profile
from mofa_lib.web.graphs import graphs
from mofa_lib.web.steps import group_places
from mofa_lib.weights import load_weights

FORMAT = "mofa-lab-run-1"
PEOPLE = 12  # in the gallery
PICTURES = 4  # of each person that is drawn, for the gallery and to calibrate
CALIBRATION = 200  # pictures
FALSE_POSITIVES = 0.05  # of the detector
FALSE_ACCEPTS = 0.01  # of the verification

# Where the lab's controls stand at first.
EPSILON = 8 / 255
STEPS = 50
RATE = 0.1
C = 0.1  # of an attacker who knows the detector


def export_lab(folder: str | Path) -> None:
    """Write all that the lab fetches to a folder: graphs, triangles, gallery and lab.json.

    Args:
        folder: is made where there is none.
    Raises:
        FileNotFoundError, ValueError: as `load_pretrained`.
    """
    folder = Path(folder)
    settings = profile("cpu")
    mofa = load_pretrained(settings).cpu()
    detector = load_detector(settings).cpu()

    files = graphs(mofa, detector)
    files["faces.bin"] = mofa.model.faces.numpy().astype("<u2").tobytes()
    gallery = _gallery(mofa.size)
    for file, content in (files | gallery).items():
        write_bytes(folder / file, content)

    about = {
        "profile": settings.name,
        "size": mofa.size,
        "length": len(mofa.scales),
        "weights_digest": _weights_digest(settings),
        "groups": _groups(mofa),
        "steps": STEPS,
        "rate": RATE,
        "epsilon": EPSILON,
        "c": C,
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
        distance: Δ of Eq. 1 between the saved adversarial picture and its target;
        claimed: the same as the lab had it;
        clean_distance: Δ of the original;
        linf: the largest change of a pixel value, in 1/255.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no run of the lab, or one of other weights.
    """
    path = Path(path)
    with _reading(path):
        run = json.loads(path.read_bytes())
        version = run["format"]
    if version != FORMAT:
        raise ValueError(f"{path} has the format {version}, this library reads {FORMAT}.")
    with _reading(path):
        settings = profile(run["profile"])
        made_with = run["weights_digest"]
    if made_with != _weights_digest(settings):
        raise ValueError(
            f"{path} was made with other weights of MoFA than are loaded here: "
            "run it again in the lab."
        )

    mofa = load_pretrained(settings)
    with _reading(path):
        distance = CodeDistance(mofa.model, run["weights"])
        claimed = float(run["saved_distance"])
        names = ("original", "adversarial", "target")
        original, adversarial, target = (_decode(run[name], mofa.size) for name in names)
    device = mofa.scales.device
    original_code = mofa.encode(original.to(device))
    adversarial_code = mofa.encode(adversarial.to(device))
    target_code = mofa.encode(target.to(device))
    return {
        "distance": float(distance(adversarial_code, target_code)),
        "claimed": claimed,
        "clean_distance": float(distance(original_code, target_code)),
        "linf": float(linf(adversarial - original)),
    }


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """One sentence for a file that is no run; one that is missing is said to be."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # what it is depends on what is broken
        raise ValueError(
            f"{path} is no run saved by the lab ({type(error).__name__}: {error})."
        ) from None


def _weights_digest(settings: Profile) -> str:
    """What tells MoFA's weights of a profile from all others."""
    state, _ = load_weights("mofa", settings)
    return digest(state)


def _groups(mofa: MoFA) -> list[dict[str, object]]:
    """The groups that have a term in Eq. 1: their weights, and their places in the code."""
    places = group_places(mofa)
    groups = []
    for group, weight in WEIGHTS.items():
        start, end = places[group]
        groups.append(
            {"name": group, "symbol": SYMBOLS[group], "weight": weight, "start": start, "end": end}
        )
    return groups


def _gallery(size: int) -> dict[str, bytes]:
    """PNG files of rendered people whom no training saw.

    Of twice as many they are those whose bare face shows most, each in the best of four pictures.
    """
    candidates = 2 * PEOPLE
    faces = RenderedFaces("test", candidates * PICTURES, 0, size, PICTURES)
    bare = faces.skin(slice(None)).sum((1, 2)).view(candidates, PICTURES)  # pixels
    most, best = bare.max(1)  # (candidates,) each
    people = sorted(most.topk(PEOPLE).indices.tolist())

    files = {}
    for number, person in enumerate(people):
        image = faces.images[PICTURES * person + int(best[person])]  # (3, H, W)
        files[f"gallery/{number:02d}.png"] = png(image.permute(1, 2, 0), small=True)
    return files


def _thresholds(mofa: MoFA, detector: Detector) -> dict[str, object]:
    """What the detector and the verification are calibrated to, on pictures that show no attack."""
    faces = RenderedFaces("calibration", CALIBRATION, 0, mofa.size, PICTURES)
    images = faces.batch(slice(None))  # (200, 3, H, W)
    in_parts = [detector.scores(part) for part in images.split(50)]
    thresholds = {}
    for name in in_parts[0]:
        values = torch.cat([scores[name] for scores in in_parts])  # (200,)
        thresholds[name] = calibrate(values, FALSE_POSITIVES)

    def features(pictures: Tensor) -> Tensor:
        return detector.classifier.features(mofa.encode(pictures))

    _, different = verification_pairs(faces.identities, in_batches(features, images))
    return {
        "thresholds": thresholds,
        "calibration": {"n": CALIBRATION, "false_positives": FALSE_POSITIVES},
        "similarity_threshold": {
            "value": calibrate(different, FALSE_ACCEPTS),
            "false_accept_rate": FALSE_ACCEPTS,
        },
    }


def _decode(text: str, size: int) -> Float[Tensor, "1 3 H W"]:
    """A picture file of this side in base64, as values in [0, 1]."""
    picture = Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
    check_images(image, size)
    return image


def main(arguments: list[str] | None = None) -> None:
    """The command line, see the module; `--help` says what it takes.

    Args:
        arguments: the options; by default those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mofa_lib.web", description="Export what the browser lab fetches."
    )
    parser.add_argument("folder", type=Path)
    export_lab(parser.parse_args(arguments).folder)

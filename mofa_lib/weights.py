"""Trained weights: where they are, what they fit, and how they are kept.

Weights that were trained here come before the shipped ones wherever they fit: the profile, the size
of the pictures, the face model, and for `identity` the encoder. What they fit is read from their
metadata; their names only keep them apart.
"""

import hashlib
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from mofa_lib.artifacts import (
    SHIPPED,
    absolute,
    cache_folder,
    digest,
    load_metadata,
    load_tensors,
    save_tensors,
)
from mofa_lib.model_files import load_morphable_model
from mofa_lib.profiles import Profile, device, profile

KINDS = ("mofa", "identity", "face_identity", "detector", "linear_autoencoder")
PART = 24_000_000  # bytes; no single file of the repository exceeds 30 MB

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Weights:
    """Trained weights in their files; as text, which they are and how they were made.

    Attributes:
        paths: the files, one for each part.
        made: how they were made: what, profile, size, seed, command, data; also steps, quality and
            model where they have them.
    """

    paths: tuple[Path, ...]
    made: dict

    @property
    def are_shipped(self) -> bool:
        """Whether they came with the library."""
        return self.paths[0].parent.resolve() == (SHIPPED / "weights").resolve()

    @property
    def pieces(self) -> list[dict]:
        """How each piece of the training was made; the first one first, `made` last."""
        pieces = [self.made]
        while earlier := pieces[0].get("further_than"):
            pieces.insert(0, earlier)
        return pieces

    def __str__(self) -> str:
        file = self.paths[0]
        return f"{file.name} in {file.parent}, made by: {self.made.get('command')}"


def weights_folder() -> Path:
    """Folder of the weights that were trained here: $MOFA_WEIGHTS, or `weights` in the cache.

    It is absolute, as the cache is.
    """
    own = os.environ.get("MOFA_WEIGHTS")
    return absolute(Path(own).expanduser()) if own else cache_folder() / "weights"


def own_digest() -> str:
    """SHA-256 over all weights that were trained here: with others, numbers may be others."""
    total = hashlib.sha256()
    with suppress(RuntimeError):  # without a home folder nobody has weights of their own
        for path in sorted(weights_folder().glob("*.safetensors")):
            total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()


def training_command(what: str, name: str | Profile) -> str:
    """The command that trains what a profile loads.

    Args:
        what: one of `KINDS`.
        name: a profile or its name.
    """
    settings = profile(name)
    words = ["--what", what, "--profile", settings.weights]
    if settings.model != profile(settings.weights).model:
        words += ["--model", str(settings.model)]
    return f"python -m mofa_lib.training {shlex.join(words)}"


def find_weights(what: str, name: str | Profile) -> Weights:
    """The weights that a profile loads: trained here, else shipped; they have to fit.

    Args:
        what: one of `KINDS`.
        name: a profile or its name.
    Raises:
        FileNotFoundError: there are none; the message names the command that trains them.
        ValueError: what there is belongs to something else, or a file is damaged or missing.
    """
    settings = profile(name)
    wanted = _wanted(what, settings)
    misfits = []  # why
    for paths in _files(what, settings.weights):
        weights = Weights(paths, load_metadata(paths[0]))  # all parts have the same metadata
        wrong = [key for key, value in wanted.items() if weights.made.get(key) != value]
        if not wrong:
            return weights
        key = wrong[0]
        misfits.append(
            f"{paths[0].name} was trained for {key} {_short(weights.made.get(key))}, "
            f"not {_short(wanted[key])}"
        )

    command = training_command(what, settings)
    if misfits:
        raise ValueError(f"{misfits[0]}; weights that fit are trained with: {command}")
    raise FileNotFoundError(
        f"There are no weights of {what} for the profile {settings.weights}; "
        f"train them with: {command}"
    )


def own_weights(name: str | Profile) -> list[Weights]:
    """What was trained here and is loaded by a profile.

    Args:
        name: a profile or its name.
    """
    settings = profile(name)
    own = []
    for what in KINDS:
        if not any(_stems(weights_folder(), what, settings.weights)):
            continue
        try:
            weights = find_weights(what, settings)
        except (FileNotFoundError, ValueError):  # whoever loads them will be told
            continue
        if not weights.are_shipped:
            own.append(weights)
    return own


def load_weights(what: str, name: str | Profile) -> tuple[dict[str, Tensor], Weights]:
    """What `find_weights` finds, as float32, and where it was found.

    Args:
        what: one of `KINDS`.
        name: a profile or its name.
    Raises:
        FileNotFoundError, ValueError: as `find_weights`.
    """
    weights = find_weights(what, name)
    state = {}
    for path in weights.paths:
        for key, tensor in load_tensors(path)[0].items():
            state[key] = tensor.float() if tensor.is_floating_point() else tensor
    return state, weights


def with_weights(network: Network, state: Mapping[str, Tensor], weights: Weights) -> Network:
    """The network with trained weights, in eval mode, on the GPU where there is one.

    It remembers where they come from, as its attribute `weights`.
    """
    network.load_state_dict(state)
    network.weights = weights
    return network.eval().requires_grad_(False).to(device())


def save_weights(
    what: str,
    name: str,
    state: Mapping[str, Tensor],
    made: Mapping[str, object],
    folder: Path | None = None,
) -> tuple[Path, ...]:
    """Write trained weights as float16, in parts, and say where.

    Those of another face model than the profile's carry the first digits of its digest in their
    names: mofa_cpu_<digits>-1of1.safetensors.

    Args:
        what: one of `KINDS`.
        name: of the profile they were trained in.
        state: the weights; counters and the like keep their type.
        made: how they were made.
        folder: where to; by default `weights_folder()`. Parts of earlier weights there are deleted.
    Raises:
        ValueError: a weight is not finite, or too large for float16.
    """
    half = {
        key: tensor.half() if tensor.is_floating_point() else tensor
        for key, tensor in state.items()
    }
    for key, tensor in half.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(
                f"The weights {key} have values that float16 cannot hold; "
                "the training has diverged."
            )

    stem = f"{what}_{name}"
    model = made.get("model")
    if model not in (None, load_morphable_model(profile(name).model).digest):
        stem += f"_{model[:8]}"

    folder = folder or weights_folder()
    parts = _in_parts(half)
    paths = []
    for number, part in enumerate(parts, 1):
        path = folder / f"{stem}-{number}of{len(parts)}.safetensors"
        save_tensors(path, part, made)
        paths.append(path)

    for stale in set(folder.glob(f"{stem}-*of*.safetensors")) - set(paths):
        stale.unlink()
    return tuple(paths)


def _wanted(what: str, settings: Profile) -> dict[str, object]:
    """What the metadata of weights must say, for a profile to load them."""
    wanted = {"what": what, "profile": settings.weights, "size": settings.size}
    if what in ("mofa", "identity"):  # codes are of one face model
        wanted["model"] = load_morphable_model(settings.model).digest
    if what == "identity":  # it reads the codes of one encoder
        wanted["mofa"] = digest(load_weights("mofa", settings)[0])
    return wanted


def _files(what: str, trained_in: str) -> Iterator[tuple[Path, ...]]:
    """The files of all weights that may fit, the better ones first."""
    folders = [SHIPPED / "weights"]
    with suppress(RuntimeError):  # without a home folder nobody has weights of their own
        folders.insert(0, weights_folder())
    for folder in folders:
        for stem in _stems(folder, what, trained_in):
            paths = tuple(sorted(folder.glob(f"{stem}-*of*.safetensors")))
            parts = int(paths[0].stem.rpartition("of")[2])
            if len(paths) != parts:
                raise ValueError(
                    f"Of {stem}, {len(paths)} of {parts} parts are in {folder}; "
                    "delete them, and train or install them again."
                )
            if any(load_metadata(path) != load_metadata(paths[0]) for path in paths[1:]):
                raise ValueError(
                    f"The parts of {stem} in {folder} are of two trainings, since writing them was "
                    "interrupted; delete them, and train or install them again."
                )
            yield paths


def _stems(folder: Path, what: str, trained_in: str) -> list[str]:
    """The names of weights in a folder without their parts, as `save_weights` gives them."""
    paths = folder.glob(f"{what}_{trained_in}[-_]*of*.safetensors")
    return sorted({path.name.rpartition("-")[0] for path in paths})


def _short(value: object) -> str:
    """Eight digits are enough of a SHA-256."""
    return str(value)[:8] if len(str(value)) == 64 else str(value)


def _in_parts(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Tensors in their order, in parts of at most PART bytes; a larger one is a part of its own."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0  # of the last part, bytes
    for name, tensor in tensors.items():
        if parts[-1] and size + tensor.nbytes > PART:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += tensor.nbytes
    return parts

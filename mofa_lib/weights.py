"""Trained weights: where they are, what they were made for, and how they are kept."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mofa_lib.artifacts import SHIPPED, cache_folder, load_tensors, save_tensors

PART = 24_000_000  # bytes; no single file of the repository exceeds 30 MB


def weights_paths(what: str, profile: str) -> list[Path]:
    """The files of trained weights: shipped, else trained here; empty if there are none."""
    for folder in (SHIPPED / "weights", cache_folder() / "weights"):
        paths = sorted(folder.glob(f"{what}_{profile}-*of*.safetensors"))
        if paths:
            return paths
    return []


def save_weights(
    what: str,
    profile: str,
    state: Mapping[str, Tensor],
    metadata: Mapping[str, object],
    folder: Path | None = None,
) -> list[Path]:
    """Write trained weights as float16, in parts, and say where.

    Args:
        what: see `load_weights`.
        profile: the profile they were trained in.
        state: the weights; counters and the like keep their type.
        metadata: how they were made.
        folder: where to; by default in the cache. Parts of earlier weights there are deleted.
    Raises:
        ValueError: a weight is not finite, or too large for float16.
    """
    half = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    for name, tensor in half.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(
                f"The weights {name} have values that float16 cannot hold; "
                "the training has diverged."
            )

    folder = folder or cache_folder() / "weights"
    parts = _in_parts(half)
    paths = []
    for number, part in enumerate(parts, 1):
        path = folder / f"{what}_{profile}-{number}of{len(parts)}.safetensors"
        save_tensors(path, part, metadata)
        paths.append(path)

    for stale in set(folder.glob(f"{what}_{profile}-*of*.safetensors")) - set(paths):
        stale.unlink()
    return paths


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


def load_weights(what: str, profile: str, **wanted: object) -> tuple[dict[str, Tensor], dict]:
    """Trained weights as float32, and how they were made.

    Args:
        what: mofa, identity, face_identity, detector or linear_autoencoder.
        profile: the profile they were trained in.
        wanted: what the metadata must say, for example size=112 or model=<digest>.
    Raises:
        FileNotFoundError: they are not there; the message names the command that trains them.
        ValueError: they belong to something else, or a file is damaged.
    """
    paths = weights_paths(what, profile)
    if not paths:
        raise FileNotFoundError(
            f"There are no weights of {what} for the profile {profile}; train them with: "
            f"python -m mofa_lib.training --what {what} --profile {profile}"
        )
    parts = int(paths[0].stem.rpartition("of")[2])
    if len(paths) != parts:
        raise ValueError(
            f"Of {what}_{profile}, {len(paths)} of {parts} parts are in {paths[0].parent}; "
            "install again."
        )

    state, metadata = {}, {}
    for path in paths:
        part, metadata = load_tensors(path)  # all parts have the same metadata
        state.update(part)
    for key, value in {"what": what, "profile": profile, **wanted}.items():
        if metadata.get(key) != value:
            raise ValueError(
                f"{paths[0].name} was trained for {key} {metadata.get(key)}, not {value}; "
                "train again with: "
                f"python -m mofa_lib.training --what {what} --profile {profile}"
            )

    full = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    return full, metadata

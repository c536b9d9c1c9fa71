"""Files that the library ships or makes: where they live, how they are written, how a damaged one is recognised.

Everything is safetensors or JSON, never a pickle: opening a file must not be able to run code.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

SHIPPED = Path(__file__).parent / "shipped"


def cache_folder() -> Path:
    """Folder for rendered faces and own trained weights: $MOFA_CACHE, or ~/.cache/mofa_lib."""
    return Path(os.environ.get("MOFA_CACHE") or "~/.cache/mofa_lib").expanduser()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the whole new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # or a power cut might leave the new name without the content
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_json(path: Path, content: Mapping) -> None:
    """Write JSON atomically, keys in the order given."""
    write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, object]) -> None:
    """Write tensors atomically as safetensors; the values of `metadata` are stored as JSON."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(plain, metadata={key: json.dumps(value) for key, value in metadata.items()}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and metadata of a safetensors file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated or is not safetensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is damaged or not a safetensors file ({error}); delete it and install or make it again."
        ) from None
    return tensors, metadata


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes: equal exactly when the tensors are."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.numpy().tobytes())
    return total.hexdigest()


PART = 24_000_000  # bytes; no single file of the repository exceeds 30 MB


def weights_paths(what: str, profile: str) -> list[Path]:
    """The files of trained weights: shipped, else trained on this machine; empty if there are none."""
    for folder in (SHIPPED / "weights", cache_folder() / "weights"):
        if found := sorted(folder.glob(f"{what}_{profile}-*of*.safetensors")):
            return found
    return []


def save_weights(
    what: str, profile: str, state: Mapping[str, Tensor], metadata: Mapping[str, object], folder: Path | None = None
) -> list[Path]:
    """Write trained weights as float16, in parts, to a folder (by default in the cache), and say where.

    Raises:
        ValueError: a weight is not finite, or too large for float16.
    """
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    for key, value in half.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"The weights {key} have values that float16 cannot hold; the training has diverged.")
    parts: list[dict[str, Tensor]] = [{}]
    for key, value in half.items():
        if parts[-1] and sum(t.nbytes for t in parts[-1].values()) + value.nbytes > PART:
            parts.append({})
        parts[-1][key] = value
    folder = folder or cache_folder() / "weights"
    paths = [folder / f"{what}_{profile}-{i}of{len(parts)}.safetensors" for i in range(1, len(parts) + 1)]
    for path, part in zip(paths, parts, strict=True):
        save_tensors(path, part, metadata)
    for stale in set(folder.glob(f"{what}_{profile}-*of*.safetensors")) - set(paths):
        stale.unlink()
    return paths


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
        raise ValueError(f"Of {what}_{profile}, {len(paths)} of {parts} parts are in {paths[0].parent}; install again.")
    state, metadata = {}, {}
    for path in paths:
        part, metadata = load_tensors(path)
        state.update(part)
    for key, value in {"what": what, "profile": profile, **wanted}.items():
        if metadata.get(key) != value:
            raise ValueError(
                f"{paths[0].name} was trained for {key} {metadata.get(key)}, not {value}; train again with: "
                f"python -m mofa_lib.training --what {what} --profile {profile}"
            )
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, metadata


def load_result(name: str) -> dict:
    """A shipped result file, as the chapter that makes it wrote it.

    Raises:
        FileNotFoundError: there is no such result; the message names the command that makes them.
    """
    path = SHIPPED / "results" / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"There is no result file {path.name}; make it with: make results")
    return json.loads(path.read_text(encoding="utf8"))


def made_with(result: Mapping) -> str:
    """One line for the foot of a table: seed, profile, time and command; and whether the weights have changed since."""
    line = f"seed {result['seed']} · profile {result['profile']} · {result['seconds']} s · `{result['command']}`"
    changed = []
    for name, checksum in result["weights"].items():
        what, profile = name.partition("-")[0].rsplit("_", 1)
        today = [path for path in weights_paths(what, profile) if path.name == name]
        if not today or hashlib.sha256(today[0].read_bytes()).hexdigest() != checksum:
            changed.append(name)
    return line + f" · **made with earlier weights** ({', '.join(changed)})" * bool(changed)


def save_result(
    folder: str | Path,
    name: str,
    *,
    claim: str,
    chapter: str,
    profile: str,
    seed: int,
    n: int,
    weights: list[str],
    seconds: float,
    data: Mapping,
    switch: str = "live",
) -> dict:
    """Write a result file with its provenance, and return it.

    Args:
        folder: where to; `make results` gives the library's own folder.
        name: of the file, without ending.
        claim: the sentence of the paper, or the question, that the numbers answer.
        chapter: name of the notebook that computes them.
        n: number of pairs, or of pictures, behind a number.
        weights: which trained weights were used, see `load_weights`.
        data: the numbers.
        switch: the chapter's parameter that has them computed.
    """
    files = [path for what in weights for path in weights_paths(what, "cpu" if profile == "smoke" else profile)]
    result = {
        "claim": claim,
        "command": f"papermill book/{chapter}.ipynb out.ipynb -p {switch} True -p profile {profile} -p seed {seed}",
        "profile": profile,
        "seed": seed,
        "n": n,
        "weights": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "versions": {"torch": torch.__version__.split("+")[0], "numpy": numpy.__version__},
        "seconds": round(seconds),
        "data": data,
    }
    save_json(Path(folder) / f"{name}.json", result)
    return result

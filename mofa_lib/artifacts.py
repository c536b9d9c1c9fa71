"""Files that the library ships or makes: where they live, and how they are written and checked.

Everything is safetensors or JSON, never a pickle: opening a file must not be able to run code.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

SHIPPED = Path(__file__).parent / "shipped"
PART = 24_000_000  # bytes; no single file of the repository exceeds 30 MB


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
    texts = {key: json.dumps(value) for key, value in metadata.items()}
    write_bytes(path, save(plain, metadata=texts))


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
            f"{path} is damaged or not a safetensors file ({error}); "
            "delete it and install or make it again."
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


def packed(values: Iterable[float] | numpy.ndarray | Tensor) -> str:
    """Numbers as a text for a result file: five significant digits, separated by blanks."""
    return " ".join(f"{float(value):.5g}" for value in values)


def unpacked(text: str) -> numpy.ndarray:
    """The numbers that `packed` packed."""
    return numpy.array(text.split(), dtype=float)


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
    """One line for the foot of a table: seed, profile, time and command.

    It also says whether the weights have changed since.
    """
    line = (
        f"seed {result['seed']} · profile {result['profile']} · {result['seconds']} s · "
        f"`{result['command']}`"
    )
    changed = []  # names of files
    for name, checksum in result["weights"].items():
        what, profile = name.partition("-")[0].rsplit("_", 1)  # mofa_cpu-1of1.safetensors
        today = {path.name: path for path in weights_paths(what, profile)}
        if name not in today or _checksum(today[name]) != checksum:
            changed.append(name)
    if changed:
        line += f" · **made with earlier weights** ({', '.join(changed)})"
    return line


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
    """Write a result file with its provenance, and return what it says.

    Args:
        folder: where to; `make results` gives the library's own folder.
        name: of the file, without ending.
        claim: the sentence of the paper, or the question, that the numbers answer.
        chapter: name of the notebook that computes them.
        profile: the profile they were computed in.
        seed: the chapter's.
        n: number of pairs, or of pictures, behind a number.
        weights: which trained weights were used, see `load_weights`.
        seconds: what it took.
        data: the numbers.
        switch: the chapter's parameter that has them computed.
    """
    trained_in = "cpu" if profile == "smoke" else profile
    files = []
    for what in weights:
        files += weights_paths(what, trained_in)

    result = {
        "claim": claim,
        "command": (
            f"papermill book/{chapter}.ipynb out.ipynb "
            f"-p {switch} True -p profile {profile} -p seed {seed}"
        ),
        "profile": profile,
        "seed": seed,
        "n": n,
        "weights": {path.name: _checksum(path) for path in files},
        "versions": {"torch": torch.__version__.split("+")[0], "numpy": numpy.__version__},
        "seconds": round(seconds),
        "data": data,
    }
    save_json(Path(folder) / f"{name}.json", result)
    return result


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""Files that the library ships or makes: where they live, and how they are written and checked.

Everything is safetensors or JSON, never a pickle: opening a file must not be able to run code.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

SHIPPED = Path(__file__).parent / "shipped"


def cache_folder() -> Path:
    """Folder for rendered faces and own trained weights: $MOFA_CACHE, or ~/.cache/mofa_lib.

    It is absolute: a relative MOFA_CACHE keeps the meaning that it had when it was first asked for.

    Raises:
        RuntimeError: MOFA_CACHE is not set, and there is no home folder.
    """
    try:
        return absolute(Path(os.environ.get("MOFA_CACHE") or "~/.cache/mofa_lib").expanduser())
    except RuntimeError:
        raise RuntimeError(
            "There is no home folder for the cache: set MOFA_CACHE to a folder of your own."
        ) from None


@cache
def absolute(folder: Path) -> Path:
    """Where a relative folder was when it was first asked for, wherever one works now."""
    return folder.absolute()


@contextmanager
def writing_to(folder: Path, size: int) -> Iterator[None]:
    """Say in a sentence why something cannot be written to a folder, and what to do.

    Args:
        folder: in the cache, or one that somebody has chosen.
        size: what all of it takes, bytes.
    Raises:
        OSError: the disk is full, or the folder is not for writing.
    """
    is_cache = folder.is_relative_to(cache_folder())
    other = "set MOFA_CACHE to a folder" if is_cache else "choose a folder"
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            there = next(place for place in (folder, *folder.parents) if place.exists())
            free = shutil.disk_usage(there).free
            raise OSError(
                f"The disk is full: the folder {folder} needs {size / 1e6:.1f} MB and has "
                f"{free / 1e6:.1f} MB. Make room, or {other} with more."
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise type(error)(
                f"The folder {folder} cannot be written ({os.strerror(error.errno)}): "
                f"{other} of your own."
            ) from None
        raise


def beside(path: Path) -> Path:
    """A hidden name beside a file, which no other process, thread or container will choose."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the whole new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path)
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
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, _metadata(file)


def load_metadata(path: Path) -> dict:
    """The metadata of a safetensors file alone, without reading its tensors.

    Raises:
        FileNotFoundError, ValueError: as `load_tensors`.
    """
    with _opened(path) as file:
        return _metadata(file)


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    """A safetensors file, with our own words for what may be wrong with it."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is damaged or not a safetensors file ({error}); "
            "delete it and install or make it again."
        ) from None


def _metadata(file: safe_open) -> dict:
    return {key: json.loads(value) for key, value in (file.metadata() or {}).items()}


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes: equal exactly when the tensors are."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.numpy().tobytes())
    return total.hexdigest()

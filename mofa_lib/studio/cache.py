"""Large arrays on disk, filled part by part: interrupted, they go on; damage is found."""

import errno
import os
import shutil
import zlib
from math import prod
from pathlib import Path

import numpy as np

from mofa_lib.artifacts import beside, write_bytes


class FaceCache:
    """Some arrays with one row a picture, in a folder of their own.

    A part is a run of rows. Its checksum is noted only after its rows are on disk, so a process
    that is killed loses the part at which it worked and nothing else. Several processes may fill
    different parts at the same time; only one of them may `begin`.

    Args:
        folder: where the arrays live; made when it is needed.
        arrays: type and shape of each array by name; the first axis is the pictures.
        part: rows of a part.
    Attributes:
        size: of all arrays, bytes.
    """

    def __init__(self, folder: Path, arrays: dict[str, tuple[type, tuple[int, ...]]], part: int):
        self.folder = folder
        self.part = part
        self.size = sum(np.dtype(kind).itemsize * prod(shape) for kind, shape in arrays.values())
        self._about = arrays
        self._notes = folder / "parts.txt"

    def open(self, mode: str = "c") -> dict[str, np.ndarray]:
        """The arrays, mapped into memory; by default what a reader changes never reaches the disk.

        Raises:
            OSError, ValueError, EOFError: a file is missing or is not what it should be.
        """
        arrays = {
            name: np.load(self.folder / f"{name}.npy", mmap_mode=mode) for name in self._about
        }
        for name, (kind, shape) in self._about.items():
            if arrays[name].dtype != kind or arrays[name].shape != shape:
                raise ValueError(
                    f"The file {self.folder / name}.npy is damaged; delete its folder."
                )
        return arrays

    def missing(self) -> list[int]:
        """The first rows of all parts that are not there, or not as they were written."""
        _, shape = next(iter(self._about.values()))  # all arrays have as many rows
        starts = list(range(0, shape[0], self.part))
        try:
            arrays, kept = self.open("r"), self.kept()
        except (OSError, ValueError, EOFError):
            return starts

        missing = []
        for start in starts:
            rows = {name: array[start : start + self.part] for name, array in arrays.items()}
            if kept.get(start) != self._checksum(rows):
                missing.append(start)
        return missing

    def kept(self) -> dict[int, int]:
        """Checksums by first row of a part; a note that was cut off counts as none."""
        lines = self._notes.read_text(errors="replace").split("\n")
        kept = {}
        for line in lines[:-1]:  # the last one may be cut off
            start, _, checksum = line.partition(" ")
            if start.isdecimal() and checksum.isdecimal():
                kept[int(start)] = int(checksum)
        return kept

    def begin(self) -> None:
        """Make the files, unless they are there.

        Raises:
            OSError: they cannot be made, or the disk has not the room for all rows.
        """
        try:
            self.open("r")
            self.kept()
        except (OSError, ValueError, EOFError):
            self._make()

    def _make(self) -> None:
        """Empty arrays, and no part noted as kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = [self.folder / f"{name}.npy" for name in self._about]
        empty = [beside(path) for path in paths]  # never in place: somebody may be reading
        try:
            for path, (kind, shape) in zip(empty, self._about.values(), strict=True):
                _reserve(path, np.dtype(kind), shape)
            write_bytes(self._notes, b"")
            for made, path in zip(empty, paths, strict=True):
                os.replace(made, path)
        finally:
            for path in empty:
                path.unlink(missing_ok=True)

    def write(self, start: int, **rows: np.ndarray) -> None:
        """Keep one part: as many rows for every array as it has there.

        They are not written through the memory map, which a full disk would break with a signal.
        """
        for name, array in self.open("r").items():
            place = array[start : start + self.part]
            given = rows[name].astype(place.dtype).reshape(place.shape)
            with (self.folder / f"{name}.npy").open("r+b") as file:
                file.seek(array.offset + start * array.strides[0])
                file.write(given.tobytes())
                file.flush()
                os.fsync(file.fileno())
        with self._notes.open("a") as notes:  # on a line of its own, whatever came before
            notes.write(f"\n{start} {self._checksum(rows)}\n")

    def _checksum(self, rows: dict[str, np.ndarray]) -> int:
        """CRC-32 over the rows of all arrays, in the order in which the cache names them."""
        total = 0
        for name, (kind, _) in self._about.items():
            total = zlib.crc32(rows[name].astype(kind, copy=False).tobytes(), total)
        return total


def _reserve(path: Path, kind: np.dtype, shape: tuple[int, ...]) -> None:
    """A file of zeros in NumPy's format that has its room on the disk already."""
    size = kind.itemsize * prod(shape)
    about = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, about)
        file.flush()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), file.tell(), size)
        elif shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        else:
            file.truncate(file.tell() + size)

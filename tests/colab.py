"""Every notebook as Colab runs it: alone in an empty folder, with Colab's versions, the library
from the last commit.

    python -m tests.colab python3.13

A virtual environment with Colab's packages (5 GB) is made anew in `_build/colab`. Each notebook's
first cell believes that it is in Colab and installs what it needs from this repository; Colab's
packages must outlive that.
"""

import os
import shutil
import subprocess
import sys

from packaging.utils import canonicalize_name
from tqdm import tqdm

from tests.test_environments import COLAB, ROOT

FOLDER = ROOT / "_build" / "colab"
BIN = FOLDER / "venv" / "bin"
PACKAGES = {name: version for name, version in COLAB.items() if name != "python"}
STARTUP = FOLDER / "ipython" / "profile_default" / "startup" / "colab.py"


def prepare(python: str) -> None:
    """Make the environment, with an empty `google.colab` that every kernel imports as it starts."""
    subprocess.run([python, "-m", "venv", "--clear", FOLDER / "venv"], check=True)
    pins = [f"{name}=={version}" for name, version in PACKAGES.items()]
    subprocess.run(
        [BIN / "python", "-m", "pip", "install", "--quiet", "papermill", *pins], check=True
    )
    (packages,) = FOLDER.glob("venv/lib/python*/site-packages")
    (packages / "google" / "colab").mkdir(parents=True, exist_ok=True)
    (packages / "google" / "colab" / "__init__.py").touch()
    STARTUP.parent.mkdir(parents=True, exist_ok=True)
    STARTUP.write_text("import google.colab\n")


def run(notebook: str) -> bool:
    """Whether a notebook runs through; what it printed lies beside it in `_build/colab/alone`."""
    alone = FOLDER / "alone" / notebook
    shutil.rmtree(alone, ignore_errors=True)
    alone.mkdir(parents=True)
    shutil.copy(ROOT / "book" / f"{notebook}.ipynb", alone)
    environment = os.environ | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "IPYTHONDIR": str(FOLDER / "ipython"),
        "MOFA_REPOSITORY": ROOT.as_uri(),
    }
    command = [
        "papermill",
        f"{notebook}.ipynb",
        "run.ipynb",
        "-k",
        "python3",
        "-p",
        "profile",
        "smoke",
    ]
    with (alone / "log.txt").open("w") as log:
        return not subprocess.run(
            command, cwd=alone, env=environment, stdout=log, stderr=log
        ).returncode


def installed() -> dict[str, str]:
    """Versions of the environment's packages."""
    frozen = subprocess.run(
        [BIN / "python", "-m", "pip", "freeze"], check=True, capture_output=True, text=True
    ).stdout
    pins = [line.split("==") for line in frozen.splitlines() if "==" in line]
    return {canonicalize_name(name): version for name, version in pins}


def main(python: str) -> None:
    prepare(python)
    notebooks = sorted(path.stem for path in (ROOT / "book").glob("*.ipynb"))
    failed = [notebook for notebook in tqdm(notebooks, unit="notebook") if not run(notebook)]
    replaced = PACKAGES.items() - installed().items()
    for notebook in failed:
        print(f"{notebook} failed: see {FOLDER / 'alone' / notebook / 'log.txt'}")
    for name, version in sorted(replaced):
        print(f"{name} {version} was replaced.")
    print(
        f"{len(notebooks) - len(failed)} of {len(notebooks)} notebooks ran; "
        f"{len(replaced)} packages were replaced."
    )
    sys.exit(bool(failed or replaced))


if __name__ == "__main__":
    main(sys.argv[1])

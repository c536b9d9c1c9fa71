"""The same book without Jupyter Book, in the newest Sphinx, MyST-NB and theme: one learns in time
what in it they break.

    python -m tests.future

A virtual environment is made anew in `_build/future`; the library and what it needs come from the
environment that runs this. The settings are derived from `_config.yml`, the runs of the notebooks
are those of `make book`.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path
from pprint import pformat

from jupyter_book.config import get_final_config

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "_build" / "future"
PYTHON = FOLDER / "venv" / "bin" / "python"
PACKAGES = (
    "sphinx",
    "myst-nb",
    "sphinx-book-theme",
    "sphinx-comments",
    "sphinx-copybutton",
    "sphinx-design",
    "sphinx-exercise",
    "sphinx-external-toc",
    "sphinx-proof",
    "sphinx-togglebutton",
    "sphinxcontrib-bibtex",
)
# Jupyter Book itself, and its help with LaTeX.
GONE = {"jupyter_book", "sphinx_jupyterbook_latex", "sphinx_multitoc_numbering"}
SETTINGS_GONE = {"use_jupyterbook_latex", "latex_engine"}


def settings() -> dict[str, object]:
    """Names and values of a `conf.py`, which may lie anywhere: its paths are absolute."""
    found, _ = get_final_config(
        user_yaml=ROOT / "_config.yml", cli_config={"latex_individualpages": False}
    )
    found["extensions"] = [name for name in found["extensions"] if name not in GONE]
    found["external_toc_path"] = str(ROOT / "_toc.yml")
    for name in ("html_static_path", "bibtex_bibfiles"):
        found[name] = [str(ROOT / path) for path in found[name]]
    for name in ("html_logo", "html_favicon"):
        found[name] = str(ROOT / found[name])
    return {name: value for name, value in found.items() if name not in SETTINGS_GONE}


def conf() -> str:
    """The text of the `conf.py`."""
    lines = [f"{name} = {pformat(value)}" for name, value in sorted(settings().items())]
    own = f"sys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})"
    return "\n".join(["import sys", "", own, *lines, ""])


def prepare() -> None:
    """Make the environment. What it lacks it finds in this one, after its own packages."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER / "venv"], check=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    (packages,) = FOLDER.glob("venv/lib/python*/site-packages")
    here = sysconfig.get_path("purelib")
    (packages / "others.pth").write_text(f"import site; site.addsitedir({here!r})\n")


def main() -> None:
    prepare()
    (FOLDER / "conf.py").write_text(conf(), encoding="utf8")
    options = ["-c", FOLDER, "-n", "-W", "--keep-going", "-q"]
    built = subprocess.run([PYTHON, "-m", "sphinx", *options, ROOT, FOLDER / "html"])
    if not built.returncode:
        print(f"The book, in the newest Sphinx, is at {FOLDER / 'html' / 'index.html'}")
    sys.exit(built.returncode)


if __name__ == "__main__":
    main()

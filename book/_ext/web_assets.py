"""Copies the web files that the site serves itself into book/_static/vendor (ignored by git).

From node_modules (pinned in package-lock.json): MathJax, RequireJS, the Jupyter widgets' html-manager. From the Python
package k3d: its viewer, so that the viewer always fits the version that drew the figure.
"""

import importlib.util
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "node_modules"
VENDOR = ROOT / "book" / "_static" / "vendor"
# find_spec does not import k3d, which would start the whole of ipywidgets.
K3D = Path(importlib.util.find_spec("k3d").origin).parent / "static"

WIDGETS = "@jupyter-widgets/html-manager/dist"  # the html-manager expects npm's own folders

FOLDERS = {
    "mathjax/output/chtml/fonts/woff-v2": MODULES / "mathjax/es5/output/chtml/fonts/woff-v2",
    "mathjax/input/tex/extensions": MODULES / "mathjax/es5/input/tex/extensions",  # loaded when a page asks
    "mathjax/a11y": MODULES / "mathjax/es5/a11y",
    "mathjax/sre": MODULES / "mathjax/es5/sre",
}
FILES = {
    "mathjax/tex-mml-chtml.js": MODULES / "mathjax/es5/tex-mml-chtml.js",
    "mathjax/LICENSE": MODULES / "mathjax/LICENSE",
    "requirejs/require.js": MODULES / "requirejs/require.js",
    f"{WIDGETS}/embed-amd.js": MODULES / WIDGETS / "embed-amd.js",
    f"{WIDGETS}/embed.js.LICENSE.txt": MODULES / WIDGETS / "embed.js.LICENSE.txt",
    **{f"{WIDGETS}/{font.name}": font for font in (MODULES / WIDGETS).glob("*.woff*")},
    "k3d/standalone.js": K3D / "standalone.js",
    "k3d/standalone.js.LICENSE.txt": K3D / "standalone.js.LICENSE.txt",
}


def main() -> None:
    shutil.rmtree(VENDOR, ignore_errors=True)
    for name, source in FOLDERS.items():
        shutil.copytree(source, VENDOR / name)
    for name, source in FILES.items():
        (VENDOR / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, VENDOR / name)


if __name__ == "__main__":
    main()

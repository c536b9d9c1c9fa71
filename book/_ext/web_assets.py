"""Copies the web files that the site serves itself into book/_static/vendor (ignored by git).

From node_modules (pinned in package-lock.json): MathJax; k3d, which draws the heads that turn;
onnxruntime and three.js, which the lab runs on.
"""

import json
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "node_modules"
VENDOR = ROOT / "book" / "_static" / "vendor"

# What the lab loads before it starts; its page says how much that is, and shows how much is there.
LAB = {
    "onnxruntime/ort.wasm.min.mjs": MODULES / "onnxruntime-web/dist/ort.wasm.min.mjs",
    "onnxruntime/ort-wasm-simd-threaded.mjs": MODULES
    / "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs",
    "onnxruntime/ort-wasm-simd-threaded.wasm": MODULES
    / "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
    "three/three.module.js": MODULES / "three/build/three.module.js",
    "three/three.core.js": MODULES / "three/build/three.core.js",
    "three/OrbitControls.js": MODULES / "three/examples/jsm/controls/OrbitControls.js",
}
FOLDERS = {
    "mathjax/output/chtml/fonts/woff-v2": MODULES / "mathjax/es5/output/chtml/fonts/woff-v2",
    "mathjax/input/tex/extensions": MODULES
    / "mathjax/es5/input/tex/extensions",  # loaded when a page asks
    "mathjax/a11y": MODULES / "mathjax/es5/a11y",
    "mathjax/sre": MODULES / "mathjax/es5/sre",
}
FILES = {
    "mathjax/tex-mml-chtml.js": MODULES / "mathjax/es5/tex-mml-chtml.js",
    "mathjax/LICENSE": MODULES / "mathjax/LICENSE",
    "three/GLTFExporter.js": MODULES / "three/examples/jsm/exporters/GLTFExporter.js",
    "three/LICENSE": MODULES / "three/LICENSE",
    **LAB,
    "k3d/standalone.js": MODULES / "k3d/dist/standalone.js",
    "k3d/LICENSE.txt": MODULES / "k3d/LICENSE.txt",
}


def main() -> None:
    shutil.rmtree(VENDOR, ignore_errors=True)
    for name, source in FOLDERS.items():
        shutil.copytree(source, VENDOR / name)
    for name, source in FILES.items():
        (VENDOR / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, VENDOR / name)
    sizes = {name: source.stat().st_size for name, source in LAB.items()}
    (VENDOR / "lab_runtime.json").write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()

"""For tests that need a browser: Debian's chromium, which draws WebGL on the CPU, a server of
files, and axe-core.
"""

import functools
import os
import shutil
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build" / "html"
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"  # put there by `make book`
CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
)

needs_chromium = pytest.mark.skipif(
    not CHROMIUM, reason="no chromium (Debian: apt install chromium; or set CHROMIUM)"
)


# Nodes that others make, with what axe-core finds wrong with them.
OTHERS = {
    "#pst-back-to-top": "the theme's button, which comes and goes with the way one scrolls",
    ".search-button-field, .theme-switch-button": "the theme's buttons have names of their own",
    ".has-children > details > summary": "the theme's arrows in the contents have no names",
    ".citation-list": "docutils' bibliography is a list whose items are of another role",
    ".sig > dl": "Sphinx sets the parameters of a long signature as definitions without terms",
}

# While something fades in it has little contrast.
AT_REST = "() => document.getAnimations().every((animation) => animation.playState === 'finished')"

VIOLATIONS = """async ([others, rules]) => {
    const chosen = rules.length ? { runOnly: rules } : {};
    const exclude = others.map((other) => [other]);
    const found = await axe.run({ exclude }, { iframes: false, ...chosen });
    const grave = found.violations.filter(({ impact }) => /serious|critical/.test(impact));
    const named = (id, node) => `${id}: ${node.html.slice(0, 300)}`;
    return grave.flatMap(({ id, nodes }) => nodes.map((node) => named(id, node)));
}"""


def violations(frame, *rules: str) -> list[str]:
    """What axe-core calls serious or critical in a page or frame of playwright, without its inner
    frames and OTHERS.

    By all of its rules, unless some are named.
    """
    frame.add_script_tag(path=AXE)
    return frame.evaluate(VIOLATIONS, [list(OTHERS), rules])


@contextmanager
def chromium():
    """A browser of playwright; root needs --no-sandbox."""
    from playwright.sync_api import sync_playwright

    options = [
        "--no-sandbox",
        "--enable-unsafe-swiftshader",
        "--use-angle=swiftshader",
        "--ignore-gpu-blocklist",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


class Quiet(SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/favicon.ico":  # asked for by the browser, not by a page
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *arguments):
        pass


@contextmanager
def served(folder: Path):
    """The address at which a folder is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()

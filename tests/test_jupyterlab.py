"""What is live, used as a reader uses it: in JupyterLab, in a browser, with a kernel."""

import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import pytest
from browsers import needs_chromium
from PIL import Image

pytestmark = [pytest.mark.xdist_group("jupyterlab"), needs_chromium]  # one server for all

# As little as a kernel can import in a few seconds; an untrained encoder has gradients as well.
CELLS = [
    """
import torch
from mofa_lib import MoFA, load_morphable_model, show

torch.manual_seed(0)
mofa = MoFA(load_morphable_model(), size=32, encoder="tiny").eval()
torch.nn.init.normal_(mofa.head.weight, std=0.1)
explorer = show.explore(mofa)
explorer
""",
    """
panel = show.attack_panel(mofa, torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32))
assert panel.widget
panel.settings["steps"].value = 200
panel
""",
    "print('yaw', round(float(explorer.code.rotation[0, 1]), 2), 'step', panel.play.value)",
]


def free_port() -> int:
    with socket.socket() as connection:
        connection.bind(("127.0.0.1", 0))
        return connection.getsockname()[1]


@contextmanager
def jupyterlab(folder: Path, home: Path):
    """The address of a JupyterLab on a folder that knows nothing of its user's settings."""
    environment = {
        **os.environ,
        **{f"JUPYTER_{name}_DIR": str(home / name) for name in ("CONFIG", "DATA", "RUNTIME")},
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
    }
    settings = home / "CONFIG" / "labconfig" / "default_setting_overrides.json"
    settings.parent.mkdir(parents=True)
    news = {"fetchNews": "false", "checkForUpdates": False}
    settings.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": news}))
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    options = {
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": folder,
        "ServerApp.allow_root": True,
        "ServerApp.open_browser": False,
        "IdentityProvider.token": "",
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
    }
    command = [sys.executable, "-m", "jupyterlab", *(f"--{k}={v}" for k, v in options.items())]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        while not answers(f"{address}/api"):
            assert server.poll() is None, (home / "log").read_text()
            time.sleep(0.2)
        yield address
    finally:
        server.terminate()  # and its kernels with it
        server.wait(60)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture
def page(browser, tmp_path_factory):
    """A notebook with both panels, all cells run but the last."""
    folder, home = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("home")
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "live.ipynb")
    with jupyterlab(folder, home) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 1600})
        page.set_default_timeout(60_000)
        page.goto(f"{address}/lab/tree/live.ipynb")
        page.locator(".jp-Notebook .jp-Cell").first.click()
        for _ in CELLS[:-1]:
            page.keyboard.press("Shift+Enter")
        page.locator(".widget-play").wait_for()
        yield page
        page.close()


def pixels(picture) -> np.ndarray:
    """What is seen of an element, 0 to 255."""
    return np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("RGB")).astype(int)


def changed(page, act, picture) -> float:
    """The share of a picture's pixels that an act of the reader changes."""
    before, source = pixels(picture), picture.get_attribute("src")
    act()
    other = "([image, source]) => image.src !== source && image.complete"
    page.wait_for_function(other, arg=[picture.element_handle(), source])
    return float((np.abs(pixels(picture) - before).max(2) > 8).mean())


def answer(page) -> str:
    """What the last cell prints."""
    cell = page.locator(".jp-CodeCell").nth(len(CELLS) - 1)
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        "(cell) => /yaw .* step/.test(cell.querySelector('.jp-OutputArea')?.textContent)",
        arg=cell.element_handle(),
    )
    return cell.locator(".jp-OutputArea-output").inner_text().strip()


def test_a_slider_turns_the_face_and_an_attack_starts_and_stops(page):
    """One test, so that one JupyterLab is enough where tests run side by side."""
    pictures = page.locator(".widget-image")
    face, perturbation = pictures.first, pictures.last
    yaw = page.locator(".widget-hslider", has_text="yaw").get_by_role("slider")
    assert changed(page, lambda: yaw.press("PageUp"), face) > 0.02

    start = page.locator(".widget-play button").first
    status = page.locator(".widget-html", has_text=" of 200")
    assert changed(page, start.click, perturbation) > 0.5
    few = "(line) => /step ([3-9]|\\d\\d+) of/.test(line.textContent)"
    page.wait_for_function(few, arg=status.element_handle())
    start.click()
    page.locator(".widget-play .fa-play").wait_for()
    _, angle, _, step = answer(page).split()
    assert float(angle) > 0 and 3 <= int(step) < 200
    # The kernel is ahead of what it has sent.
    last = "([line, text]) => line.textContent.includes(text)"
    page.wait_for_function(last, arg=[status.element_handle(), f"step {step} of 200"])

"""Every chapter on a GPU that is only pretended: nothing is left behind on the CPU, or mixed with
what lies there.
"""

from pathlib import Path

import papermill
import pytest
import torch
from pretended_gpu import Mode

NOTEBOOKS = sorted((Path(__file__).parents[1] / "book").glob("*.ipynb"))
STARTUP = (
    "import sys; sys.path.append({!r}); import pretended_gpu; pretended_gpu.install(); "
    "del sys, pretended_gpu\n"
)


def test_it_refuses_what_cuda_refuses():
    plain, numbers = torch.arange(3), torch.Generator().manual_seed(0)
    with Mode():
        there = torch.arange(3, device="cuda")
        for wrong in (
            lambda: there + plain,
            lambda: torch.cat([there, plain]),
            lambda: plain[there],
            lambda: torch.rand(3, device="cuda", generator=numbers),
        ):
            with pytest.raises(RuntimeError, match="device"):
                wrong()
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()


def test_it_allows_what_cuda_allows():
    plain = torch.arange(3)
    with Mode():
        x = plain.float().to("cuda").requires_grad_()
        loss = (2 * x[plain] + torch.tensor(1.0)).square().sum()
        loss.backward()
        values = torch.zeros(3, device="cuda")
        values[:2] = plain[:2].float()
        for tensor in (
            x,
            loss,
            x.grad,
            values,
            torch.zeros_like(x),
            torch.randn(2).to(x),
            x.view_as(plain),
        ):
            assert tensor.device.type == "cuda" and tensor.is_cuda
        for tensor in (plain, x.cpu(), x.detach().to("cpu"), torch.ones(2), plain.view_as(x)):
            assert tensor.device.type == "cpu" and not tensor.is_cuda
        assert x.grad.tolist() == [4.0, 12.0, 20.0] and values.cpu().numpy().tolist() == [
            0.0,
            1.0,
            0.0,
        ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "switch"),
    [
        *[pytest.param(path, {}, id=path.stem) for path in NOTEBOOKS],
        *[
            pytest.param(path, {"live": True}, id=f"{path.stem}-live")
            for path in NOTEBOOKS
            if "live" in papermill.inspect_notebook(path)
        ],
    ],
)
def test_chapter(path, switch, tmp_path, monkeypatch):
    startup = tmp_path / "ipython" / "profile_default" / "startup" / "gpu.py"
    startup.parent.mkdir(parents=True)
    startup.write_text(STARTUP.format(str(Path(__file__).parent)), encoding="utf8")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    ran = papermill.execute_notebook(
        path,
        tmp_path / path.name,
        parameters={"profile": "smoke"} | switch,
        cwd=tmp_path,
        progress_bar=False,
    )
    printed = [output.get("text", "") for cell in ran.cells for output in cell.get("outputs", [])]
    assert any("a pretended GPU" in text for text in printed)

"""Shared by the tests: face models, a sphere, a pretend GPU, a cache that is thrown away, a
browser, the built site, and a site of a few pages.
"""

from io import StringIO

import jaxtyping
import numpy as np
import pytest
import torch
from browsers import SITE, chromium, served
from scipy.spatial import ConvexHull
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from mofa_lib import load_morphable_model
from mofa_lib.morphable import MorphableModel
from mofa_lib.studio.heads import HeadShapes


def pytest_collection_modifyitems(items):
    """The notebooks first, which take longest: so two processes end at about the same time.

    Then one test that has the lab exported; the others who need it come last, and need not wait.
    """
    stems = [item.path.stem for item in items]
    export = items[stems.index("test_web")] if "test_web" in stems else None

    def turn(item) -> int:
        if item.path.stem == "test_web":
            return 1 if item is export else 3
        return 0 if item.path.stem == "test_notebooks" else 2

    items.sort(key=turn)


@pytest.fixture(scope="session")
def model():
    return load_morphable_model()


@pytest.fixture(scope="session")
def shapes():
    return HeadShapes()


@pytest.fixture(scope="session")
def sphere():
    """Vertices of a unit sphere (float64) and its triangles, counter-clockwise from outside."""
    k = np.arange(300) + 0.5
    polar, azimuth = np.arccos(1 - 2 * k / 300), np.pi * (1 + 5**0.5) * k
    points = np.stack(
        [np.sin(polar) * np.cos(azimuth), np.cos(polar), np.sin(polar) * np.sin(azimuth)], 1
    )
    faces = ConvexHull(points).simplices
    inward = np.linalg.det(points[faces]) < 0
    faces[inward] = faces[inward][:, ::-1]
    return torch.from_numpy(points), torch.from_numpy(faces).long()


@pytest.fixture(scope="session")
def tiny_tensors(sphere):
    """The tensors of a small face model: a sphere of 80 mm with 3 + 2 + 4 random directions."""
    points, faces = sphere
    random = torch.Generator().manual_seed(3)

    def basis(count: int, scale: float) -> torch.Tensor:
        return scale * torch.randn(len(points), 3, count, generator=random)

    return {
        "mean_shape": (80 * points).float(),
        "shape_basis": basis(3, 2.0),
        "expression_basis": basis(2, 1.0),
        "mean_appearance": 0.5 + 0.2 * torch.rand(len(points), 3, generator=random),
        "appearance_basis": basis(4, 0.05),
        "faces": faces,
        "landmarks": torch.arange(68) * 4,
    }


@pytest.fixture(scope="session")
def tiny_model(tiny_tensors):
    return MorphableModel(tiny_tensors, "tiny")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the library, where own weights would be too."""
    monkeypatch.setenv("MOFA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MOFA_WEIGHTS", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def unchecked():
    """The library as its users run it: without the checks of annotations, so that its own messages
    are seen.
    """
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class FakeGPU:
    """A device that has shapes but no values, and that refuses to work with tensors of another
    device.

    It is called `meta`, where torch can also go backward without hardware, or `cuda`.
    """

    def __init__(self):
        self.mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)

    def move(self, module: torch.nn.Module, device: str = "meta") -> torch.nn.Module:
        """Put the parameters and buffers of a module there, in place."""
        with self.mode:
            for part in module.modules():
                for name, value in part._parameters.items():
                    if value is not None:
                        part._parameters[name] = torch.nn.Parameter(
                            torch.empty(value.shape, device=device)
                        )
                for name, value in part._buffers.items():
                    if value is not None:
                        part._buffers[name] = torch.empty(
                            value.shape, dtype=value.dtype, device=device
                        )
        return module


@pytest.fixture
def fake_gpu(monkeypatch):
    """A `FakeGPU`; where a shape would depend on values (visible pixels, say), a fixed one is
    taken.
    """

    def nonzero(x):
        return torch.zeros(5, x.ndim, dtype=torch.int64, device=x.device)

    def repeat_interleave(x, repeats):
        return (x[:1] * repeats[:1]).new_zeros(9)

    monkeypatch.setattr(torch, "nonzero", nonzero)
    monkeypatch.setattr(torch, "repeat_interleave", repeat_interleave)
    monkeypatch.setattr(torch.Tensor, "aminmax", lambda x: (0.0, 1.0))
    return FakeGPU()


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def address():
    """Of the built site."""
    with served(SITE) as address:
        yield address


@pytest.fixture
def build_site(tmp_path):
    """Build a site of some pages, a dictionary of Markdown by name, with extensions of the book.

    Gives its HTML by the pages' names, and what Sphinx warned of.
    """
    from bs4 import BeautifulSoup
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    def build(pages: dict[str, str], *extensions: str):
        for name, text in pages.items():
            (tmp_path / f"{name}.md").write_text(text, encoding="utf8")
        (tmp_path / "index.md").write_text("# All\n\n```{toctree}\n:glob:\n*\n```\n")
        settings = {
            "extensions": ["myst_parser", *extensions],
            "myst_enable_extensions": ["dollarmath"],
            "numfig": True,  # as Jupyter Book sets it
            "nitpicky": True,
        }
        warned = StringIO()
        with patch_docutils(str(tmp_path)), docutils_namespace():
            Sphinx(
                tmp_path, None, tmp_path / "html", tmp_path / "trees", "html",
                confoverrides=settings, status=None, warning=warned,
            ).build()  # fmt: skip
        files = {
            name: (tmp_path / "html" / f"{name}.html").read_text("utf8")
            for name in [*pages, "index"]
        }
        soups = {name: BeautifulSoup(text, "html.parser") for name, text in files.items()}
        return soups, warned.getvalue()

    return build

"""What is live in a notebook: a picture with controls, or a still picture where nobody could use
them.

The controls are those of ipywidgets. It is imported when the first of them is made, never before.
"""

from abc import ABC, abstractmethod
from functools import cached_property
from types import ModuleType

import torch
from IPython import get_ipython
from jaxtyping import Float
from torch import Tensor

from mofa_lib import displays
from mofa_lib.renderer import Rendering

VIEW = "application/vnd.jupyter.widget-view+json"
ELSEWHERE = "Run this cell in JupyterLab, VS Code or Colab: its controls need a kernel."
PAPER = 0.93  # the grey behind a rendered face


class Live(ABC):
    """A picture with controls.

    Where a reader runs the cell, the notebook shows `widget`. Where a program does, such as
    papermill or the build of the book, nobody can move a slider later: then it shows a still
    picture, and no widget is made.
    """

    @cached_property
    def widget(self):
        """The picture and its controls, an `ipywidgets.Widget`.

        Raises:
            ImportError: the extra `widgets` is not installed.
        """
        return self._build(_ipywidgets())

    @abstractmethod
    def _build(self, ipywidgets: ModuleType):
        """Make the controls, and what holds them."""

    @abstractmethod
    def _still(self) -> dict[str, Float[Tensor, "B 3 H W"]]:
        """What the still picture shows, as rows of `strips`."""

    def _repr_mimebundle_(self, **_) -> dict[str, object]:
        note = ELSEWHERE
        if _is_watched():
            try:
                return self._view()
            except ImportError as error:
                note = str(error)
        still = displays.html_table(repr(self), displays.strips(self._still()))
        return {"text/plain": repr(self), "text/html": f"{still}<p>{note}</p>"}

    def _view(self) -> dict[str, object]:
        """A widget as front ends expect it, from ipywidgets of any version."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return {"text/plain": repr(self), VIEW: view}


def png(image: Float[Tensor, "3 H W"]) -> bytes:
    """A picture as a PNG file; values outside [0, 1] are clamped."""
    pixels = (255 * image.detach().cpu().clamp(0, 1)).round().to(torch.uint8)
    return displays.png(pixels.permute(1, 2, 0))


def on_paper(rendering: Rendering) -> Float[Tensor, "B 3 H W"]:
    """Rendered faces on light grey."""
    return rendering.over(torch.full_like(rendering.image, PAPER))


def _is_watched() -> bool:
    """Whether somebody sits before the cell that runs.

    Every request to run a cell says whether its sender could answer a call of `input`. Notebook
    front ends can; nbclient, which runs notebooks for papermill and for the book, cannot.
    """
    parent = getattr(get_ipython(), "get_parent", dict)()  # a terminal's shell has none
    return bool(parent.get("content", {}).get("allow_stdin"))


def _ipywidgets() -> ModuleType:
    try:
        import ipywidgets
    except ImportError as error:
        raise ImportError(
            f'The controls need an extra ({error}): pip install "mofa_lib[widgets]".'
        ) from None
    return ipywidgets

"""Pages that a slider turns: figures made beforehand, so that no reader needs a kernel.

Every figure is a picture in the page, and all but one are hidden. The style and the script behind
the slider are `flipbook.html` beside this module; before the script runs, and where it cannot, the
page to start with stands alone.
"""

import base64
import html
import io
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image


def flipbook(
    figures: Iterable[Figure], captions: Iterable[str], label: str, start: int = 0
) -> HTML:
    """Figures of one size behind a slider; in chapters it is `show.flipbook`.

    The figures are cut like any other of the book, but all along the same edges, and closed.

    Args:
        figures: the pages.
        captions: what each page shows, with the value that belongs to it. Plain text, below the
            page.
        label: what the slider chooses; before a caption, it is the alternative text.
        start: the page to start with, counted from 0. It is also the one that is printed.
    Raises:
        ValueError: there is no page, not one caption for each, or none to start with.
    """
    figures = list(figures)
    captions = list(captions)
    if not figures:
        raise ValueError("A flipbook needs at least one figure.")
    if len(captions) != len(figures):
        raise ValueError(
            f"Each figure needs its caption, "
            f"got {len(figures)} figures and {len(captions)} captions."
        )
    if not 0 <= start < len(figures):
        raise ValueError(
            f"There is no page {start} to start with: there are {len(figures)}, counted from 0."
        )

    pages = ""
    for number, (picture, caption) in enumerate(zip(_drawn(figures), captions, strict=True)):
        image = _image(picture, f"{label}: {caption}")
        below = f"<figcaption>{html.escape(caption)}</figcaption>"
        hidden = "" if number == start else " hidden"
        pages += f"<figure{hidden}>{image}{below}</figure>"

    slider = f'<input type="range" min="0" max="{len(figures) - 1}" value="{start}">'
    # JupyterLab would otherwise take the arrow keys for its own.
    keys = 'data-lm-suppress-shortcuts="true"'
    return HTML(
        f'<div class="flipbook" {keys}><div>{pages}</div>'
        f"<label hidden>{html.escape(label)}{slider}</label></div>\n"
        + (Path(__file__).parent / "flipbook.html").read_text(encoding="utf8")
    )


def _drawn(figures: list[Figure]) -> list[Image.Image]:
    """The figures as pictures of one size, cut where the largest of them needs it."""
    for figure in figures:
        figure.draw_without_rendering()
    largest = Bbox.union([figure.get_tightbbox() for figure in figures])
    edges = largest.padded(plt.rcParams["savefig.pad_inches"])
    pictures = []
    for figure in figures:
        file = io.BytesIO()
        figure.savefig(file, format="png", bbox_inches=edges)
        plt.close(figure)  # or else the notebook shows it once more
        pictures.append(Image.open(file).convert("RGB"))
    return pictures


def _image(picture: Image.Image, text: str) -> str:
    """The picture in the smaller of two encodings.

    Of a diagram that is the exact one, of faces the other.
    """
    exact = _webp(picture, lossless=True)
    close = _webp(picture, quality=90)
    content = base64.b64encode(min(exact, close, key=len)).decode()
    return (
        f'<img alt="{html.escape(text)}" width="{picture.width}" height="{picture.height}"'
        f' decoding="sync" src="data:image/webp;base64,{content}">'
    )


def _webp(picture: Image.Image, **encoding) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", **encoding)
    return file.getvalue()

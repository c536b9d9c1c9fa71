"""Pages that a slider turns: figures made beforehand, so that a reader moves a parameter without a kernel.

Every figure is a picture in the page, and all but one are hidden. The style and the script behind the slider are
`shipped/viewer/flipbook.html`; before the script runs, and where it cannot, the page to start with stands alone.
"""

import base64
import html
import io
from collections.abc import Iterable

import matplotlib.pyplot as plt
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from mofa_lib.artifacts import SHIPPED


def flipbook(figures: Iterable[Figure], captions: Iterable[str], label: str, start: int = 0) -> HTML:
    """Figures of one size behind a slider; in chapters it is `show.flipbook`.

    The figures are cut like any other of the book, but all along the same edges, and closed.

    Args:
        figures: the pages.
        captions: what each page shows, with the value that belongs to it. Plain text, below the page.
        label: what the slider chooses; before a caption, it is the alternative text.
        start: the page to start with, counted from 0. It is also the one that is printed.
    Raises:
        ValueError: there is no page, not one caption for each, or none to start with.
    """
    figures, captions = list(figures), list(captions)
    if not figures:
        raise ValueError("A flipbook needs at least one figure.")
    if len(captions) != len(figures):
        raise ValueError(f"Each figure needs its caption, got {len(figures)} figures and {len(captions)} captions.")
    if not 0 <= start < len(figures):
        raise ValueError(f"There is no page {start} to start with: there are {len(figures)}, counted from 0.")
    pages = "".join(
        f"<figure{'' if number == start else ' hidden'}>{_image(content, f'{label}: {caption}')}"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for number, (content, caption) in enumerate(zip(_drawn(figures), captions, strict=True))
    )
    slider = f'<input type="range" min="0" max="{len(figures) - 1}" value="{start}">'
    return HTML(  # JupyterLab would otherwise take the arrow keys for its own
        f'<div class="flipbook" data-lm-suppress-shortcuts="true"><div>{pages}</div>'
        f"<label hidden>{html.escape(label)}{slider}</label></div>\n"
        + (SHIPPED / "viewer" / "flipbook.html").read_text(encoding="utf8")
    )


def _drawn(figures: list[Figure]) -> list[Image.Image]:
    """The figures as pictures of one size, cut where the largest of them needs it."""
    for figure in figures:
        figure.draw_without_rendering()
    edges = Bbox.union([figure.get_tightbbox() for figure in figures]).padded(plt.rcParams["savefig.pad_inches"])
    drawn = []
    for figure in figures:
        file = io.BytesIO()
        figure.savefig(file, format="png", bbox_inches=edges)
        plt.close(figure)  # or else the notebook shows it once more
        drawn.append(Image.open(file).convert("RGB"))
    return drawn


def _image(picture: Image.Image, text: str) -> str:
    """The picture in the smaller of two encodings: of a diagram that is the exact one, of faces the other."""
    files = io.BytesIO(), io.BytesIO()
    for file, encoding in zip(files, ({"lossless": True}, {"quality": 90}), strict=True):
        picture.save(file, "WEBP", **encoding)
    content = base64.b64encode(min((file.getvalue() for file in files), key=len)).decode()
    return (
        f'<img alt="{html.escape(text)}" width="{picture.width}" height="{picture.height}" decoding="sync"'
        f' src="data:image/webp;base64,{content}">'
    )

"""A question that takes the reader's guess before it shows what came out.

The answer lies hidden in the page, so no kernel is asked for it, and the form is the same in a
notebook and on the site. Its style and its script are `prediction.html` beside this module. Where
no script runs the question stands alone; in print, with its answer.
"""

import html
import math
from pathlib import Path

from IPython.display import HTML


def prediction(question: str, truth: float, unit: str = "", digits: int = 0) -> HTML:
    """Ask for a number, and show it beside the true one; in chapters it is `show.prediction`.

    Args:
        question: plain text.
        truth: what came out, computed by the chapter.
        unit: behind both numbers.
        digits: of the truth, behind the point.
    Raises:
        ValueError: the truth is not a finite number.
    """
    truth = float(truth)
    if not math.isfinite(truth):
        raise ValueError(f"A prediction needs a finite number to be compared with, got {truth}.")
    unit = html.escape(f" {unit}") if unit else ""
    shown = f"{truth:.{digits}f}"
    if float(shown) == 0:
        shown = shown.removeprefix("-")
    # JupyterLab would otherwise take the keys for its own.
    return HTML(
        f'<form class="prediction" data-truth="{shown}" data-lm-suppress-shortcuts="true">\n'
        f"<p>{html.escape(question)}</p>\n"
        '<p hidden><label>Your guess: <input type="number" step="any" required></label>'
        f"{unit}<button>Compare</button></p>\n"
        '<dl hidden tabindex="-1">\n'
        f'<dt class="guess">your guess</dt><dd class="guess"><i></i></dd>'
        f'<dd class="guess"><output></output>{unit}</dd>\n'
        f'<dt>came out</dt><dd class="truth"><i></i></dd><dd>{shown}{unit}</dd>\n'
        "</dl>\n</form>\n" + (Path(__file__).parent / "prediction.html").read_text(encoding="utf8")
    )

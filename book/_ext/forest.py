"""Draws what a verdict rests on as a row of a forest plot, in HTML and SVG that fit any width.

A row is one of a result file, with the fields of `mofa_lib.evidence.Evidence`. Along an axis,
places are in percent; a point has a line of its own, beside its name.
"""

from collections.abc import Sequence
from html import escape

from matplotlib.ticker import MaxNLocator

from mofa_lib.evidence import Point

LINE = 18  # pixels; the style sheet has the same for the names
SHAPES = {
    "ours": '<circle r="4"/>',
    "rival": '<rect x="-3.5" y="-3.5" width="7" height="7"/>',
    "paper": '<path d="M0-6.5 6.5 0 0 6.5-6.5 0Z"/>',
}


def signed(number: float) -> str:
    return f"{number:.4g}".replace("-", "−")


def ticks(points: Sequence[Point]) -> list[float]:
    """Round numbers, evenly apart; what the points hold lies between the first and the last."""
    numbers = []
    for point in points:
        numbers += point["ours"] + point.get("rival", [])
        numbers += [point[key] for key in ("paper", "bound") if key in point]
    locator = MaxNLocator(5, steps=[1, 2, 5, 10])
    return locator.tick_values(min(numbers), max(numbers)).tolist()


def place(number: float, axis: Sequence[float]) -> str:
    return f"{100 * (number - axis[0]) / (axis[-1] - axis[0]):.2f}%"


def heading(quantity: str, axis: Sequence[float]) -> str:
    """The name of an axis, and the numbers at its ticks."""
    numbers = "".join(f'<text x="{place(x, axis)}" y="13">{signed(x)}</text>' for x in axis)
    shown = f"<b>{escape(quantity)}</b>"
    return f'<div class="axis">{shown}<svg aria-hidden="true">{numbers}</svg></div>'


def summary(row: dict, axis: Sequence[float]) -> str:
    """What is always seen of a row: claim, verdict, and the marks, or our finding without any."""
    rival = f"<small>■ {escape(row['rival'])}</small>" if row["rival"] else ""
    claim = f"<span>{escape(row['claim'])}</span> <strong>{row['verdict']}</strong>{rival}"
    if row["points"]:
        names = "<br>".join(escape(point["name"]) for point in row["points"])
        shown = f'<span class="names" aria-hidden="true">{names}</span>{marks(row, axis)}'
    else:
        shown = f'<span class="said">{escape(row["ours"])}</span>'
    return f'<summary><span class="claim">{claim}</span>{shown}</summary>'


def marks(row: dict, axis: Sequence[float]) -> str:
    """The marks of all points of a row, one below the other."""
    drawn = [_line("tick", x, x, axis, 0, "100%") for x in axis]
    for number, point in enumerate(row["points"]):
        top, aside = LINE * number, 3 if "rival" in point else 0
        middle = top + LINE // 2
        if "bound" in point:
            drawn.append(_line("bound", point["bound"], point["bound"], axis, top, top + LINE))
        drawn.append(_mark("ours", point["ours"], axis, middle - aside))
        if "rival" in point:
            drawn.append(_mark("rival", point["rival"], axis, middle + aside))
        if "paper" in point:
            drawn.append(_mark("paper", [point["paper"]], axis, middle))
    said = escape(f"ours: {row['ours']}; paper: {row['paper']}")
    height = LINE * len(row["points"])
    return f'<svg role="img" aria-label="{said}" height="{height}">{"".join(drawn)}</svg>'


def _mark(kind: str, numbers: Sequence[float], axis: Sequence[float], y: int) -> str:
    """A shape at the first number; the others are the ends of its interval."""
    at, *ends = numbers
    interval = _line(kind, *ends, axis, y, y) if ends else ""
    return f'{interval}<svg class="{kind}" x="{place(at, axis)}" y="{y}">{SHAPES[kind]}</svg>'


def _line(
    kind: str, x1: float, x2: float, axis: Sequence[float], y1: int | str, y2: int | str
) -> str:
    ends = f'x1="{place(x1, axis)}" x2="{place(x2, axis)}" y1="{y1}" y2="{y2}"'
    return f'<line class="{kind}" {ends}/>'

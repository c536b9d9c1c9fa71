"""Times side by side, and tables of them."""

import statistics
import time
from collections.abc import Callable, Sequence

import torch


def side_by_side(functions: dict[str, Callable[[], object]], runs: int) -> dict[str, dict]:
    """Milliseconds a call by name: minimum and median, after a call that does not count.

    The functions take turns, so that whatever else the machine does meets all of them.
    """
    times = {name: [] for name in functions}
    for _ in range(runs + 1):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times[name].append(1000 * (time.perf_counter() - started))
    return {
        name: {
            "min_ms": round(min(counted), 2),
            "median_ms": round(statistics.median(counted), 2),
            "runs": runs,
        }
        for name, (_, *counted) in times.items()
    }


def print_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as they need: the first to the left, the others to the right."""
    lines = [[str(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))

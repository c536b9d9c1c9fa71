"""What a chapter begins with, the check of its parameters, its tables and its verdicts."""

import ast
from collections.abc import Sequence

import torch
from IPython import get_ipython
from IPython.display import Markdown

from mofa_lib.profiles import Profile, profile
from mofa_lib.weights import own_weights

# From and to which value a parameter may go, by its name; whole numbers where the bounds are.
BOUNDS = {
    "seed": (0, 2**31),
    "epsilon": (0.0, 1.0),
    "cap": (0.001, 1.0),
    "steps": (1, 100_000),
    "pairs": (2, 10_000),
    "faces": (1, 10_000),
}

INJECTED = "# Parameters\n"  # so papermill begins the cell that it adds


def check_parameters(**parameters: object) -> None:
    """Refuse a chapter's parameters before any work is done.

    Pass all parameters of the chapter: a name that papermill injected and that is not among them is
    refused too.

    Raises:
        ValueError: one sentence that says which parameter is wrong and what it may be.
    """
    unknown = sorted(_injected_names() - set(parameters))
    if unknown:
        raise ValueError(
            f"This chapter has no parameter {unknown[0]!r}; it has {', '.join(parameters)}."
        )
    check_values(**parameters)


def check_values(**parameters: object) -> None:
    """Refuse values that a chapter's parameters may not have.

    Raises:
        ValueError: one sentence that says which parameter is wrong and what it may be.
    """
    for name, value in parameters.items():
        if name == "profile":
            profile(value)
        elif name in BOUNDS:
            _check_number(name, value, *BOUNDS[name])
        elif not isinstance(value, str | bool):
            raise ValueError(f"The parameter {name} must be text or true/false, got {value!r}.")


def _check_number(name: str, value: object, low: float, high: float) -> None:
    is_whole = isinstance(low, int)
    kinds = int if is_whole else int | float
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if not (is_number and low <= value <= high):
        kind = "a whole number" if is_whole else "a number"
        raise ValueError(
            f"The parameter {name} must be {kind} from {low} to {high}, got {value!r}."
        )


def _injected_names() -> set[str]:
    """Names that papermill's injected cell assigns, in a notebook run by it; else nothing."""
    names = set()
    for cell in _cells():
        if not cell.startswith(INJECTED):
            continue
        for statement in ast.parse(cell).body:
            if isinstance(statement, ast.Assign):
                names |= {target.id for target in statement.targets}
    return names


def executed_cells() -> list[str]:
    """The different cells that have run in this notebook, sorted, but for papermill's own.

    Nothing outside a notebook.
    """
    return sorted({cell for cell in _cells() if not cell.startswith(INJECTED)})


def _cells() -> list[str]:
    """The cells that have run, in their order, also twice; nothing outside a notebook."""
    shell = get_ipython()
    return shell.user_ns["In"] if shell else []


def describe(chosen: Profile) -> str:
    """A line for the top of a chapter: profile, versions and device.

    Another line for each kind of weights that was trained here and is loaded before the shipped
    ones.
    """
    if torch.cuda.is_available():
        where = torch.cuda.get_device_name()
    else:
        where = f"CPU, {torch.get_num_threads()} threads"
    line = f"profile {chosen.name} · {chosen.size} px · torch {torch.__version__} · {where}"
    return "\n".join([line, *(f"own weights: {weights}" for weights in own_weights(chosen))])


def table(heads: Sequence[str], lines: Sequence[Sequence[str]], note: str = "") -> Markdown:
    """A table of texts in Markdown.

    Args:
        heads: of the columns.
        lines: cells, a text for each column.
        note: small print below: how the numbers were made.
    """
    rows = [heads, ["---"] * len(heads), *lines]
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    if note:
        text += f"\n\n<small>{note}</small>"
    return Markdown(text)


def verdict(holds: bool, *, refuted: bool, in_part: bool = False) -> str:
    """The word for a claim that was put to a test. Used in chapters 10 to 13.

    Args:
        holds: with its intervals, as the chapter's rule wants it.
        refuted: with its intervals, it does not hold.
        in_part: in the estimate, or in part; it counts where the intervals decide nothing.
    """
    if holds:
        return "reproduced"
    if refuted:
        return "contradicted"
    return "direction only" if in_part else "untestable here"

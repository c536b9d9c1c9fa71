"""The numbers behind a verdict, as a row of a result file keeps them. Used on pages with verdicts.

The row's other fields say in words what the paper claims, what was found, and the verdict; how many
pairs stand behind the numbers, and what made them, the file says. The page of verdicts draws it.
"""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

Numbers = Mapping[str, Sequence[float]]


class Point(TypedDict):
    """An estimate, and what it is compared with.

    Attributes:
        name: what tells it from the other points of its row: a budget, a group of the code, …
        ours: the estimate, and where it has one, both ends of its interval.
        rival: the same of what the rule compares it with, where that is an estimate as well.
        paper: the paper's number for the same quantity, where it gives one.
        bound: what the rule compares it with, where that is a number: the least share, no effect.
    """

    name: str
    ours: list[float]
    rival: NotRequired[list[float]]
    paper: NotRequired[float]
    bound: NotRequired[float]


class Evidence(TypedDict):
    """What a verdict rests on.

    Attributes:
        rule: the bold words with which the chapter's rule begins.
        figure: the name of the chapter's figure that shows more, or nothing.
        axis: the quantity of all points, with its unit; nothing, where no number was measured.
        rival: the name of what ours is compared with, or nothing.
        points: in the order in which they are drawn.
    """

    rule: str
    figure: str
    axis: str
    rival: str
    points: list[Point]


def evidence(
    rule: str,
    figure: str = "",
    axis: str = "",
    ours: Numbers | None = None,
    *,
    rival: tuple[str, Numbers] = ("", {}),
    paper: Mapping[str, float] | None = None,
    bounds: Mapping[str, float] | float | None = None,
) -> Evidence:
    """Put together what a verdict rests on.

    Args:
        rule, figure, axis: see `Evidence`. Where the axis ends with "%", shares become percent.
        ours: estimates by the names of their points, each alone or with its interval.
        rival: a name, and estimates by the names of the points.
        paper: numbers by the names of the points, for all or some.
        bounds: numbers by the names of the points, or one for all.
    Raises:
        ValueError: a rival has a name that no point has.
        KeyError: a point has no bound.
    """
    scale = 100 if axis.endswith("%") else 1

    def rounded(values: Sequence[float]) -> list[float]:
        return [round(scale * float(value), 4) for value in values]

    ours = ours or {}
    unknown = sorted(set(rival[1]) - set(ours))
    if unknown:
        raise ValueError(f"There is no point {unknown[0]!r}; there are {', '.join(ours)}.")

    points = []
    for name, values in ours.items():
        point = Point(name=name, ours=rounded(values))
        if name in rival[1]:
            point["rival"] = rounded(rival[1][name])
        if paper and name in paper:
            (point["paper"],) = rounded([paper[name]])
        if bounds is not None:
            bound = bounds[name] if isinstance(bounds, Mapping) else bounds
            (point["bound"],) = rounded([bound])
        points.append(point)
    return Evidence(rule=rule, figure=figure, axis=axis, rival=rival[0], points=points)

"""What a check of an attack says, line by line. Used in chapter 13."""

from collections.abc import Iterator
from dataclasses import dataclass

from mofa_lib.displays import counted, html_table

VERDICTS = {True: "passed", False: "FAILED", None: "no answer"}


@dataclass(frozen=True)
class Check:
    """One question to an attack, and the answer.

    Attributes:
        name: the question, in a few words.
        passed: None where there is no answer, as to gradients that are zero anyway.
        value: what was measured.
        meaning: what the value is; of a failure also what may be behind it.
    """

    name: str
    passed: bool | None
    value: float
    meaning: str


@dataclass(frozen=True)
class AttackReport:
    """The checks of an attack, one after the other.

    Attributes:
        checks: in the order in which they are best read: what fails first may explain the others.
    """

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check has failed."""
        return all(check.passed is not False for check in self.checks)

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def __str__(self) -> str:
        rows = [self._caption()]
        for check in self.checks:
            verdict = VERDICTS[check.passed]
            rows.append(f"{verdict:10}{check.name:25}{check.value:9.3g}  {check.meaning}")
        return "\n".join(rows)

    def _repr_html_(self) -> str:
        """The same as a table."""
        rows = [
            [check.name, VERDICTS[check.passed], f"{check.value:.3g}", check.meaning]
            for check in self.checks
        ]
        return html_table(self._caption(), rows, heads=("check", "verdict", "value", "meaning"))

    def _caption(self) -> str:
        """How many of the checks have failed, in words."""
        failed = sum(check.passed is False for check in self.checks)
        return f"{counted(len(self.checks), 'check')} of an attack, {failed or 'none'} failed"

"""Verdicts, and the reports that features return and any renderer can show."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from toombos_cli.base.errors import Problem


class Verdict(StrEnum):
    """The verdict of a check. ERROR means "could not be judged", SKIP "nothing to judge"; neither is a PASS."""

    PASS = "pass"  # noqa: S105  (a verdict, not a password)
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"
    ERROR = "error"


WORST_FIRST = (Verdict.FAIL, Verdict.ERROR, Verdict.WARN, Verdict.PASS, Verdict.SKIP)
"""The order of severity, the same in every output."""

WRONG = frozenset({Verdict.FAIL, Verdict.ERROR})
"""The verdicts that end a command with an exit code other than 0."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst verdict: a definite FAIL is worse than ERROR; SKIP if nothing was judged."""
    return min(verdicts, key=WORST_FIRST.index, default=Verdict.SKIP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One judged item of a report, as JUnit, Nagios and GitHub annotations show it."""

    name: str
    verdict: Verdict
    duration_s: float = 0.0
    detail: str = ""
    file: str = ""
    """The file that it is about, "" if there is none; `line` is the 1-based line there."""
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measured value of a report for Prometheus, in base units; samples with the same name share their help."""

    name: str
    help: str
    labels: dict[str, str]
    value: float


class Report(ABC):
    """The base class of what a feature returns: a frozen dataclass with a verdict.

    Its dataclass fields, without those in `hidden`, are the `data` object of the JSON envelope, so field names
    are contract. `kind` names the text view (`toombos_cli.render.text.VIEWS`).
    """

    __slots__ = ()

    kind: ClassVar[str]
    hidden: ClassVar[frozenset[str]] = frozenset()
    asked_for: ClassVar[bool] = False
    """Whether the report is the purpose of its command; other reports print nothing with --quiet if all is well."""

    @property
    @abstractmethod
    def verdict(self) -> Verdict:
        """The verdict of the whole report, which decides the exit code and agrees with what the report shows."""

    def quotes_others(self, *, in_full: bool) -> bool:
        """Report whether it may quote text that toombos has not written, such as a log line, and thus a secret.

        `in_full` is for the formats that show all fields, which a text need not.
        """
        return True

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The errors of the report, which become the `errors` of the JSON envelope."""
        return ()

    def exit_code(self, *, strict: bool = False) -> int:
        """Return the exit code as in docs/exit-codes.md; with `strict`, only a PASS gives 0."""
        lenient = {Verdict.PASS: 0, Verdict.WARN: 0, Verdict.SKIP: 0, Verdict.FAIL: 1, Verdict.ERROR: 4}
        code = lenient[self.verdict]
        return code or int(strict and self.verdict is not Verdict.PASS)

    def cases(self) -> tuple[Case, ...] | None:
        """Return the judged items, or None for a report that judges none."""
        return None

    def gauges(self) -> tuple[Sample, ...] | None:
        """Return the measured values, or None for a report that has none."""
        return None

"""What features return: a verdict, and reports that any renderer can show."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol


class Verdict(StrEnum):
    """The answer of one judgement. ERROR means "could not be judged" and never reads as PASS or FAIL."""

    PASS = "pass"  # noqa: S105  (a verdict, not a password)
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"
    ERROR = "error"


_SEVERITY = (Verdict.SKIP, Verdict.PASS, Verdict.WARN, Verdict.ERROR, Verdict.FAIL)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of a whole: a definite FAIL beats ERROR; PASS when there is none or all were skipped."""
    top = max(verdicts, key=_SEVERITY.index, default=Verdict.PASS)
    return Verdict.PASS if top is Verdict.SKIP else top


class Report(Protocol):
    """A frozen dataclass that a feature returns.

    Its dataclass fields, without those in `hidden`, are the `data` object of the JSON envelope, so field names
    are contract. `kind` names the text view (a module of `toombos_cli.render.text`).
    """

    kind: ClassVar[str]

    @property
    def verdict(self) -> Verdict:
        """The whole report's verdict: decides the exit code."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One judged item of a report, as JUnit, Nagios and GitHub annotations show it."""

    name: str
    verdict: Verdict
    duration_s: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measured value of a report in Prometheus' terms; samples of one name share their help. In base units."""

    name: str
    help: str
    labels: dict[str, str]
    value: float

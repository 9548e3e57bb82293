"""The report of `toombos smoke`."""

from dataclasses import dataclass
from typing import ClassVar

from toombos_cli.base.results import Case, Report, Verdict, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """The result of one step. `expected` and `got` show what was compared; on a failure, only what differs."""

    name: str
    service: str
    verdict: Verdict
    duration_ms: float = 0.0
    request: str = ""
    expected: str = ""
    got: str = ""
    detail: str = ""
    note: str = ""
    """What could not be checked although nobody demanded it; it does not change the verdict."""
    attempts: int = 1
    """How often the request was sent; more than once only with `until`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlakyStep:
    """A step that passed in some rounds and failed in others; `failure_ratio` is the share of failed rounds, 0 to 1."""

    name: str
    passed: int
    failed: int
    failure_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeReport(Report):
    """The result of one or several rounds. With several, `steps` holds each step's first failure or last result."""

    kind: ClassVar[str] = "smoke"

    steps: tuple[StepResult, ...]
    rounds: int = 1
    failed_rounds: int = 0
    flaky: tuple[FlakyStep, ...] = ()
    left_behind: tuple[str, ...] = ()
    """Descriptions of what the test created and could not remove."""
    duration_s: float
    place: str = ""
    """The place that was tested; "" for this machine."""

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all steps: FAIL if any step failed in any round."""
        return worst(step.verdict for step in self.steps)

    def cases(self) -> tuple[Case, ...]:
        """Return one case per step, with expected and got as detail."""
        return tuple(
            Case(name=s.name, verdict=s.verdict, duration_s=s.duration_ms / 1000, detail=_detail(s)) for s in self.steps
        )


def _detail(step: StepResult) -> str:
    if step.verdict in (Verdict.PASS, Verdict.SKIP):
        return step.detail
    lines = [step.detail, step.request and f"request: {step.request}"]
    lines += [step.expected and f"expected: {step.expected}", step.got and f"got: {step.got}"]
    return "\n".join(line for line in lines if line)

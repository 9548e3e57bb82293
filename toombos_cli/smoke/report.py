"""What `toombos smoke` answers."""

from dataclasses import dataclass
from typing import ClassVar

from toombos_cli.base.results import Case, Report, Verdict, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One step. `expected` and `got` name what was compared: on a failure only what differs."""

    name: str
    service: str
    verdict: Verdict
    duration_ms: float = 0.0
    request: str = ""
    expected: str = ""
    got: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlakyStep:
    """A step that passed in some rounds and failed in others. `failure_ratio` is 0..1 of the rounds that judged it."""

    name: str
    passed: int
    failed: int
    failure_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeReport(Report):
    """One run, or several in a row. Of several, `steps` holds each step's first failure, else its last result."""

    kind: ClassVar[str] = "smoke"

    steps: tuple[StepResult, ...]
    rounds: int = 1
    failed_rounds: int = 0
    flaky: tuple[FlakyStep, ...] = ()
    left_behind: tuple[str, ...] = ()
    """What the test created and could not remove, in words."""
    duration_s: float

    @property
    def verdict(self) -> Verdict:
        """FAIL when one step failed in one round."""
        return worst(step.verdict for step in self.steps)

    def cases(self) -> tuple[Case, ...]:
        """One case a step, with expected and got as detail."""
        return tuple(
            Case(name=s.name, verdict=s.verdict, duration_s=s.duration_ms / 1000, detail=_detail(s)) for s in self.steps
        )


def _detail(step: StepResult) -> str:
    if step.verdict in (Verdict.PASS, Verdict.SKIP):
        return step.detail
    lines = [step.detail, step.request and f"request: {step.request}"]
    lines += [step.expected and f"expected: {step.expected}", step.got and f"got: {step.got}"]
    return "\n".join(line for line in lines if line)

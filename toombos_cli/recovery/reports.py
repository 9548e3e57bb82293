"""The report of `toombos recover`."""

from dataclasses import dataclass
from typing import ClassVar

from toombos_cli.base.results import Case, Report, Verdict, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """One step. `cause` and `fix` say why it failed and what to type; "" if it did not."""

    name: str
    command: str
    verdict: Verdict
    duration_s: float
    detail: str = ""
    cause: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryReport(Report):
    """The steps that were done: all of them, or up to the first failure."""

    kind: ClassVar[str] = "recover"

    steps: tuple[StepOutcome, ...]
    not_done: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict of the worst step; WARN if the services work without what failed."""
        return worst(step.verdict for step in self.steps)

    def cases(self) -> tuple[Case, ...]:
        """Return one case per step."""
        return tuple(
            Case(name=step.name, verdict=step.verdict, duration_s=step.duration_s, detail=step.cause or step.detail)
            for step in self.steps
        )

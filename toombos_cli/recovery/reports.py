"""What `toombos recover` returns."""

from dataclasses import dataclass
from typing import ClassVar

from toombos_cli.base.results import Case, Report, Verdict, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """One step. `cause` and `fix` say why it is not well and what to type; "" when it is."""

    name: str
    command: str
    verdict: Verdict
    duration_s: float
    detail: str = ""
    cause: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryReport(Report):
    """The steps that were done; the last one failed, or all are there."""

    kind: ClassVar[str] = "recover"

    steps: tuple[StepOutcome, ...]
    not_done: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst step: WARN when what failed is not needed for the services to work."""
        return worst(step.verdict for step in self.steps)

    def cases(self) -> tuple[Case, ...]:
        """One case a step."""
        return tuple(
            Case(name=step.name, verdict=step.verdict, duration_s=step.duration_s, detail=step.cause or step.detail)
            for step in self.steps
        )

"""What `toombos monitoring` returns."""

from dataclasses import dataclass
from typing import ClassVar

from toombos_cli.base.errors import Problem
from toombos_cli.base.results import Case, Report, Verdict, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringRow:
    """One monitoring service: `state` is up, down or missing; `pid` is None where it is no process of ours."""

    name: str
    state: str
    url: str
    pid: int | None
    detail: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringReport(Report):
    """The monitoring as it is, and what the command changed of it."""

    kind: ClassVar[str] = "monitoring"

    backend: str
    reason: str
    services: tuple[MonitoringRow, ...]
    changed_files: tuple[str, ...] = ()
    password_file: str | None = None
    wanted: bool = True
    """Whether it should be up: `down` is well when it is not."""
    problems: tuple[Problem, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """ERROR when something could not be started, FAIL when what is wanted is down, WARN for what is missing."""
        if self.problems:
            return Verdict.ERROR
        return worst(case.verdict for case in self.cases())

    def cases(self) -> tuple[Case, ...]:
        """One judged item a service."""
        judged = {"up": Verdict.PASS, "down": Verdict.FAIL, "missing": Verdict.WARN}
        unwanted = {"up": Verdict.FAIL, "down": Verdict.PASS, "missing": Verdict.SKIP}
        verdicts = judged if self.wanted else unwanted
        return tuple(Case(name=row.name, verdict=verdicts[row.state], detail=row.detail) for row in self.services)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckItem:
    """One judged claim: `group` is files, services, targets, metrics, rules, panels, alertmanager or grafana.

    `explained_by` is the name of the item in `services` that this one follows from.
    """

    group: str
    name: str
    verdict: Verdict
    detail: str = ""
    hint: str | None = None
    explained_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringCheckReport(Report):
    """Whether monitoring would notice: targets, rules, metrics, panels."""

    kind: ClassVar[str] = "monitoring_check"

    items: tuple[CheckItem, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the items."""
        return worst(item.verdict for item in self.items)

    def cases(self) -> tuple[Case, ...]:
        """One case an item."""
        return tuple(
            Case(name=f"{item.group}: {item.name}", verdict=item.verdict, detail=item.detail) for item in self.items
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadReport(Report):
    """Prometheus and Alertmanager work with the present manifest."""

    kind: ClassVar[str] = "monitoring_reload"

    changed_files: tuple[str, ...]
    reloaded: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """PASS: a reload that fails raises."""
        return Verdict.PASS

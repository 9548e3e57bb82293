"""The reports of `toombos monitoring`."""

from dataclasses import dataclass
from typing import ClassVar

from toombos_cli.base.errors import Problem
from toombos_cli.base.results import Case, Report, Verdict, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringRow:
    """One monitoring service: `state` is up, down or missing; `pid` is None if toombos does not run the process."""

    name: str
    state: str
    url: str
    pid: int | None
    detail: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringReport(Report):
    """The current state of monitoring, and what the command changed."""

    kind: ClassVar[str] = "monitoring"

    backend: str
    reason: str
    services: tuple[MonitoringRow, ...]
    changed_files: tuple[str, ...] = ()
    password_file: str | None = None
    wanted: bool = True
    """Whether monitoring should be up; if not, `down` passes."""
    problems: tuple[Problem, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Return ERROR if something failed to start, FAIL if a wanted service is down, WARN if one is missing."""
        if self.problems:
            return Verdict.ERROR
        return worst(case.verdict for case in self.cases())

    def cases(self) -> tuple[Case, ...]:
        """Return one judged item per service."""
        judged = {"up": Verdict.PASS, "down": Verdict.FAIL, "missing": Verdict.WARN}
        unwanted = {"up": Verdict.FAIL, "down": Verdict.PASS, "missing": Verdict.SKIP}
        verdicts = judged if self.wanted else unwanted
        return tuple(Case(name=row.name, verdict=verdicts[row.state], detail=row.detail) for row in self.services)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckItem:
    """One judged claim: `group` is files, services, targets, metrics, rules, panels, alertmanager or grafana.

    `explained_by` is the name of the item in `services` that causes this one. `not_yet` says that it needs time alone.
    """

    group: str
    name: str
    verdict: Verdict
    detail: str = ""
    hint: str | None = None
    explained_by: str | None = None
    not_yet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringCheckReport(Report):
    """Whether monitoring would notice a problem: targets, rules, metrics, panels."""

    kind: ClassVar[str] = "monitoring_check"

    items: tuple[CheckItem, ...]
    place: str = ""
    """The place that was asked; "" for this machine."""

    @property
    def verdict(self) -> Verdict:
        """Return the worst verdict of the items."""
        return worst(item.verdict for item in self.items)

    def cases(self) -> tuple[Case, ...]:
        """Return one case per item."""
        return tuple(
            Case(name=f"{item.group}: {item.name}", verdict=item.verdict, detail=item.detail) for item in self.items
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadReport(Report):
    """A successful reload: Prometheus and Alertmanager use the current manifest."""

    kind: ClassVar[str] = "monitoring_reload"

    changed_files: tuple[str, ...]
    reloaded: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Return PASS; a failed reload raises."""
        return Verdict.PASS

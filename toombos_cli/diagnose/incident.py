"""The status update of an incident: the guide's template, filled from the facts."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from toombos_cli.base.findings import WRONG
from toombos_cli.base.results import Report, Verdict
from toombos_cli.diagnose.facts.database import DATABASES
from toombos_cli.diagnose.facts.logs import LOGS, LogEntry
from toombos_cli.diagnose.facts.monitoring import MONITORING
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError
from toombos_cli.diagnose.facts.system import SYSTEM, ServiceFacts
from toombos_cli.diagnose.report import DiagnoseReport
from toombos_cli.diagnose.run import Diagnosis
from toombos_cli.manifest.tables.alerts import ContactTable
from toombos_cli.manifest.tables.escalation import Trouble, severity_of
from toombos_cli.project.history import EventKind
from toombos_cli.project.state import Phase

_RECENT_S = 86_400.0
_EVENTS = 15
_ROUTINE = frozenset({EventKind.READY, EventKind.DONE, EventKind.SUPERVISOR_STARTED, EventKind.SUPERVISOR_ENDED})
_BAD = frozenset({EventKind.UNHEALTHY, EventKind.EXITED, EventKind.GAVE_UP, EventKind.CRASH_LOOP})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of a timeline; `at` is ISO 8601, UTC."""

    at: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentReport(Report):
    """`duration_s` runs from the first sign to now, None if there is none; `contact` is responsible for `severity`."""

    kind: ClassVar[str] = "incident"
    asked_for: ClassVar[bool] = True

    name: str
    status: str
    severity: str
    contact: ContactTable | None
    timeline: tuple[Event, ...]
    affected: tuple[str, ...]
    duration_s: float | None
    impact: str
    causes: tuple[str, ...]
    fixes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Always PASS: it is a text to send."""
        return Verdict.PASS


def make_incident(diagnosis: Diagnosis) -> IncidentReport:
    """Return the status update; its times come from the history and the logs."""
    facts, report = diagnosis.facts, diagnosis.report
    events = sorted(_events(facts, report), key=lambda event: event[0])[-_EVENTS:]
    lasting_s = facts.now - min(_signs(facts, report), default=facts.now) if report.root_findings else 0.0
    trouble = _trouble(facts, report)
    severity = severity_of(trouble, lasting_s=lasting_s) if trouble else None
    affected = tuple(dict.fromkeys(f.service for f in report.findings if f.verdict is Verdict.FAIL and f.service))
    return diagnosis.redactor.value(
        IncidentReport(
            name=facts.manifest.name,
            status="INVESTIGATING" if report.root_findings else "RESOLVED",
            severity=severity.value if severity else "",
            contact=facts.manifest.alerts.contacts.get(severity) if severity else None,
            timeline=tuple(Event(at=_iso(at), text=text) for at, text in events),
            affected=affected,
            duration_s=round(lasting_s, 1) if lasting_s else None,
            impact=_impact(affected, facts),
            causes=tuple(root.reason or root.title for root in report.root_findings),
            fixes=tuple(str(root.fix) for root in report.root_findings if root.fix),
        )
    )


def _events(facts: Facts, report: DiagnoseReport) -> Iterator[tuple[float, str]]:
    try:
        services, history = facts.get(SYSTEM).services, facts.get(SYSTEM).history
    except FactUnavailableError:
        services, history = {}, ()
    recorded = {event.service for event in history}
    for name, found in services.items():
        if name not in recorded and found.pid and facts.now - found.started_at < _RECENT_S:
            yield found.started_at, f"started: {name}"
    for event in history:
        if event.event not in _ROUTINE:
            yield event.at, f"{event.service}: {event.text}"
    for name, log in _logs(facts):
        begun = services[name].started_at if name in services else 0.0
        errors = [e for e in log if e.error and e.at and e.at >= max(begun, facts.now - _RECENT_S)]
        if errors:
            yield errors[0].at or 0.0, f"first error in the log of {name}: {errors[0].text}"
        ended = _ended_at(services.get(name), log)
        if ended is not None:
            yield ended, f"last sign of {name} in its log"
    if report.root_findings:
        root = report.root_findings[0]
        yield facts.now, f"root cause identified: {root.reason}" + (f": {root.cause}" if root.cause else "")


def _signs(facts: Facts, report: DiagnoseReport) -> Iterator[float]:
    """Yield when the present fault may have started: signs of the affected services since their last start.

    Anything before that start is another incident.
    """
    concerned = {f.service for f in report.findings if f.verdict in WRONG and f.service}
    try:
        services, history = facts.get(SYSTEM).services, facts.get(SYSTEM).history
    except FactUnavailableError:
        return
    logs = dict(_logs(facts))
    for name in concerned & services.keys():
        found, log = services[name], logs.get(name, ())
        yield from (r.at for r in found.restarts if facts.now - r.at < _RECENT_S)
        yield from (e.at for e in history if e.service == name and e.event in _BAD and e.at >= found.started_at)
        yield from (e.at for e in log if e.error and e.at and e.at >= max(found.started_at, facts.now - _RECENT_S))
        ended = _ended_at(found, log)
        if ended is not None:
            yield ended


def _ended_at(found: ServiceFacts | None, log: tuple[LogEntry, ...]) -> float | None:
    """Return the time of the last log line of a service that no longer runs; None if it runs, is done or never ran."""
    if found is None or found.pid or not found.managed or found.phase == Phase.DONE:
        return None
    return max((e.at for e in log if e.at and e.at >= found.started_at), default=None)


def _logs(facts: Facts) -> list[tuple[str, tuple[LogEntry, ...]]]:
    try:
        return [(name, log.entries) for name, log in facts.get(LOGS).items()]
    except FactUnavailableError:
        return []


def _trouble(facts: Facts, report: DiagnoseReport) -> Trouble | None:
    """Return the row of the guide's escalation table, or None if nothing is wrong."""
    ids = {root.id for root in report.root_findings}
    if not ids:
        return None
    if "db.ping" in ids and any(database.damaged for database in facts.get(DATABASES)):
        return Trouble.DATA_CORRUPTION
    if "auth.middleware" in ids:
        return Trouble.SECURITY_BREACH
    down = {f.service for f in report.findings if f.verdict is Verdict.FAIL and f.id in ("net.tcp", "net.timeout")}
    services = facts.manifest.services.items()
    required = {name for name, service in services if not (service.optional or service.is_task)}
    if "system.stopped" in ids or (required and required <= down):
        return Trouble.COMPLETE_FAILURE
    try:
        if len(facts.get(MONITORING).firing) > facts.manifest.monitoring.thresholds.critical_alerts:
            return Trouble.ALERT_STORM
    except FactUnavailableError:
        pass
    roles = {facts.manifest.services[root.service].role for root in report.root_findings if root.service}
    if "app" in roles or not roles:
        return Trouble.CONFIGURATION if ids <= _configuration_ids() else Trouble.DEGRADATION
    return Trouble.MOCK_FAILURE if "mock" in roles else Trouble.MONITORING_FAILURE


def _configuration_ids() -> set[str]:
    from toombos_cli.diagnose.checks.configuration import CHECKS

    return {check.id for check in CHECKS}


def _impact(affected: tuple[str, ...], facts: Facts) -> str:
    if not affected:
        return ""
    roles = {facts.manifest.services[name].role for name in affected if name in facts.manifest.services}
    if "app" in roles:
        return "requests to the application fail or are slow"
    return (
        "publishing through the mocks fails" if "mock" in roles else "no metrics are collected; the services still work"
    )


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

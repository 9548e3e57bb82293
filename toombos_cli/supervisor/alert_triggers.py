"""Raises an alert for a problem that restarts do not fix, and resolves it when the service is ready again."""

from collections.abc import Iterator
from pathlib import Path

from toombos_cli.base.text import printable_lines
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.project.alert_spool import AlertEvent, emit, open_keys, place_of
from toombos_cli.project.state import WELL, Phase, ServiceState

_WORKED = frozenset({Phase.READY, Phase.UNHEALTHY})


class Alarms:
    """The alerts of the services, by comparing states. What an operator's own command reports is not an alert."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self._before: dict[str, ServiceState] = {}
        self._raised = set(open_keys(project))  # an earlier supervisor's too

    def note(self, state: ServiceState) -> None:
        """Raise or resolve alerts for a service's new state."""
        before = self._before.get(state.service.name)
        self._before[state.service.name] = state
        crash_loop = state.phase is Phase.CRASH_LOOP
        unwatched = before is not None and (before.phase in _WORKED or before.adopted)  # no command waits for it
        given_up = state.phase is Phase.FAILED and unwatched
        urgent = Severity.P1 if state.service.role == "app" else Severity.P2
        self._judge(state, "crash-loop", "is in a crash loop", urgent, crash_loop, state.detail)
        self._judge(state, "ended", "ended and is not restarted", urgent, given_up, state.detail)
        self._judge(state, "limits", "exceeds its limits", Severity.P2, bool(state.warnings), "; ".join(state.warnings))
        adopted = state.phase is Phase.STARTING and state.adopted
        unhealthy, monitors = state.phase is Phase.UNHEALTHY, state.service.role == "monitoring"
        self._judge(state, "unhealthy", "is unhealthy", urgent, unhealthy and not monitors, state.detail)
        # Nothing else watches the monitoring: Prometheus' alerts do not arrive while a part of it hangs.
        hangs = unhealthy and monitors
        self._judge(state, "hangs", "does not respond: the system is not monitored", Severity.P2, hangs, state.detail)
        self._judge(state, "adopted", "was found running without a supervisor", Severity.P3, adopted, "taken over")

    def _judge(self, state: ServiceState, topic: str, what: str, severity: Severity, wrong: bool, why: str) -> None:
        """Raise the alert of a topic once; resolve it when the service is ready again, not when it is stopped."""
        key = f"{topic}:{state.service.name}"
        well = not wrong and state.phase in WELL
        if (wrong and key in self._raised) or not (wrong or (well and key in self._raised)):
            return
        self._raised.symmetric_difference_update({key})
        event = AlertEvent(
            key=key,
            source="supervisor",
            severity=severity,
            title=f"{state.service.label} {what}",
            body=printable_lines("\n".join(self._lines(state, wrong=wrong, why=why))),
            resolved=not wrong,
        )
        emit(self.project, event)

    def _lines(self, state: ServiceState, *, wrong: bool, why: str) -> Iterator[str]:
        if why:
            yield why
        yield f"on: {place_of(self.project)}"
        if not wrong:
            return
        from toombos_cli.logs.lines import readable  # not needed by a healthy system

        name = state.service.name
        yield f"next: toombos {'monitoring restart' if state.service.role == 'monitoring' else f'logs {name} --errors'}"
        yield from map(readable, state.last_lines[-10:])

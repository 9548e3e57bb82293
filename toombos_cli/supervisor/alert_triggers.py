"""Raises an alert for what a supervised service cannot mend by itself, and ends it when it is well again."""

from collections.abc import Iterator
from pathlib import Path

from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.project.alert_spool import AlertEvent, emit, open_keys, place_of
from toombos_cli.project.state import Phase, ServiceState

_WORKED = frozenset({Phase.READY, Phase.UNHEALTHY})


class Alarms:
    """Compares each service's state with the one before; what an operator's own command reports is no alert."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._before: dict[str, ServiceState] = {}
        self._raised = set(open_keys(project))  # an earlier supervisor's too

    def note(self, state: ServiceState) -> None:
        """Takes in a service's new state."""
        before = self._before.get(state.service.name)
        self._before[state.service.name] = state
        crash_loop = state.phase is Phase.CRASH_LOOP
        given_up = state.phase is Phase.FAILED and before is not None and before.phase in _WORKED
        urgent = Severity.P1 if state.service.role == "app" else Severity.P2
        self._judge(state, "crash-loop", "is in a crash loop", urgent, crash_loop, state.detail)
        self._judge(state, "ended", "ended and is not started again", urgent, given_up, state.detail)
        self._judge(state, "limits", "is over its limits", Severity.P2, bool(state.warnings), "; ".join(state.warnings))
        adopted = state.phase is Phase.STARTING and state.adopted
        # Nobody else watches the watchers: Prometheus' alerts do not arrive while one of them hangs.
        hangs = state.service.role == "monitoring" and state.phase is Phase.UNHEALTHY
        self._judge(state, "hangs", "does not answer: the system is not watched", Severity.P2, hangs, state.detail)
        self._judge(state, "adopted", "was found running without a supervisor", Severity.P3, adopted, "taken over")

    def _judge(self, state: ServiceState, topic: str, what: str, severity: Severity, wrong: bool, why: str) -> None:
        """Raises the alert of a topic once, and ends it when the service is ready again: a stop mends nothing."""
        key = f"{topic}:{state.service.name}"
        well = not wrong and state.phase is Phase.READY
        if (wrong and key in self._raised) or not (wrong or (well and key in self._raised)):
            return
        self._raised.symmetric_difference_update({key})
        event = AlertEvent(
            key=key,
            source="supervisor",
            severity=severity,
            title=f"{state.service.label} {what}",
            body="\n".join(self._lines(state, wrong=wrong, why=why)),
            resolved=not wrong,
        )
        emit(self._project, event)

    def _lines(self, state: ServiceState, *, wrong: bool, why: str) -> Iterator[str]:
        if why:
            yield why
        yield f"on: {place_of(self._project)}"
        if not wrong:
            return
        from toombos_cli.logs.lines import readable  # a healthy system does without

        name = state.service.name
        yield f"next: toombos {'monitoring restart' if state.service.role == 'monitoring' else f'logs {name} --errors'}"
        yield from map(readable, state.last_lines[-10:])

"""The reports of start, stop, restart and status: frozen rows made from the supervisor's state."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import msgspec

from toombos_cli import processes
from toombos_cli.base.errors import ConfigurationError, Problem, RefusedError
from toombos_cli.base.fixes import here
from toombos_cli.base.results import WRONG, Case, Report, Verdict, worst
from toombos_cli.base.text import seconds
from toombos_cli.logs.tail import last_lines
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.service_logs import stray_output
from toombos_cli.project.state import WELL, End, FailureKind, Phase, ServiceState, SystemState
from toombos_cli.supervisor.protocol import EndedProcess, ServiceFailure

_KILLED_SHOWN = 3
_RESTARTS_SHOWN = 20


class RestartRow(msgspec.Struct, frozen=True, kw_only=True):
    """One restart that the supervisor made; `at` is ISO 8601, UTC."""

    at: str
    reason: str


class ServiceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One service or task (`kind`). `log` is relative to the project if it is inside it; None means "does not apply".

    `ready_after_s` of a task that is done is how long it took. `last_lines` are those of a failed attempt;
    `last_log_line` is the newest line of the log, "" also if it was not read.
    """

    name: str
    kind: str
    phase: Phase
    pid: int | None
    port: int | None
    ready_after_s: float | None
    restarts: int
    cpu_percent: float | None
    rss_bytes: int | None
    uptime_s: float | None
    log: str
    detail: str
    failure_kind: FailureKind | None
    last_end: End | None
    restart_history: tuple[RestartRow, ...]
    warnings: tuple[str, ...]
    last_lines: tuple[str, ...]
    last_log_line: str


class SupervisorRow(msgspec.Struct, frozen=True, kw_only=True):
    """The supervisor process; `pid` is None if there is none."""

    pid: int | None
    alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemReport(Report):
    """The status of the system; it passes if every service that belongs to it is ready."""

    kind: ClassVar[str] = "status"
    asked_for: ClassVar[bool] = True

    services: tuple[ServiceRow, ...]
    dry_run: bool
    """Whether the services themselves report it."""
    supervisor: SupervisorRow
    mode: str | None = None
    """The mode that was asked for."""
    mode_text: str = ""
    denied_by: tuple[str, ...] = ()
    """The services that were started to run dry and report that they do not."""
    warnings: tuple[str, ...] = ()

    def quotes_others(self, *, in_full: bool) -> bool:
        """Report whether a row quotes a log, a response or a command line."""
        return bool(self.warnings) or any(_quotes(row, in_full=in_full) for row in self.services)

    @property
    def verdict(self) -> Verdict:
        """FAIL if a service is not ready, or runs live although it was started to run dry; SKIP if there is none."""
        if self.denied_by:
            return Verdict.FAIL
        return worst([case.verdict for case in self.cases()] + [Verdict.WARN] * bool(self.warnings))

    @property
    def short(self) -> str:
        """One line such as `2 ready, crm crash-loop, dry-run mode`; `stopped` if nothing runs and nothing failed."""
        if not self.services:
            return "no service"
        if all(row.phase is Phase.STOPPED for row in self.services):
            return "stopped"
        ready = sum(row.phase is Phase.READY for row in self.services)
        others = [f"{row.name} {row.phase}" for row in self.services if _judge(row) is Verdict.FAIL]
        return ", ".join([*[f"{ready} ready"] * bool(ready), *others, *[self.mode_text] * bool(self.mode_text)])

    def cases(self) -> tuple[Case, ...]:
        """Return one case per service."""
        return tuple(
            Case(
                name=row.name, verdict=_judge(row), duration_s=row.ready_after_s or 0.0, detail=row.detail or row.phase
            )
            for row in self.services
        )


class KilledRow(msgspec.Struct, frozen=True, kw_only=True):
    """One process that did not end within the grace period and was killed."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.command})"


class EndedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One main process that was ended with its tree. `leftover`: an earlier supervisor had left it behind.

    `killed` are the processes that `stop_signal` did not end within `grace_period_s`; `stop_command_failure` is why
    the stop command did not help, or None.
    """

    service: str
    pid: int
    leftover: bool
    stop_signal: str
    grace_period_s: float
    killed: tuple[KilledRow, ...]
    stop_command_failure: str | None

    @classmethod
    def of(cls, ended: EndedProcess) -> "EndedRow":
        """Return the row of a process that the supervisor ended."""
        return cls(
            service=ended.service,
            pid=ended.pid,
            leftover=ended.leftover,
            stop_signal=ended.stop_signal,
            grace_period_s=ended.grace_period_s,
            killed=tuple(KilledRow(pid=killed.pid, command=killed.command) for killed in ended.killed),
            stop_command_failure=ended.stop_command_failure,
        )

    def __str__(self) -> str:
        return f"{self.service} (pid {self.pid})"

    @property
    def warnings(self) -> tuple[tuple[str, str], ...]:
        """What did not go in order, each with the hint that helps."""
        table = f"[services.{self.service}]"
        found = []
        if self.stop_command_failure is not None:
            text = f"{self.stop_command_failure}, so it got {self.stop_signal}"
            found.append((text, here("logs", self.service)))
        if self.killed:
            named = ", ".join(map(str, self.killed[:_KILLED_SHOWN]))
            more = len(self.killed) - _KILLED_SHOWN
            named += f" and {more} more" * (more > 0)
            text = f"{named} did not end within {seconds(self.grace_period_s)} of {self.stop_signal} and was killed"
            found.append((text, f"a larger grace_period_s or another stop_signal in {table}"))
        return tuple(found)


class FailureRow(msgspec.Struct, frozen=True, kw_only=True):
    """Why one service could not be started; `last_lines` are those of this attempt's log."""

    service: str
    kind: FailureKind
    message: str
    hint: str | None
    last_lines: tuple[str, ...]

    @classmethod
    def of(cls, failure: ServiceFailure) -> "FailureRow":
        """Return the row of a failure that the supervisor reported."""
        return cls(
            service=failure.service,
            kind=failure.kind,
            message=failure.message,
            hint=here(*failure.command) if failure.command else failure.hint,
            last_lines=failure.last_lines,
        )

    @property
    def problem(self) -> Problem:
        """The failure as a problem with the service and the next command."""
        return Problem(message=self.message, where=self.service, hint=self.hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeReport(Report):
    """What start, stop or restart did, and the named services as they are afterwards."""

    kind: ClassVar[str] = "change"
    hidden: ClassVar[frozenset[str]] = frozenset({"wants_up"})

    services: tuple[ServiceRow, ...]
    dry_run: bool
    supervisor: SupervisorRow
    mode: str | None = None
    mode_text: str = ""
    started: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    """The services that were not started because they depend on one that failed."""
    stopped: tuple[str, ...] = ()
    ended: tuple[EndedRow, ...] = ()
    failures: tuple[FailureRow, ...] = ()
    notes: tuple[str, ...] = ()
    wants_up: bool = True
    """Whether the services should be ready now; False for stop."""

    def quotes_others(self, *, in_full: bool) -> bool:
        """Report whether a row or a failure quotes a log, a response or a command line."""
        quoting = self.failures or self.notes or any(ended.killed for ended in self.ended)
        return bool(quoting) or any(_quotes(row, in_full=in_full) for row in self.services)

    @property
    def verdict(self) -> Verdict:
        """ERROR if a service is not as it should be, WARN for what is worth knowing, SKIP if there is no service."""
        if self.failures or self.astray:
            return Verdict.ERROR
        forced = [Verdict.WARN for _ in self.warnings]
        return worst([*(self._judge(row) for row in self.services), *forced])

    @property
    def warnings(self) -> tuple[tuple[str, str], ...]:
        """What did not go in order when services were stopped, each with the hint that helps."""
        return tuple((f"{ended.service}: {text}", hint) for ended in self.ended for text, hint in ended.warnings)

    def exit_code(self, *, strict: bool = False) -> int:
        """Return 5 if a service runs live against its mode, 3 if one refused its configuration, else by the verdict."""
        if any(failure.kind is FailureKind.NOT_DRY_RUN for failure in self.failures):
            return RefusedError.exit_code
        if any(failure.kind is FailureKind.CONFIGURATION for failure in self.failures):
            return ConfigurationError.exit_code
        return Report.exit_code(self, strict=strict)

    @property
    def astray(self) -> tuple[ServiceRow, ...]:
        """The services that are not as they should be although no failure was reported."""
        if self.failures:  # which explain the others
            return ()
        return tuple(row for row in self.services if self._judge(row) in WRONG)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The failures as problems with the service and the next command."""
        failed = (failure.problem for failure in self.failures)
        astray = (
            Problem(message=row.detail or f"it is {row.phase}", where=row.name, hint=here("logs", row.name))
            for row in self.astray
        )
        return *failed, *astray

    def _judge(self, row: ServiceRow) -> Verdict:
        if self.wants_up:
            return _judge(row)
        if row.pid:
            return Verdict.FAIL
        return Verdict.WARN if row.detail and row.name in self.stopped else Verdict.PASS


def rows(
    state: SystemState | None,
    manifest_services: dict[str, Service],
    names: tuple[str, ...],
    project: Path,
    *,
    reads_logs: bool = True,
) -> tuple[ServiceRow, ...]:
    """Return the rows of the named services, or of all that belong to the system, in manifest order.

    An optional service that neither runs nor failed is left out unless it is named; one that is no longer in the
    manifest is included while it runs.
    """
    known = state.services if state else {}
    restarts = _restarts(known, project)
    found = []
    for name in (*manifest_services, *(known.keys() - manifest_services.keys())):
        entry = known.get(name)
        service = manifest_services.get(name)
        if entry is None and service is not None:
            entry = ServiceState(service=service, desired=False, phase=Phase.STOPPED)
        if entry is None or (names and name not in names):
            continue
        shown = entry.pid if service is None else not service.optional or entry.phase is not Phase.STOPPED
        if names or shown:
            found.append(_row(entry, project, restarts.get(name, ()), reads_log=reads_logs))
    return tuple(found)


def _restarts(known: Mapping[str, ServiceState], project: Path) -> dict[str, tuple[RestartRow, ...]]:
    """Return the last restarts of each service, from the history; it is read only if there was one."""
    restarted = [name for name, entry in known.items() if entry.restarts]
    if not restarted:
        return {}
    from toombos_cli.project.history import TAIL_BYTES, own_restarts, read_history  # a healthy system needs none of it

    history = read_history(project, last_bytes=TAIL_BYTES)
    return {
        name: tuple(
            RestartRow(at=_iso(event.at), reason=event.text or event.why)
            for event in own_restarts(history.of(name))[-min(known[name].restarts, _RESTARTS_SHOWN) :]
        )
        for name in restarted
    }


def _row(entry: ServiceState, project: Path, history: tuple[RestartRow, ...], *, reads_log: bool) -> ServiceRow:
    log = Path(entry.service.log)
    return ServiceRow(
        name=entry.service.name,
        kind=entry.service.kind,
        phase=entry.phase,
        pid=entry.pid or None,
        port=entry.service.port or None,
        ready_after_s=entry.ready_after_s if entry.pid or entry.phase is Phase.DONE else None,
        restarts=entry.restarts,
        cpu_percent=entry.cpu_percent,
        rss_bytes=entry.rss_bytes,
        uptime_s=round(processes.age_s(entry.start_ticks), 1) if entry.pid else None,
        log=str(log.relative_to(project)) if log.is_relative_to(project) else str(log),
        detail=entry.detail,
        failure_kind=entry.failure_kind,
        last_end=entry.last_end,
        restart_history=history,
        warnings=(*entry.warnings, *_stray(entry)),
        last_lines=entry.last_lines,
        last_log_line="".join(last_lines(entry.service.log, 0, 1)) if reads_log else "",
    )


def _stray(entry: ServiceState) -> tuple[str, ...]:
    """Return the warning that the service does not write to its log, if so."""
    stray = stray_output(entry)
    if stray is None:
        return ()
    restart = here("restart", entry.service.name)
    return (f"{stray}; {stray.first}{restart}" if stray.first else f"{stray}; {restart} mends it",)


def _quotes(row: ServiceRow, *, in_full: bool) -> bool:
    return bool(
        row.detail
        or row.warnings
        or row.last_lines
        or row.last_end
        or (in_full and (row.last_log_line or row.restart_history))
    )


def _judge(row: ServiceRow) -> Verdict:
    if row.phase not in WELL:
        return Verdict.FAIL
    return Verdict.WARN if row.warnings else Verdict.PASS


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))

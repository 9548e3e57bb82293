"""What the commands call: start, stop, restart and status of a project, whether or not a supervisor runs."""

import socket
from collections.abc import Callable
from pathlib import Path

from toombos_cli.base.errors import ConfigurationError, RefusedError
from toombos_cli.manifest.model import DRY_RUN, Manifest
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.state import Phase, SystemState, observed, read_state
from toombos_cli.supervisor import client
from toombos_cli.supervisor.ordering import default_names, with_dependencies
from toombos_cli.supervisor.protocol import Done, Plan, Progress, Restart, Start, Status, Stop
from toombos_cli.supervisor.reports import ChangeReport, FailureRow, SupervisorRow, SystemReport, rows

OnProgress = Callable[[Progress], None]


def run_start(
    manifest: Manifest,
    names: tuple[str, ...],
    *,
    dry_run: bool = False,
    timeout_s: float | None = None,
    on_progress: OnProgress | None = None,
    early: socket.socket | None = None,
) -> ChangeReport:
    """Brings the services (none named: all that are not optional) to ready.

    A system that runs in dry-run mode stays in it. `early` is the connection of a supervisor that was launched ahead.
    Raises RefusedError when it runs in live mode and a dry run is asked for, ConfigurationError for an unreadable
    `.env`, OperationError when no supervisor can be had.
    """
    from toombos_cli.supervisor.plan import build_plan  # `status` does without

    before = present_state(manifest.project)
    running = [name for name, s in before.services.items() if s.pid] if before else []
    mode = DRY_RUN if dry_run else (before.mode if before and running else None)
    if dry_run and before and running and not before.dry_run:
        raise RefusedError(
            f"{', '.join(running)} runs in live mode, and a dry run would join it",
            hint="toombos stop && toombos start --dry-run",
        )
    plan = build_plan(manifest, mode=mode)
    wanted = names or default_names(manifest.services)
    done = client.ask(manifest.project, Start(plan=plan, names=wanted, timeout_s=timeout_s), on_progress, early=early)
    notes = (*_taken_over(before, done), *_stale(done, plan), *_forgot_the_dry_run(manifest, done, plan))
    shown = with_dependencies(manifest.services, wanted)
    return change_report(done, manifest.services, manifest.project, shown, notes=notes)


def run_restart(
    manifest: Manifest,
    names: tuple[str, ...],
    *,
    dry_run: bool = False,
    only_changed: bool = False,
    timeout_s: float | None = None,
    on_progress: OnProgress | None = None,
) -> ChangeReport:
    """Stops and starts the services (none named: those that run, else all that are not optional) with fresh settings.

    The mode stays what it was. Raises as `run_start`.
    """
    from toombos_cli.supervisor.plan import build_plan

    before = present_state(manifest.project)
    running = (
        tuple(name for name, s in before.services.items() if s.pid and name in manifest.services) if before else ()
    )
    plan = build_plan(manifest, mode=DRY_RUN if dry_run else (before.mode if before else None))
    wanted = names or running or default_names(manifest.services)
    request = Restart(plan=plan, names=wanted, only_changed=only_changed, timeout_s=timeout_s)
    done = client.ask(manifest.project, request, on_progress)
    return change_report(done, manifest.services, manifest.project, with_dependencies(manifest.services, wanted))


def run_stop(
    project: Path,
    services: dict[str, Service],
    names: tuple[str, ...],
    *,
    manifest: Manifest | None = None,
    on_progress: OnProgress | None = None,
) -> ChangeReport:
    """Ends the services (none named: all) and whatever an earlier supervisor left of them; nothing running is fine.

    With the manifest, what goes on running under a new supervisor can also be restarted by it.
    """
    request = Stop(names=names, plan=_plan_for_the_rest(manifest) if manifest and names else None)
    done = client.ask_running(project, request, on_progress)
    if done is None and client.survivors(project):
        done = client.ask(project, request, on_progress)
    if done is None:
        report = run_status(project, services, names)
        return ChangeReport(
            services=report.services, dry_run=report.dry_run, supervisor=report.supervisor, wants_up=False
        )
    if not _stays(done):
        client.see_off(done.state.supervisor_pid)
    return change_report(done, services, project, names, wants_up=False)


def run_status(
    project: Path, services: dict[str, Service], names: tuple[str, ...], *, knows_dry_run: bool = True
) -> SystemReport:
    """The system now: from its supervisor, or without one from what was written down, checked against /proc.

    `knows_dry_run` is False for a manifest without that mode. Raises OperationError when the supervisor does not
    answer.
    """
    done = client.ask_running(project, Status())
    state = done.state if done else _unsupervised(project)
    return SystemReport(
        services=rows(state, services, names, project),
        dry_run=bool(state and state.dry_run),
        mode="" if not knows_dry_run else "dry-run" if state and state.dry_run else "live",
        supervisor=SupervisorRow(pid=done.state.supervisor_pid if done else None, alive=done is not None),
        warnings=state.warnings if state else (),
    )


def present_state(project: Path) -> SystemState | None:
    """The state now, or None when nothing was ever started here. Raises OperationError."""
    done = client.ask_running(project, Status())
    return done.state if done else _unsupervised(project)


def _unsupervised(project: Path) -> SystemState | None:
    state = read_state(project)
    return observed(state) if state else None


def _plan_for_the_rest(manifest: Manifest) -> Plan | None:
    from toombos_cli.supervisor.plan import build_plan

    state = read_state(manifest.project)
    try:
        return build_plan(manifest, mode=state.mode if state else None)
    except ConfigurationError:  # an unreadable .env must not keep anything running
        return None


def change_report(
    done: Done,
    services: dict[str, Service],
    project: Path,
    names: tuple[str, ...],
    *,
    wants_up: bool = True,
    notes: tuple[str, ...] = (),
) -> ChangeReport:
    """The report of an answer, with the asked services' rows."""
    return ChangeReport(
        services=rows(done.state, services, names, project),
        dry_run=done.state.dry_run,
        supervisor=_supervisor_of(done),
        started=done.started,
        stopped=done.stopped,
        failures=tuple(map(FailureRow.of, done.failures)),
        notes=notes,
        wants_up=wants_up,
    )


def _supervisor_of(done: Done) -> SupervisorRow:
    stays = _stays(done)
    return SupervisorRow(pid=done.state.supervisor_pid if stays else None, alive=stays)


def _stays(done: Done) -> bool:
    """Whether the supervisor stays after its answer: it leaves when nothing runs any more."""
    return any(state.pid for state in done.state.services.values())


def _taken_over(before: SystemState | None, done: Done) -> tuple[str, ...]:
    """Names what had lost its supervisor and has one again."""
    lost = [name for name, s in before.services.items() if s.phase is Phase.UNSUPERVISED] if before else []
    adopted = [name for name in lost if before and done.state.services[name].pid == before.services[name].pid]
    return (f"taken over, for no supervisor watched them: {', '.join(adopted)}",) if adopted else ()


def _forgot_the_dry_run(manifest: Manifest, done: Done, plan: Plan) -> tuple[str, ...]:
    """What whoever starts the system for the first time did not mean: live mode, which needs settings."""
    refused = any(failure.kind == "configuration" for failure in done.failures)
    if not refused or plan.dry_run or DRY_RUN not in manifest.modes:
        return ()
    return ("this was live mode; the dry-run system needs no settings: toombos start --dry-run",)


def _stale(done: Done, plan: Plan) -> tuple[str, ...]:
    """Names what runs with an older configuration than the plan's."""
    stale = [
        name
        for name, state in done.state.services.items()
        if state.pid and name in plan.services and state.fingerprint != plan.services[name].fingerprint
    ]
    if not stale:
        return ()
    return (f"the configuration of {', '.join(stale)} has changed since its start: toombos restart --changed",)

"""Start, stop, restart and status of a project, as the commands call them, whether or not a supervisor runs."""

import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.base.fixes import here
from toombos_cli.manifest.model import DRY_RUN, Manifest
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.interruption import find_interruption, forget_stopped
from toombos_cli.project.mode import RunningMode, explain_denial, running_mode
from toombos_cli.project.own_processes import unsupervised_state
from toombos_cli.project.state import FailureKind, Phase, SystemState
from toombos_cli.supervisor import client
from toombos_cli.supervisor.ordering import default_names, with_dependencies
from toombos_cli.supervisor.protocol import (
    Done,
    Progress,
    RestartRequest,
    ServiceFailure,
    StartRequest,
    StatusRequest,
    StopRequest,
    SystemPlan,
)
from toombos_cli.supervisor.reports import ChangeReport, EndedRow, FailureRow, SupervisorRow, SystemReport, rows
from toombos_cli.supervisor.running_system import mode_to_join, mode_to_keep, other_spellings, present_state

OnProgress = Callable[[Progress], None]


def run_start(
    manifest: Manifest,
    names: tuple[str, ...],
    *,
    mode: str | None = None,
    timeout_s: float | None = None,
    all_or_nothing: bool = False,
    on_progress: OnProgress | None = None,
    early: socket.socket | None = None,
) -> ChangeReport:
    """Start the services (no names: all that are not optional) and wait until they are ready.

    If one fails, those that became ready keep running, unless it is `all_or_nothing`. A running system stays in its
    mode. `early` is the connection of a supervisor that was launched ahead.
    Raises RefusedError if it runs in another mode than the one asked for, ConfigurationError for an unreadable
    `.env`, OperationError if no supervisor can be reached or started.
    """
    from toombos_cli.supervisor.plan import build_plan  # not needed by `status`

    before = present_state(manifest.project, manifest.services)
    mode = mode_to_join(manifest, before, mode)
    plan = build_plan(manifest, mode=mode)
    wanted = names or default_names(manifest.services)
    request = StartRequest(
        plan=plan, names=wanted, timeout_s=timeout_s, all_or_nothing=all_or_nothing, named=bool(names)
    )
    done = client.ask(manifest.project, request, on_progress, early=early)
    _forget_running(manifest, done)
    notes = (
        *_taken_over(before, done),
        *_followed(done, wanted, manifest),
        *_leftovers(done),
        *_stale(done, plan),
        *_undescribed(done, manifest),
        *_forgot_the_dry_run(manifest, done, plan),
    )
    notes += other_spellings(manifest)
    shown = with_dependencies(manifest.services, (*wanted, *done.started))
    return change_report(done, manifest.services, manifest.project, shown, notes=notes, manifest=manifest)


def run_restart(
    manifest: Manifest,
    names: tuple[str, ...],
    *,
    mode: str | None = None,
    only_changed: bool = False,
    timeout_s: float | None = None,
    on_progress: OnProgress | None = None,
) -> ChangeReport:
    """Stop and start the services (no names: those that run or have failed, else all that are not optional) again.

    The mode stays the same unless another one is asked for. Raises as `run_start`; RefusedError also if another
    running service would stay in a different mode.
    """
    from toombos_cli.supervisor.plan import build_plan

    before = present_state(manifest.project, manifest.services)
    wanted = names or _belonging(manifest, before) or default_names(manifest.services)
    if mode is not None:
        mode_to_join(manifest, _without(before, wanted), mode)
    else:
        mode = mode_to_keep(manifest, before)
    plan = build_plan(manifest, mode=mode)
    request = RestartRequest(
        plan=plan,
        names=wanted,
        only_changed=only_changed,
        timeout_s=timeout_s,
    )
    done = client.ask(manifest.project, request, on_progress)
    _forget_running(manifest, done)
    left = _undescribed(done, manifest)
    notes = (*_followed(done, wanted, manifest), *_leftovers(done), *left, *other_spellings(manifest))
    shown = with_dependencies(manifest.services, (*wanted, *done.started))
    return change_report(done, manifest.services, manifest.project, shown, notes=notes, manifest=manifest)


_NOT_STOPPED = frozenset({Phase.DONE, Phase.FAILED, Phase.CRASH_LOOP})
"""Phases without a process that no stop has caused."""


def _belonging(manifest: Manifest, state: SystemState | None) -> tuple[str, ...]:
    """Return the services that run and, if there are some, those that should, because nobody has stopped them."""
    found = {name: entry for name, entry in state.services.items() if name in manifest.services} if state else {}
    if not any(entry.pid for entry in found.values()):
        return ()
    return tuple(name for name, entry in found.items() if entry.pid or entry.phase in _NOT_STOPPED)


def _forget_running(manifest: Manifest, done: Done) -> None:
    """Forget that a killed backup or restore had stopped the services that run now."""
    forget_stopped(manifest.project, [name for name, entry in done.state.services.items() if entry.pid])


def _without(state: SystemState | None, names: tuple[str, ...]) -> SystemState | None:
    if state is None:
        return None
    others = {name: service for name, service in state.services.items() if name not in names}
    return msgspec.structs.replace(state, services=others)


def run_stop(
    project: Path,
    services: dict[str, Service],
    names: tuple[str, ...],
    *,
    manifest: Manifest | None = None,
    on_progress: OnProgress | None = None,
) -> ChangeReport:
    """End the services (no names: all) and what an earlier supervisor left of them; it is fine if nothing runs.

    With the manifest, a new supervisor can also restart the services that keep running.
    """
    plan = _plan_for_the_rest(manifest) if manifest and names else None
    done = client.ask_running(project, StopRequest(names=names, plan=plan), on_progress)
    if done is None and client.survivors(project):
        plan = plan or (_plan_for_the_rest(manifest) if manifest else None)
        done = client.ask(project, StopRequest(names=names, plan=plan), on_progress)
    if done is None:
        report = run_status(project, services, names)
        return ChangeReport(
            services=report.services,
            dry_run=report.dry_run,
            mode=report.mode,
            supervisor=report.supervisor,
            wants_up=False,
        )
    if not _stays(done):
        client.see_off(done.state.supervisor_pid)
    return change_report(done, services, project, names, wants_up=False)


def run_status(
    project: Path,
    services: dict[str, Service],
    names: tuple[str, ...],
    *,
    knows_dry_run: bool = True,
    reads_logs: bool = True,
) -> SystemReport:
    """Return the system's status: from its supervisor, or without one from the written state, checked against /proc.

    `knows_dry_run` is False for a manifest without that mode; without `reads_logs` no row has its last log line.
    Raises OperationError if the supervisor does not respond.
    """
    done = client.ask_running(project, StatusRequest())
    state = done.state if done else unsupervised_state(project, services)
    found = running_mode(state, knows_dry_run=knows_dry_run)
    interruption = find_interruption(project)
    return SystemReport(
        services=rows(state, services, names, project, reads_logs=reads_logs),
        dry_run=found.dry_run,
        mode=found.name,
        mode_text=found.text,
        denied_by=found.denied_by,
        supervisor=SupervisorRow(pid=done.state.supervisor_pid if done else None, alive=done is not None),
        warnings=(*(state.warnings if state else ()), *(interruption.messages if interruption else ())),
    )


def _plan_for_the_rest(manifest: Manifest) -> SystemPlan | None:
    from toombos_cli.supervisor.plan import build_plan

    mode = mode_to_keep(manifest, present_state(manifest.project, manifest.services))
    try:
        return build_plan(manifest, mode=mode)
    except ConfigurationError:  # an unreadable .env must not prevent a stop
        return None


def change_report(
    done: Done,
    services: dict[str, Service],
    project: Path,
    names: tuple[str, ...],
    *,
    notes: tuple[str, ...] = (),
    manifest: Manifest | None = None,
    wants_up: bool = True,
) -> ChangeReport:
    """Return the report of a reply, with the rows of the named services. `manifest` is what was started."""
    found = running_mode(done.state, knows_dry_run=manifest is not None and DRY_RUN in manifest.modes)
    failures = tuple(_explained(manifest, failure, done.state.mode) for failure in done.failures)
    return ChangeReport(
        services=rows(done.state, services, names, project),
        dry_run=found.dry_run,
        mode=found.name,
        mode_text=found.text,
        supervisor=_supervisor_of(done),
        started=done.started,
        skipped=done.skipped,
        stopped=done.stopped,
        ended=tuple(map(EndedRow.of, done.ended)),
        failures=tuple(map(FailureRow.of, failures)),
        notes=(*_half_started(done), *notes, *_denied(found, failures)),
        wants_up=wants_up,
    )


def _explained(manifest: Manifest | None, failure: ServiceFailure, mode: str | None) -> ServiceFailure:
    """Return the failure; if the service does not run dry, with the variables that may be the cause."""
    if manifest is None or failure.kind != "not-dry-run":
        return failure
    denial = explain_denial(manifest, manifest.services[failure.service], mode)
    return msgspec.structs.replace(failure, message=denial.message, hint=denial.hint, command=())


def _denied(found: RunningMode, failures: tuple[ServiceFailure, ...]) -> tuple[str, ...]:
    """Return a note of the services that keep running live although they were started to run dry."""
    left = [name for name in found.denied_by if all(failure.service != name for failure in failures)]
    return (f"NOT in dry-run mode, although started in it: {', '.join(left)}; {here('stop')}",) if left else ()


def _half_started(done: Done) -> tuple[str, ...]:
    """Return notes on what a failed start left running and what it did not start."""
    notes = []
    if done.skipped:
        notes.append(f"not started either, because they depend on it: {', '.join(done.skipped)}")
    running = [name for name in done.started if done.state.services[name].pid]
    if done.failures and running:
        notes.append(f"left running: {', '.join(running)}; to stop them: {here('stop', *running)}")
    return tuple(notes)


def _supervisor_of(done: Done) -> SupervisorRow:
    stays = _stays(done)
    return SupervisorRow(pid=done.state.supervisor_pid if stays else None, alive=stays)


def _stays(done: Done) -> bool:
    """Report whether the supervisor stays after this reply: it exits if nothing runs and no file is watched."""
    return done.watches or any(state.pid for state in done.state.services.values())


def _taken_over(before: SystemState | None, done: Done) -> tuple[str, ...]:
    """Return a note of the services that had lost their supervisor and have one again."""
    lost = [name for name, s in before.services.items() if s.phase is Phase.UNSUPERVISED] if before else []
    adopted = [name for name in lost if before and done.state.services[name].pid == before.services[name].pid]
    return (f"taken over, because no supervisor was watching them: {', '.join(adopted)}",) if adopted else ()


def _followed(done: Done, wanted: tuple[str, ...], manifest: Manifest) -> tuple[str, ...]:
    """Return a note of the services that were restarted because what they depend on was started."""
    asked = with_dependencies(manifest.services, wanted)
    also = [name for name in done.started if name in done.stopped and name not in asked]
    return (f"restarted with what they depend on: {', '.join(also)}",) if also else ()


def _leftovers(done: Done) -> tuple[str, ...]:
    """Return a note of the processes of services whose main process had ended without a supervisor."""
    ended = ", ".join(f"{process.service} (pid {process.pid})" for process in done.ended if process.leftover)
    return (f"ended what an earlier start had left: {ended}",) if ended else ()


def _forgot_the_dry_run(manifest: Manifest, done: Done, plan: SystemPlan) -> tuple[str, ...]:
    """Return a note for users who started live mode, which needs settings, by mistake."""
    refused = any(failure.kind is FailureKind.CONFIGURATION for failure in done.failures)
    if not refused or plan.dry_run or DRY_RUN not in manifest.modes:
        return ()
    return (f"this was live mode; the dry-run system needs no settings: {here('start', '--dry-run')}",)


def _undescribed(done: Done, manifest: Manifest) -> tuple[str, ...]:
    """Return a note of the services that run although the manifest has them no more."""
    left = [name for name, state in done.state.services.items() if state.pid and name not in manifest.services]
    if not left:
        return ()
    verb = "runs, but is" if len(left) == 1 else "run, but are"
    return (f"{', '.join(left)} {verb} no longer in toombos.toml: {here('stop', *left)}",)


def _stale(done: Done, plan: SystemPlan) -> tuple[str, ...]:
    """Return a note of the services that run with an older configuration than the plan's."""
    stale = [
        name
        for name, state in done.state.services.items()
        if state.pid and name in plan.services and state.fingerprint not in ("", plan.services[name].fingerprint)
    ]
    if not stale:
        return ()
    return (f"the configuration of {', '.join(stale)} has changed since its start: {here('restart', '--changed')}",)

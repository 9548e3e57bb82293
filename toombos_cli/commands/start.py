"""`toombos start`."""

import os
import signal
import sys
from typing import Annotated, NoReturn

import typer

from toombos_cli.base.errors import UsageError
from toombos_cli.cli import options
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.wait_progress import Waiting


@command
def start(
    invocation: Invocation,
    services: options.Services = None,
    mode: options.Mode = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Start in dry-run mode (--mode dry_run). Use --preview to see what would be started.",
        ),
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", "--plan", help="Print what would be started; start nothing.")
    ] = False,
    monitoring: Annotated[
        bool, typer.Option("--monitoring", help="Also start the manifest's monitoring services.")
    ] = False,
    foreground: Annotated[
        bool,
        typer.Option(
            "--foreground",
            help="Stay in the foreground and print the services' output; stop them on exit (for containers).",
        ),
    ] = False,
    all_or_nothing: Annotated[
        bool,
        typer.Option("--all-or-nothing", help="If a service fails, stop everything that this start has started."),
    ] = False,
    same_mode: Annotated[
        bool,
        typer.Option("--same-mode", help="Start in the mode of the last start, or in dry-run mode if there was none."),
    ] = False,
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Only if the supervisor has died: take over what it left, in the same mode."),
    ] = False,
    timeout: options.StartTimeout = None,
) -> None:
    """Start the services and wait until each is ready.

    If a service fails, show the cause and its last log lines; do not start what depends on it, and leave running what
    became ready. Stop everything that this start has started with --all-or-nothing, if a service refuses its
    configuration (exit 3), or if one was started in dry-run mode and reports that it is not (exit 5). Nothing is
    started at all if a program, a directory or a port cannot be used. Services that already run are left alone.
    """
    if preview:
        from toombos_cli.supervisor.start_preview import preview_start

        names = _names(invocation, services, monitoring)
        chosen = _mode(invocation, mode, dry_run=dry_run, same=same_mode)
        invocation.finish(preview_start(invocation.manifest, names, mode=chosen))
    refuse_half_restored(invocation)
    if adopt:
        _take_over(invocation, timeout)
    if foreground:
        names = _prepared(invocation, _names(invocation, services, monitoring))
        chosen = _mode(invocation, mode, dry_run=dry_run, same=same_mode)
        _stay(invocation, names, mode=chosen, timeout=timeout)
    from toombos_cli.supervisor.spawn_supervisor import launched_early

    with launched_early(invocation.project) as early, Waiting(invocation) as waiting:
        chosen = _mode(invocation, mode, dry_run=dry_run, same=same_mode)
        names = _prepared(invocation, _names(invocation, services, monitoring))
        from toombos_cli.supervisor.operations import run_start

        report = run_start(
            invocation.manifest,
            names,
            mode=chosen,
            timeout_s=timeout,
            all_or_nothing=all_or_nothing,
            on_progress=waiting.note,
            early=early,
        )
    invocation.finish(report)


def refuse_half_restored(invocation: Invocation) -> None:
    """Raise RefusedError if an interrupted restore may have left the tree half old, half new."""
    try:
        if not (invocation.project / "run" / "restore.json").exists():
            return
    except PermissionError:  # another user's project: the next step reports it
        return
    from toombos_cli.backup.scope import make_place
    from toombos_cli.backup.transaction.journal import refuse_open_journal

    refuse_open_journal(make_place(invocation.manifest))


def _names(invocation: Invocation, services: list[str] | None, monitoring: bool) -> tuple[str, ...]:
    """Return the names to start; () means all that are not optional. Raises UsageError for an unknown name."""
    names = invocation.service_names(services)
    if monitoring:
        from toombos_cli.supervisor.ordering import with_monitoring

        names = with_monitoring(invocation.manifest.services, names)
    return names


def _mode(invocation: Invocation, name: str | None, *, dry_run: bool, same: bool) -> str | None:
    """Return the mode to start in, or None if none was asked for. Raises UsageError for an unknown one, or two."""
    if same:
        if name is not None or dry_run:
            raise UsageError("--same-mode excludes --mode and --dry-run", hint="leave one of them out")
        from toombos_cli.project.mode import mode_of_last_start

        return mode_of_last_start(invocation.manifest)
    if name is None and not dry_run:
        return None
    from toombos_cli.project.mode import chosen_mode

    return chosen_mode(invocation.manifest, name, dry_run=dry_run)


def _take_over(invocation: Invocation, timeout_s: float | None) -> NoReturn:
    from toombos_cli.supervisor.take_over import run_take_over

    with Waiting(invocation) as waiting:
        report = run_take_over(invocation.manifest, timeout_s=timeout_s, on_progress=waiting.note)
    invocation.finish(report)


def _prepared(invocation: Invocation, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names for the supervisor to start; first write the files that monitoring among them reads."""
    if all(invocation.manifest.services[name].role != "monitoring" for name in names):
        return names
    from toombos_cli.commands.monitoring import make_ready

    return make_ready(invocation, names)


def _stay(invocation: Invocation, names: tuple[str, ...], *, mode: str | None, timeout: float | None) -> NoReturn:
    """Supervise in this process; exit with 130 or 143 after the signal that ended it."""
    from toombos_cli.cli.foreground_display import make_display
    from toombos_cli.supervisor.foreground import run_foreground
    from toombos_cli.supervisor.running_system import other_spellings

    for warning in other_spellings(invocation.manifest):
        invocation.stderr.print(f"note: {warning}", style="yellow", soft_wrap=True)
    display = make_display(invocation)
    run = run_foreground(invocation.manifest, names, mode=mode, timeout_s=timeout, display=display)
    if run.ended_by is not None or run.start is None:
        sys.stderr.flush()
        os._exit(128 + (run.ended_by or signal.SIGTERM))  # a normal exit could wait for a stalled reader of stdout
    if run.start.failures or invocation.format == "json":
        invocation.finish(run.start)
    raise typer.Exit(1 if run.failed else 0)

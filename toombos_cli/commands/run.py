"""`toombos run`."""

import sys
from typing import Annotated

import typer

from toombos_cli.base.errors import UsageError
from toombos_cli.base.fixes import here
from toombos_cli.cli import options
from toombos_cli.cli.invocation import Invocation, command


@command
def run(
    invocation: Invocation,
    task: Annotated[
        str,
        typer.Argument(metavar="TASK", show_default=False, autocompletion=options.complete("task"), help="The task."),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- ARGUMENT]...", show_default=False, help="Arguments that are added to its command."),
    ] = None,
    mode: options.Mode = None,
    dry_run: options.DryRun = False,
) -> None:
    """Run one task to its end, in the foreground, also while the system runs.

    The task has the terminal: it may ask questions, and its output is not logged; `toombos events` shows that it ran
    and how it ended. Exit 0 if it ended with exit code 0, else 4. The run is recorded as the task's last one; with
    arguments of its own it does not count as completed. Example: `toombos run migrate -- --plan`.
    """
    from toombos_cli.commands.start import refuse_half_restored
    from toombos_cli.project.mode import chosen_mode
    from toombos_cli.supervisor.foreground_task import run_task

    name = invocation.service_name(task)
    if not invocation.manifest.services[name].is_task:
        raise UsageError(f"{name} is a service, not a task", hint=here("start", name))
    refuse_half_restored(invocation)
    chosen = chosen_mode(invocation.manifest, mode, dry_run=dry_run)
    output = sys.stderr.fileno() if invocation.format == "json" else None
    invocation.finish(run_task(invocation.manifest, name, tuple(arguments or ()), mode=chosen, output=output))

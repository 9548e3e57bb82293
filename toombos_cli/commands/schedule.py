"""`toombos schedule`: show, install, remove; and run, which cron and systemd call."""

from typing import Annotated, Literal

import typer

from toombos_cli.cli.groups import command_group
from toombos_cli.cli.invocation import Invocation, command

app = command_group("The periodic work: health, backup, retention, restore drill.")

MethodOption = Annotated[
    Literal["systemd", "cron"] | None,
    typer.Option("--method", help="Who runs the jobs.", show_default="systemd where it runs, else cron"),
]


@app.command()
@command
def show(invocation: Invocation) -> None:
    """List the jobs: when, what, the last run and the next one."""
    from toombos_cli.schedule.operations import run_show

    invocation.finish(run_show(invocation.manifest))


@app.command()
@command
def install(
    invocation: Invocation,
    method: MethodOption = None,
    only_print: Annotated[bool, typer.Option("--print", help="Print what would be installed; do nothing.")] = False,
) -> None:
    """Have systemd or cron run the jobs of this user; a second time brings them up to date.

    Other lines of the crontab, and other units, stay as they are.
    """
    from toombos_cli.schedule.operations import run_install, run_print

    invocation.finish((run_print if only_print else run_install)(invocation.manifest, method))


@app.command()
@command
def remove(invocation: Invocation) -> None:
    """Take the jobs of this project out of systemd and cron."""
    from toombos_cli.schedule.operations import run_remove

    invocation.finish(run_remove(invocation.manifest))


@app.command()
@command
def run(invocation: Invocation, job: Annotated[str, typer.Argument(metavar="JOB", help="The job's name.")]) -> None:
    """Run one job now, record that it ran, and raise an alert when it failed."""
    from toombos_cli.schedule.job_run import run_job

    invocation.finish(run_job(invocation.manifest, job))

"""`toombos schedule`: show, install, remove; and run, which cron or systemd calls."""

from typing import Annotated, Literal

import typer

from toombos_cli.cli import options
from toombos_cli.cli.groups import command_group
from toombos_cli.cli.invocation import Invocation, command

app = command_group("Schedule the periodic jobs: health, backup, retention, restore drill.")

MethodOption = Annotated[
    Literal["systemd", "cron"] | None,
    typer.Option("--method", help="What runs the jobs.", show_default="systemd if it runs, else cron"),
]


@app.command()
@command
def show(invocation: Invocation) -> None:
    """List the jobs with their time, command, last run and next run."""
    from toombos_cli.schedule.operations import run_show

    invocation.finish(run_show(invocation.manifest))


@app.command()
@command
def install(
    invocation: Invocation,
    method: MethodOption = None,
    only_print: Annotated[
        bool, typer.Option("--print", help="Print what would be installed; install nothing.")
    ] = False,
) -> None:
    """Install the jobs in this user's systemd or crontab; run it again to update them.

    Other crontab lines and other units are left alone.
    """
    from toombos_cli.schedule.operations import run_install, run_print

    invocation.finish((run_print if only_print else run_install)(invocation.manifest, method))


@app.command()
@command
def remove(invocation: Invocation) -> None:
    """Remove the jobs of this project from systemd and cron."""
    from toombos_cli.schedule.operations import run_remove

    invocation.finish(run_remove(invocation.manifest))


@app.command()
@command
def run(
    invocation: Invocation,
    job: Annotated[str, typer.Argument(metavar="JOB", autocompletion=options.complete("job"), help="The job's name.")],
) -> None:
    """Run one job now, record the run, and raise an alert if it fails."""
    from toombos_cli.schedule.job_run import run_job

    invocation.finish(run_job(invocation.manifest, job))

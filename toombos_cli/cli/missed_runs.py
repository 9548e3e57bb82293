"""Warns of scheduled jobs that did not run, in the commands that people look at: health and backup status."""

from typing import TYPE_CHECKING

from toombos_cli.base.fixes import here
from toombos_cli.cli.invocation import Invocation

if TYPE_CHECKING:
    from toombos_cli.project.job_records import MissedRun


def warn_of_missed_runs(invocation: Invocation) -> "tuple[MissedRun, ...]":
    """Print one line per missed job on stderr and return the missed runs, if a schedule is installed."""
    from toombos_cli.project.job_records import missed_runs

    missed = missed_runs(invocation.manifest)
    for run in missed:
        invocation.stderr.print(f"warning: the scheduled job {run.job} {run.text}", style="yellow", soft_wrap=True)
    if missed:
        invocation.stderr.print(f"hint: {here('schedule', 'show')}", style="cyan")
    return missed

"""How one job ended."""

from typing import TYPE_CHECKING

from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.schedule.reports import JobRunReport


def show(report: "JobRunReport", output: Output) -> None:
    """One line for a failure; nothing for a success, or cron would send mail about it."""
    if report.exit_code_of_command:
        how = f"exit code {report.exit_code_of_command} after {report.duration_s:.1f} s"
        output.stdout.print(f"{report.job}: {how}; see logs/schedule.log")

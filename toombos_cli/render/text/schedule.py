"""Views of `toombos schedule`: the jobs with their last and next run; the files to install; the result of a run."""

from typing import TYPE_CHECKING

from toombos_cli.base.fixes import here
from toombos_cli.base.results import Verdict
from toombos_cli.render.console import write_document
from toombos_cli.render.formats import Output
from toombos_cli.render.table import Column, print_table
from toombos_cli.render.verdicts import WORDS

if TYPE_CHECKING:
    from toombos_cli.schedule.reports import JobRow, JobRunReport, PrintedSchedule, ScheduleReport

_COLUMNS = (
    Column(name="JOB"),
    Column(name="WHEN", fold=True),
    Column(name="LAST RUN", drop=2),
    Column(name="RESULT"),
    Column(name="NEXT", drop=1),
    Column(name="COMMAND", fold=True),
)


def show(report: "ScheduleReport", output: Output) -> None:
    """Print what was changed, one line per job, and the log rotation."""
    console = output.stdout
    if report.changed:
        console.print(report.changed)
    if not report.jobs and not report.changed:
        console.print("schedule: the manifest describes no jobs")
        hint = 'add [schedule.NAME] tables to toombos.toml, or begin it with: extends = "monitoring"'
        output.stderr.print(f"hint: {hint}", style="cyan", soft_wrap=True)
        return
    console.print(f"schedule: {report.method}" if report.method else "schedule: not installed")
    rows = [
        (job.name, job.when, job.last_run_at or "-", _result(job), job.next_due_at or "-", job.command)
        for job in report.jobs
    ]
    if rows:
        print_table(console, _COLUMNS, rows)
    logs = report.rotation
    when = f"daily and at {logs.max_mb} MB" if logs.daily else f"at {logs.max_mb} MB"
    packed = ", compressed except the newest" if logs.compress else ""
    console.print(f"log rotation: by the supervisor, {when}, {logs.keep} kept{packed}")
    if not report.method and not report.changed:
        output.stderr.print(f"hint: {here('schedule', 'install')}", style="cyan")


def show_files(report: "PrintedSchedule", output: Output) -> None:
    """Print the crontab block verbatim, or the units, each below a comment with its name."""
    for name, text in report.files.items():
        several = len(report.files) > 1
        write_document(output.stdout, f"# {name}\n{text}\n" if several else text)


def show_run(report: "JobRunReport", output: Output) -> None:
    """Print one line for a failure; nothing for a success, or cron would send mail about it."""
    if report.exit_code_of_command:
        how = f"exit code {report.exit_code_of_command} after {report.duration_s:.1f} s"
        output.stdout.print(f"{report.job}: {how}; see logs/schedule.log")


def _result(job: "JobRow") -> str:
    if job.verdict is Verdict.PASS and job.exit_code is None:
        return "-"
    return f"{WORDS[job.verdict]} {job.result}".rstrip()

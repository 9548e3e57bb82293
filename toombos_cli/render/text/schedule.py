"""The jobs: when, what, the last run and the next one."""

from typing import TYPE_CHECKING

from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.schedule.reports import JobRow, ScheduleReport


def show(report: "ScheduleReport", output: Output) -> None:
    """What was changed, one line a job, and who rotates the logs."""
    from rich.table import Table

    console = output.stdout
    if report.changed:
        console.print(report.changed)
    if not report.jobs and not report.changed:
        console.print("schedule: the manifest describes no jobs")
        hint = 'add [schedule.NAME] tables to toombos.toml, or begin it with: extends = "monitoring"'
        output.stderr.print(f"hint: {hint}", style="cyan", soft_wrap=True)
        return
    console.print(f"schedule: {report.method}" if report.method else "schedule: not installed")
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("JOB", "WHEN", "LAST RUN", "RESULT", "NEXT", "COMMAND"):
        grid.add_column(name, no_wrap=True, overflow="fold")
    for job in report.jobs:
        grid.add_row(job.name, job.when, job.last_run_at or "-", _result(job), job.next_due_at or "-", job.command)
    console.print(grid)
    logs = report.rotation
    when = f"daily and at {logs.max_mb} MB" if logs.daily else f"at {logs.max_mb} MB"
    packed = ", compressed but for the newest" if logs.compress else ""
    console.print(f"log rotation: by the supervisor, {when}, {logs.keep} kept{packed}")
    if not report.method and not report.changed:
        output.stderr.print("hint: toombos schedule install", style="cyan")


def _result(job: "JobRow") -> str:
    if not job.enabled:
        return "SKIP disabled"
    if job.missed:
        return "WARN missed"
    if job.broken_off:
        return "FAIL broken off"
    if job.exit_code is None:
        return "-"
    return "OK" if job.exit_code == 0 else f"FAIL exit {job.exit_code}"

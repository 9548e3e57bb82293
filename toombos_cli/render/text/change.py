"""The view of start, stop and restart."""

from typing import TYPE_CHECKING

from toombos_cli.logs.lines import readable
from toombos_cli.render.formats import Output
from toombos_cli.render.problems import print_problems
from toombos_cli.render.text.status import notes, print_services

if TYPE_CHECKING:
    from toombos_cli.supervisor.reports import ChangeReport

_LINES_SHOWN = 10


def show(report: "ChangeReport", output: Output) -> None:
    """Print one sentence, the table, and each failure's cause and last log lines; with --quiet only the failures."""
    if not output.quiet:
        output.stdout.print(_sentence(report), soft_wrap=True)
        print_services(report.services, output)
        if not report.wants_up:
            told = {ended.service for ended in report.ended if ended.warnings}  # below, with what helps
            notes(tuple(row for row in report.services if row.name in {*report.stopped} - told), output)
    lines = {failure.service: failure.last_lines for failure in report.failures}
    for problem in report.problems:
        print_problems((problem,), output.stderr)
        for line in lines.get(problem.where or "", ())[-_LINES_SHOWN:]:
            output.stderr.print(f"  | {readable(line)}", soft_wrap=True)
    show_warnings(report, output)
    for note in report.notes:
        output.stderr.print(f"note: {note}", style="yellow", soft_wrap=True)


def show_warnings(report: "ChangeReport", output: Output) -> None:
    """Print on stderr what did not go in order when services were stopped."""
    for warning, hint in report.warnings:
        output.stderr.print(f"warning: {warning}", style="yellow", soft_wrap=True)
        output.stderr.print(f"hint: {hint}", style="cyan", soft_wrap=True)


def _sentence(report: "ChangeReport") -> str:
    if report.failures:
        running = {row.name for row in report.services if row.pid}
        undone = "not restarted" if any(f.service in running for f in report.failures) else "not started"
        if any(f.kind == "stubborn" for f in report.failures):
            undone = "not stopped"
        return f"{undone}: {', '.join(f.service for f in report.failures)}"
    if report.astray:
        return f"not {'ready' if report.wants_up else 'stopped'}: {', '.join(row.name for row in report.astray)}"
    if report.started:
        return f"started{_in_mode(report)}: {', '.join(report.started)}"
    if report.ended and not report.wants_up:
        return f"stopped: {', '.join(map(str, report.ended))}"
    if any(row.pid for row in report.services):
        return f"already running{_in_mode(report)}"
    return "nothing to start" if report.wants_up else "nothing is running"


def _in_mode(report: "ChangeReport") -> str:
    """Return the mode, if one was requested or is confirmed."""
    return f" in {report.mode_text}" if report.mode_text and (report.mode or report.dry_run) else ""

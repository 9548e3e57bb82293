"""The table of services that start, stop, restart and status show."""

import time
from typing import TYPE_CHECKING

from rich.text import Text

from toombos_cli.base.fixes import here
from toombos_cli.base.text import duration, size
from toombos_cli.logs.lines import readable
from toombos_cli.render.formats import Output
from toombos_cli.render.table import Column, print_table

if TYPE_CHECKING:
    from toombos_cli.supervisor.reports import ServiceRow, SystemReport

_STYLES = {
    "ready": "green",
    "done": "green",
    "starting": "yellow",
    "stopping": "yellow",
    "stopped": "dim",
    "unhealthy": "red",
    "failed": "red",
    "crash-loop": "bold red",
    "unsupervised": "bold yellow",
}


def show(report: "SystemReport", output: Output) -> None:
    """Print mode and table, then what needs a person's attention."""
    console = output.stdout
    console.print(headline(report), style="bold red" if report.denied_by else "")
    print_services(report.services, output)
    for row in report.services:
        if row.pid and row.restarts and row.last_end is not None and row.phase in _UP:
            console.print(_why_restarted(row), style="dim", soft_wrap=True)
    for row in report.services:
        if row.pid and row.last_log_line.strip():
            # On a terminal it is cut at the edge; elsewhere it is printed whole.
            line = f"{row.name} | {readable(row.last_log_line)}"
            console.print(line, style="dim", no_wrap=True, overflow="ellipsis", crop=True)
    notes(report.services, output)
    for warning in report.warnings:
        output.stderr.print(f"warning: {warning}", style="yellow", soft_wrap=True)
    if any(row.phase == "unsupervised" for row in report.services):
        output.stderr.print("The services run, but no supervisor watches them.", soft_wrap=True)
        output.stderr.print(f"hint: {here('start')}", style="cyan", soft_wrap=True)


def _why_restarted(row: "ServiceRow") -> str:
    """Return how often and why a service was restarted, and when last."""
    if row.last_end is None:
        return ""
    times = "once" if row.restarts == 1 else f"{row.restarts} times"
    ago = duration(max(0.0, time.time() - row.last_end.at))
    return f"{row.name}: restarted {times}, last {ago} ago: {row.last_end.text}"


def headline(report: "SystemReport") -> str:
    """Return how many services are ready, and in which mode the system runs."""
    if not report.services:
        return "there is no service"
    ready = sum(row.phase in _WELL for row in report.services)
    if not any(row.pid or row.phase not in _AT_REST for row in report.services):
        return "done" if ready == len(report.services) else "not running"
    mode = report.mode_text or "running"
    return mode if ready == len(report.services) else f"{mode}: {ready} of {len(report.services)} ready"


def print_services(rows: "tuple[ServiceRow, ...]", output: Output) -> None:
    """Print one line per service, with words beside the colours."""
    if rows:
        print_table(output.stdout, COLUMNS, map(cells, rows))


def cells(row: "ServiceRow") -> tuple[str | Text, ...]:
    """Return the text of each column for one service."""
    return (
        row.name,
        Text(_word(row), style=_STYLES.get(row.phase, "")),
        _or_dash(row.pid),
        _or_dash(row.port),
        "-" if row.ready_after_s is None else f"{row.ready_after_s:.1f} s",
        "-" if row.uptime_s is None else duration(row.uptime_s),
        str(row.restarts),
        "-" if row.cpu_percent is None else f"{row.cpu_percent:.0f} %",
        "-" if row.rss_bytes is None else size(row.rss_bytes),
        row.log,
    )


def notes(rows: "tuple[ServiceRow, ...]", output: Output) -> None:
    """Print why a service is not ready, with its last output if it failed."""
    for row in rows:
        if row.detail and row.phase != "ready":
            output.stdout.print(f"{row.name}: {row.detail}", soft_wrap=True)
        for warning in row.warnings:
            output.stdout.print(f"{row.name}: warning: {warning}", soft_wrap=True)
        if row.phase in ("failed", "crash-loop"):
            for line in row.last_lines[-5:]:
                output.stdout.print(f"  | {readable(line)}", soft_wrap=True)


_AT_REST = ("stopped", "failed", "crash-loop", "done")
_WELL = ("ready", "done")
_UP = ("ready", "unhealthy")
COLUMNS = (
    Column(name="SERVICE"),
    Column(name="PHASE"),
    Column(name="PID", right=True),
    Column(name="PORT", right=True),
    Column(name="READY", right=True, drop=2),
    Column(name="UPTIME", right=True, drop=5),
    Column(name="RESTARTS", right=True, drop=6),
    Column(name="CPU", right=True, drop=3),
    Column(name="MEMORY", right=True, drop=4),
    Column(name="LOG", drop=1),
)


def _word(row: "ServiceRow") -> str:
    return row.phase.upper() if row.phase == "unsupervised" else row.phase


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)

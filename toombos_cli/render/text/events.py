"""Text output of `toombos events`: one row per event, with its time, reason and author."""

from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from toombos_cli.render.formats import Output
from toombos_cli.render.table import Column, print_table

if TYPE_CHECKING:
    from toombos_cli.supervisor.events import EventRow, EventsReport

_STYLES = {
    "ready": "green",
    "recovered": "green",
    "unhealthy": "red",
    "failed": "red",
    "gave-up": "bold red",
    "crash-loop": "bold red",
    "killed": "red",
    "exited": "yellow",
    "restarted": "yellow",
}
_COLUMNS = (
    Column(name="TIME", lead=True),
    Column(name="SERVICE"),
    Column(name="EVENT"),
    Column(name="REASON", fold=True),
    Column(name="BY"),
    Column(name="USER", drop=2),
    Column(name="PID", right=True, drop=1),
)


def show(report: "EventsReport", output: Output) -> None:
    """Print the events, oldest first; times are local."""
    if report.events:
        print_table(output.stdout, _COLUMNS, map(_cells, report.events))
    elif not output.quiet:
        output.stderr.print("no event was found", style="yellow")
    for note in report.notes:
        output.stderr.print(f"note: {note}", style="yellow", soft_wrap=True)


def one_line_of(row: "EventRow") -> str:
    """Return an event as one line, for a list that grows."""
    words = (_local_time(row.at), row.service or "-", row.event, row.why, f"by {row.by}" if row.by else "", row.user)
    return "  ".join(filter(None, (*words, f"pid {row.pid}" if row.pid else "")))


def _local_time(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _cells(row: "EventRow") -> tuple[str | Text, ...]:
    return (
        _local_time(row.at),
        row.service or "-",
        Text(row.event, style=_STYLES.get(row.event, "")),
        row.why or "-",
        row.by or "-",
        row.user or "-",
        str(row.pid) if row.pid else "-",
    )

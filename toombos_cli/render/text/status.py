"""The table of services that start, stop, restart and status show."""

from typing import TYPE_CHECKING

from toombos_cli.base.text import duration, size
from toombos_cli.logs.lines import readable
from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from rich.table import Table

    from toombos_cli.supervisor.reports import ServiceRow, SystemReport

_STYLES = {
    "ready": "green",
    "starting": "yellow",
    "stopping": "yellow",
    "stopped": "dim",
    "unhealthy": "red",
    "failed": "red",
    "crash-loop": "bold red",
    "unsupervised": "bold yellow",
}


def show(report: "SystemReport", output: Output) -> None:
    """Prints mode and table, then what needs a person's attention."""
    console = output.stdout
    running = any(row.pid for row in report.services)
    console.print(report.mode_text if running else "not running", style="bold red" if report.denied_by else "")
    console.print(table(report.services, console.width))
    for row in report.services:
        if row.pid and row.last_log_line.strip():
            # On a terminal it is cut at the edge; elsewhere there is no edge.
            line = f"{row.name} | {readable(row.last_log_line)}"
            console.print(line, style="dim", no_wrap=True, overflow="ellipsis", crop=True)
    notes(report.services, output)
    for warning in report.warnings:
        output.stderr.print(f"warning: {warning}", style="yellow", soft_wrap=True)
    if any(row.phase == "unsupervised" for row in report.services):
        output.stderr.print("The services run, but no supervisor watches them.", soft_wrap=True)
        output.stderr.print("hint: toombos start", style="cyan", soft_wrap=True)


def table(rows: "tuple[ServiceRow, ...]", width: int) -> "Table":
    """One line a service; words beside the colours. Below 100 columns without start-up time and log."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    columns = [column for column in _COLUMNS if width >= _WIDE or column[0] not in _ONLY_WHERE_WIDE]
    for name, right in columns:
        grid.add_column(name, justify="right" if right else "left", no_wrap=True, overflow="fold")
    for row in rows:
        cells: dict[str, str | Text] = {
            "SERVICE": row.name,
            "PHASE": Text(_word(row), style=_STYLES.get(row.phase, "")),
            "PID": _or_dash(row.pid),
            "PORT": _or_dash(row.port),
            "READY": "-" if row.ready_after_s is None else f"{row.ready_after_s:.1f} s",
            "UPTIME": "-" if row.uptime_s is None else duration(row.uptime_s),
            "RESTARTS": str(row.restarts),
            "CPU": "-" if row.cpu_percent is None else f"{row.cpu_percent:.0f} %",
            "MEMORY": "-" if row.rss_bytes is None else size(row.rss_bytes),
            "LOG": row.log,
        }
        grid.add_row(*(cells[name] for name, _ in columns))
    return grid


def notes(rows: "tuple[ServiceRow, ...]", output: Output) -> None:
    """Why a service is not simply ready, with its last output where it failed."""
    for row in rows:
        if row.detail and row.phase != "ready":
            output.stdout.print(f"{row.name}: {row.detail}", soft_wrap=True)
        for warning in row.warnings:
            output.stdout.print(f"{row.name}: warning: {warning}", soft_wrap=True)
        if row.phase in ("failed", "crash-loop"):
            for line in row.last_lines[-5:]:
                output.stdout.print(f"  | {readable(line)}", soft_wrap=True)


_WIDE = 100
_ONLY_WHERE_WIDE = ("READY", "LOG")
_COLUMNS = (
    ("SERVICE", False),
    ("PHASE", False),
    ("PID", True),
    ("PORT", True),
    ("READY", True),
    ("UPTIME", True),
    ("RESTARTS", True),
    ("CPU", True),
    ("MEMORY", True),
    ("LOG", False),
)


def _word(row: "ServiceRow") -> str:
    return row.phase.upper() if row.phase == "unsupervised" else row.phase


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)

"""What the screen says about one service: phase, health, open ports, history, environment."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text
from textual.message import Message

from toombos_cli import processes
from toombos_cli.base.addresses import host_port
from toombos_cli.base.errors import ToombosError
from toombos_cli.config.show import run_show
from toombos_cli.health.check import run_health
from toombos_cli.project.mode import mode_now
from toombos_cli.project.own_processes import leaders
from toombos_cli.project.state import read_state
from toombos_cli.render.presentable import presentable
from toombos_cli.render.text.events import one_line_of
from toombos_cli.render.text.status import COLUMNS, cells
from toombos_cli.render.verdicts import word
from toombos_cli.supervisor.events import run_events
from toombos_cli.ui.background import Background
from toombos_cli.ui.readers import WatchedSystem, explained

if TYPE_CHECKING:
    from toombos_cli.health.report import HealthReport
    from toombos_cli.supervisor.reports import ServiceRow

_EVERY_S = 5.0
_EVENTS = 10


class DetailsRead(Message):
    """Parts of the details, in their order: title and lines."""

    def __init__(self, source: Background, parts: dict[str, list[Text]]) -> None:
        super().__init__()
        self.source, self.parts = source, parts


def read_details(watched: WatchedSystem, service: str, thread: Background) -> None:
    """Post the details of the service, of the whole system if it is "", every few seconds.

    Its health, which a slow service delays, is asked for after the rest was shown.
    """
    names = (service,) if service else ()
    findings = [Text("asking ...", style="dim")]
    while not thread.closed:
        parts = {
            "Findings of health": findings,
            "Open ports": _lines(watched, lambda: _ports(watched, names)),
            "History": _lines(watched, lambda: _history(watched, names)),
            "Environment": _lines(watched, lambda: _environment(watched, service)),
        }
        thread.post(DetailsRead(thread, parts))
        if not thread.closed:
            findings = _lines(watched, lambda: _findings(watched, names))
            thread.post(DetailsRead(thread, parts | {"Findings of health": findings}))
        thread.pause(_EVERY_S)


def details_of(row: "ServiceRow | None") -> list[Text]:
    """Return what the status says about a service, or nothing about the whole system."""
    if row is None:
        return []
    values = dict(zip((column.name for column in COLUMNS), cells(row), strict=True))
    named = ("PHASE", "PID", "PORT", "READY", "UPTIME", "RESTARTS")
    lines = [Text("  ").join(Text.assemble((f"{name.lower()} ", "dim"), values[name]) for name in named)]
    lines.append(Text.assemble(("log ", "dim"), row.log))
    lines += [Text(text) for text in (row.detail, *row.warnings) if text]
    if row.last_end is not None:
        ended = datetime.fromtimestamp(row.last_end.at).astimezone()
        lines.append(Text(f"last end: {ended:%Y-%m-%d %H:%M:%S} {row.last_end.text}"))
    return lines + [Text(f"| {line}", style="dim") for line in row.last_lines]


def _lines(watched: WatchedSystem, read: Callable[[], list[Text]]) -> list[Text]:
    """Return the lines, or why they cannot be read; "-" stands for none."""
    try:
        return read() or [Text("-", style="dim")]
    except (ToombosError, OSError) as error:
        return [Text(explained(error, watched.fresh_invocation().redactor), style="red")]


def _findings(watched: WatchedSystem, names: tuple[str, ...]) -> list[Text]:
    if watched.manifest is None:
        return []
    begun = time.monotonic()
    report: HealthReport = presentable(watched.fresh_invocation().redacted(run_health(watched.manifest, names)))
    took = Text(f"{report.checked_at.astimezone():%H:%M:%S}, after {time.monotonic() - begun:.1f} s", style="dim")
    lines = [took]
    for found in report.services:
        latency = "" if found.latency_ms is None else f" {found.latency_ms:.0f} ms"
        lines.append(Text.assemble(word(found.verdict), f" {found.name} {found.reason}{latency}"))
        lines += [Text(f"      {text}") for text in (found.detail, found.note) if text]
        if found.fix:
            lines.append(Text(f"      {found.fix}", style="cyan"))
    return lines + [Text(f"{skipped.name}: {skipped.detail}", style="dim") for skipped in report.skipped]


def _ports(watched: WatchedSystem, names: tuple[str, ...]) -> list[Text]:
    """Return the sockets on which the processes of the services listen."""
    project = watched.invocation.project
    state = read_state(project)
    roots = leaders(project, state) if state else {}
    table = processes.process_table()
    lines = []
    for name in names or roots:
        pids = processes.descendants([roots[name]], table) if name in roots else set()
        heard = [one for one in processes.listeners(pids=pids) if one.pid in pids] if pids else []
        places = {(one.port, host_port(one.host, one.port), one.pid) for one in heard}
        lines += [Text(f"{place}  pid {pid}  {name}") for _, place, pid in sorted(places)]
    return lines


def _history(watched: WatchedSystem, names: tuple[str, ...]) -> list[Text]:
    report = run_events(watched.invocation.project, names, count=_EVENTS)
    report = presentable(watched.fresh_invocation().redacted(report))
    return [Text(one_line_of(row)) for row in reversed(report.events)] + [Text(note) for note in report.notes]


def _environment(watched: WatchedSystem, service: str) -> list[Text]:
    """Return what `config show` has: each variable, masked if it may be a secret, and what sets it."""
    invocation = watched.fresh_invocation()
    manifest = invocation.manifest
    report = run_show(manifest, service=service if service in manifest.services else None, mode=mode_now(manifest))
    report = presentable(invocation.redacted(report))
    return [
        Text.assemble(value.name, "=", value.value, (f"  {value.source}", "dim"))
        for value in report.values
        if value.value is not None
    ]

"""The view of `toombos health`: one line per service, with cause and fix below it if something is wrong."""

from typing import TYPE_CHECKING

from toombos_cli.base.results import Verdict
from toombos_cli.render.formats import Output
from toombos_cli.render.sparkline import sparkline
from toombos_cli.render.verdicts import WORD_WIDTH, print_verdict

if TYPE_CHECKING:
    from rich.console import Console

    from toombos_cli.health.report import HealthReport, ServiceHealth

_LATENCY_WIDTH, _PID_WIDTH = 8, 11
_History = tuple[float | None, ...]
_INDENT = "      "


def show(report: "HealthReport", output: Output) -> None:
    """Print the services, then a summary; with --quiet only what is wrong."""
    console = output.stdout
    services = report.services
    widths = max((len(s.name) for s in services), default=0), max((len(s.reason) for s in services), default=0)
    last_with = {service.fix: service.name for service in report.services}
    if not services:
        print_verdict(console, report.verdict, "there is no service to check")
    for service in services:
        if output.quiet and service.verdict is Verdict.PASS:
            continue
        _row(console, service, widths, report.history.get(service.name, ()), verbose=output.verbose)
        if service.fix and last_with[service.fix] == service.name:  # services that share a fix show it once
            console.print(f"{_INDENT}{service.fix}", style="cyan", soft_wrap=True)
    if output.quiet:
        return
    if report.skipped:
        names = ", ".join(skipped.name for skipped in report.skipped)
        print_verdict(console, Verdict.SKIP, f"{names}: {report.skipped[0].detail}")
    console.print(_summary(report))


def _row(
    console: "Console", service: "ServiceHealth", widths: tuple[int, int], history: _History, *, verbose: bool
) -> None:
    latency = "" if service.latency_ms is None else f"{service.latency_ms:.0f} ms"
    name_width, reason_width = widths
    cells = f"{service.name:{name_width}}  {service.reason:{reason_width}}  {latency:>{_LATENCY_WIDTH}}"
    room = console.width - WORD_WIDTH - 1 - len(cells)
    if room >= _PID_WIDTH + 2:
        cells += f"  {f'pid {service.pid}' if service.pid else '':{_PID_WIDTH}}"
        room -= _PID_WIDTH + 2
    if len(history) > 1 and room >= 10:
        cells += "  " + sparkline(history, width=min(room - 2, 60), encoding=console.encoding)
    elif room >= len(service.url) + 2:
        cells += f"  {service.url}"
    print_verdict(console, service.verdict, cells.rstrip())
    if verbose and service.url:
        asked = "connect" if service.url.startswith("tcp:") else "GET"
        status = f"HTTP {service.http_status}" if service.http_status else "no response"
        if asked == "connect" and service.latency_ms is not None:
            status = "accepted"
        places = f"from {service.address or 'nowhere'}, listener on {service.listens_on or 'no address'}"
        console.print(f"{_INDENT}{asked} {service.url}: {status} {places}", style="dim", soft_wrap=True)
    if service.detail:
        console.print(f"{_INDENT}{service.detail}", soft_wrap=True)
    if service.explained_by:
        console.print(f"{_INDENT}probably because {service.explained_by} is not well", soft_wrap=True)


def _summary(report: "HealthReport") -> str:
    words = ["not judged" if s.verdict is Verdict.ERROR else s.status.value for s in report.services]
    counts = {word: words.count(word) for word in ("up", "degraded", "down", "not judged")}
    parts = [f"{count} {word}" for word, count in counts.items() if count or word == "up"]
    if report.skipped:
        parts.append(f"{len(report.skipped)} skipped")
    mode = f"; {report.mode_text}" if report.mode or report.dry_run else ""
    return ", ".join(parts) + mode

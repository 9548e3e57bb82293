"""The view of `toombos health`: a table with a row per service, then the cause and fix of each problem."""

from collections import Counter
from typing import TYPE_CHECKING

from toombos_cli.base.results import Verdict
from toombos_cli.render.formats import Output
from toombos_cli.render.sparkline import sparkline
from toombos_cli.render.table import Cell, Column, print_table, room_beside
from toombos_cli.render.verdicts import VERDICT, print_verdict, word

if TYPE_CHECKING:
    from rich.console import Console

    from toombos_cli.health.places import PlacesHealthReport
    from toombos_cli.health.report import HealthReport, ServiceHealth

_COLUMNS = (
    VERDICT,
    Column(name="SERVICE"),
    Column(name="REASON"),
    Column(name="LATENCY", right=True, drop=3),
    Column(name="PID", right=True, drop=2),
)
_URL = Column(name="URL", drop=1)
_PLACES = (VERDICT, Column(name="PLACE"), *_COLUMNS[1:4], _URL)
_HISTORY_WIDTH = range(10, 61)
_STATES = {Verdict.PASS: "up", Verdict.WARN: "degraded", Verdict.FAIL: "down", Verdict.ERROR: "not judged"}
_INDENT = "      "


def show(report: "HealthReport", output: Output) -> None:
    """Print the services, what is wrong with them, and a summary; with --quiet only what is wrong."""
    console = output.stdout
    shown = [s for s in report.services if not output.quiet or s.verdict is not Verdict.PASS]
    if not report.services:
        print_verdict(console, report.verdict, "there is no service to check")
    if shown:
        _table(shown, report, console)
    last_with = {service.fix: service.name for service in report.services}
    for service in shown:
        _explain(console, service, verbose=output.verbose)
        if service.fix and last_with[service.fix] == service.name:  # services that share a fix show it once
            console.print(f"{_INDENT}{service.fix}", style="cyan", soft_wrap=True)
    if output.quiet:
        return
    for detail in dict.fromkeys(skipped.detail for skipped in report.skipped):
        names = ", ".join(skipped.name for skipped in report.skipped if skipped.detail == detail)
        print_verdict(console, Verdict.SKIP, f"{names}: {detail}")
    console.print(f"{report.place}: {_summary(report)}" if report.place else _summary(report), soft_wrap=True)


def show_places(report: "PlacesHealthReport", output: Output) -> None:
    """Print the services of every place in one table, then what is wrong with them, and a line per place."""
    console = output.stdout
    shown = [(p, s) for p in report.places for s in p.services if not output.quiet or s.verdict is not Verdict.PASS]
    if shown:
        rows = [[word(s.verdict), place.place, *_cells(s)[1:4], s.url or "-"] for place, s in shown]
        print_table(console, _PLACES, rows)
    for place, service in shown:
        if service.detail:
            console.print(f"{place.place}: {service.name}: {service.detail}", soft_wrap=True)
    if output.quiet:
        return
    for place in report.places:
        console.print(f"{place.place}: {_summary(place)}", soft_wrap=True)


def _table(services: "list[ServiceHealth]", report: "HealthReport", console: "Console") -> None:
    """Print the table, with the history of latencies in place of the URLs if there is one that fits."""
    rows: list[list[Cell]] = [_cells(service) for service in services]
    room = min(room_beside(console, _COLUMNS, rows), _HISTORY_WIDTH[-1])
    if room in _HISTORY_WIDTH and any(len(one) > 1 for one in report.history.values()):
        last = Column(name="HISTORY")
        cells = [sparkline(report.history.get(s.name, ()), width=room, encoding=console.encoding) for s in services]
    else:
        last, cells = _URL, [service.url or "-" for service in services]
    print_table(console, (*_COLUMNS, last), [[*row, cell] for row, cell in zip(rows, cells, strict=True)])


def _cells(service: "ServiceHealth") -> list[Cell]:
    latency = "-" if service.latency_ms is None else f"{service.latency_ms:.0f} ms"
    return [word(service.verdict), service.name, service.reason, latency, str(service.pid or "-")]


def _explain(console: "Console", service: "ServiceHealth", *, verbose: bool) -> None:
    """Print the details of one service, each on a line that begins with its name."""
    if verbose and service.url:
        asked = "connect" if service.url.startswith("tcp:") else "GET"
        status = f"HTTP {service.http_status}" if service.http_status else "no response"
        if asked == "connect" and service.latency_ms is not None:
            status = "accepted"
        places = f"from {service.address or 'nowhere'}, listener on {service.listens_on or 'no address'}"
        console.print(f"{service.name}: {asked} {service.url}: {status} {places}", style="dim", soft_wrap=True)
    if verbose and service.note:
        console.print(f"{service.name}: {service.note}", style="dim", soft_wrap=True)
    if service.detail:
        console.print(f"{service.name}: {service.detail}", soft_wrap=True)
    if service.explained_by:
        console.print(f"{service.name}: probably because {service.explained_by} is not well", soft_wrap=True)


def _summary(report: "HealthReport") -> str:
    """Return how many services are in each state, in words that agree with the verdicts above."""
    counts = Counter(s.status if s.status in ("starting", "done") else _STATES[s.verdict] for s in report.services)
    words = ("up", "done", "starting", "degraded", "down", "not judged")
    parts = [f"{counts[word]} {word}" for word in words if counts[word] or word == "up"]
    if report.skipped:
        parts.append(f"{len(report.skipped)} skipped")
    mode = f"; {report.mode_text}" if report.mode or report.dry_run else ""
    return ", ".join(parts) + mode

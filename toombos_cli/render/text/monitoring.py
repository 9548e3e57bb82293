"""Views of `toombos monitoring`: up, down, restart, status, check and reload."""

from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from toombos_cli.base.results import WORST_FIRST, Verdict
from toombos_cli.render.formats import Output
from toombos_cli.render.problems import print_problems
from toombos_cli.render.table import Column, print_table
from toombos_cli.render.verdicts import VERDICT, WORDS, print_verdict, word

if TYPE_CHECKING:
    from toombos_cli.monitoring.reports import CheckItem, MonitoringCheckReport, MonitoringReport, ReloadReport

_STYLES = {"up": "green", "down": "red", "missing": "yellow"}
_COLUMNS = (
    Column(name="NAME"),
    Column(name="STATE"),
    Column(name="PID", right=True),
    Column(name="URL"),
    Column(name="DETAIL", fold=True),
)


def show(report: "MonitoringReport", output: Output) -> None:
    """Print how it runs, one line per service, then what is missing and how to get it."""
    console = output.stdout
    if not report.services:
        console.print("monitoring: the manifest describes none")
        output.stderr.print('hint: begin toombos.toml with: extends = "monitoring"', style="cyan", soft_wrap=True)
        return
    console.print(f"monitoring: {report.backend}" + (f" ({report.reason})" if report.reason else ""))
    styles = _STYLES if report.wanted else {}
    rows = [
        (row.name, Text(row.state, styles.get(row.state, "")), str(row.pid or "-"), row.url, row.detail)
        for row in report.services
    ]
    print_table(console, _COLUMNS, rows)
    if report.changed_files:
        console.print(f"configuration written: {len(report.changed_files)} files")
    if report.password_file and report.wanted:
        console.print(f"Grafana: user admin, password in {report.password_file}", soft_wrap=True)
    print_problems(report.problems, output.stderr)
    if report.wanted:
        told = bool(report.problems)  # they have their own hints, and explain why services are down
        hints = (row.hint for row in report.services if row.hint and not (told and row.state == "down"))
        for hint in dict.fromkeys(hints):
            output.stderr.print(f"hint: {hint}", style="cyan", soft_wrap=True)


def show_check(report: "MonitoringCheckReport", output: Output) -> None:
    """Print a table of the problems, the worst first, and the passed items of each group; then hints and counts."""
    console = output.stdout
    if not report.items:
        print_verdict(console, report.verdict, "there is nothing to check: the manifest describes no monitoring")
        output.stderr.print('hint: begin toombos.toml with: extends = "monitoring"', style="cyan", soft_wrap=True)
        return
    unwell = [item for item in report.items if item.verdict is not Verdict.PASS]
    shown = unwell if output.verbose else [item for item in unwell if item.explained_by is None]
    shown = sorted(shown, key=lambda item: WORST_FIRST.index(item.verdict))
    lines = [[item] for item in shown] if output.verbose else _alike(shown)
    rows = [(word(line[0].verdict), line[0].group, _names(line), line[0].detail) for line in lines]
    passed = Counter(item.group for item in report.items if item.verdict is Verdict.PASS)
    rows += [(word(Verdict.PASS), group, str(count), "") for group, count in passed.items()]
    print_table(console, _CHECKED, rows)
    for hint in dict.fromkeys(line[0].hint for line in lines if line[0].hint):
        console.print(f"hint: {hint}", style="cyan", soft_wrap=True)
    if len(shown) < len(unwell):
        console.print(f"{len(unwell) - len(shown)} more follow from that (--verbose lists them)")
    counts = Counter(item.verdict for item in report.items)
    console.print(", ".join(f"{counts[verdict]} {WORDS[verdict]}" for verdict in WORST_FIRST if counts[verdict]))


_CHECKED = (VERDICT, Column(name="GROUP"), Column(name="ITEM", fold=True), Column(name="DETAIL", fold=True))


def _names(alike: "list[CheckItem]") -> str:
    return f"{alike[0].name}, and {len(alike) - 1} more" if len(alike) > 1 else alike[0].name


def show_reload(report: "ReloadReport", output: Output) -> None:
    """Print one line for the programs, and one for each changed file."""
    output.stdout.print(f"reloaded: {', '.join(report.reloaded)}")
    for path in report.changed_files:
        output.stdout.print(f"changed: {path}", soft_wrap=True)
    if not report.changed_files:
        output.stdout.print("the configuration was already up to date")


def _alike(items: "list[CheckItem]") -> "list[list[CheckItem]]":
    """Group items that differ only in name, at the position of the first."""
    lines: dict[tuple[object, ...], list[CheckItem]] = {}
    for item in items:
        lines.setdefault((item.group, item.verdict, item.detail, item.hint), []).append(item)
    return list(lines.values())

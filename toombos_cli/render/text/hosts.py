"""The view of a command that ran on several hosts: what they said in one table, then a row for each host."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from toombos_cli.base.results import WRONG, Verdict
from toombos_cli.base.text import duration, size
from toombos_cli.hosts.answers import (
    Answer,
    RemoteBackup,
    RemoteDiagnosis,
    RemoteHealth,
    RemoteLogs,
    RemoteStatus,
)
from toombos_cli.render.formats import Output
from toombos_cli.render.table import Cell, Column, print_table
from toombos_cli.render.verdicts import VERDICT, word

if TYPE_CHECKING:
    from rich.console import Console

    from toombos_cli.hosts.report import HostAnswer, HostsReport

_HOST = Column(name="HOST")
Rows = Sequence[Sequence[Cell]]


def show(report: "HostsReport", output: Output) -> None:
    """Print what the hosts said, then the verdict of each; with --quiet only the hosts that are not well."""
    console = output.stdout
    hosts = [host for host in report.hosts if not output.quiet or host.verdict is not Verdict.PASS]
    said = {host.host: report.said[host.host] for host in hosts if host.host in report.said}
    for kind in dict.fromkeys(map(type, said.values())):  # one: all hosts ran the same command
        rows = [(name, *row) for name, answer in said.items() if type(answer) is kind for row in _rows(answer)]
        if rows:
            print_table(console, (_HOST, *_COLUMNS[kind]), rows)
            console.print()
    if hosts:
        cells = [(word(host.verdict), host.host, str(host.state), f"{host.took_s:.1f} s") for host in hosts]
        print_table(console, (VERDICT, _HOST, Column(name="STATE"), Column(name="TOOK", right=True)), cells)
    for host in hosts:
        _explain(console, host)


def _explain(console: "Console", host: "HostAnswer") -> None:
    if host.detail:
        console.print(f"{host.host}: {host.detail}", soft_wrap=True)
    if host.bundle:
        console.print(f"{host.host}: the bundle is {host.bundle}", soft_wrap=True)
    if host.fix is not None:
        console.print(f"      {host.fix}", style="cyan", soft_wrap=True)


def _rows(answer: Answer) -> Rows:
    match answer:
        case RemoteStatus(services=services):
            return [
                (s.name, s.phase, _or_dash(s.pid), _or_dash(s.port), _or_dash(s.uptime_s, duration), str(s.restarts))
                for s in services
            ]
        case RemoteHealth(services=judged):
            return [
                (word(s.verdict), s.name, s.reason, _or_dash(s.latency_ms, "{:.0f} ms".format), s.detail or "-")
                for s in judged
            ]
        case RemoteLogs(lines=lines):
            return [(line.service, line.line) for line in lines]
        case RemoteDiagnosis(findings=findings):
            roots = (f for f in findings if f.verdict in (*WRONG, Verdict.WARN) and not f.explained_by)
            return [(word(f.verdict), f.id, f.service or "-", f.reason) for f in roots]
        case RemoteBackup() as made:
            good = "yes" if made.known_good else "no"
            return [(made.archive or "-", size(made.size_bytes), str(made.files), good)]


def _or_dash(value: float | None, shown: Callable[[float], str] = str) -> str:
    return "-" if value is None else shown(value)


_COLUMNS: Mapping[type[Answer], tuple[Column, ...]] = {
    RemoteStatus: (
        Column(name="SERVICE"),
        Column(name="PHASE"),
        Column(name="PID", right=True, drop=2),
        Column(name="PORT", right=True, drop=1),
        Column(name="UPTIME", right=True),
        Column(name="RESTARTS", right=True, drop=3),
    ),
    RemoteHealth: (
        VERDICT,
        Column(name="SERVICE"),
        Column(name="REASON"),
        Column(name="LATENCY", right=True, drop=1),
        Column(name="DETAIL", fold=True),
    ),
    RemoteLogs: (Column(name="SERVICE"), Column(name="LINE", fold=True)),
    RemoteDiagnosis: (VERDICT, Column(name="CHECK"), Column(name="SERVICE"), Column(name="REASON", fold=True)),
    RemoteBackup: (
        Column(name="ARCHIVE"),
        Column(name="SIZE", right=True),
        Column(name="FILES", right=True),
        Column(name="GOOD"),
    ),
}
"""The columns of each command that runs on hosts, beside the host."""

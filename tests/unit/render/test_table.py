"""Tables on terminals of any width: nothing that a person types or reads as a number is ever cut."""

import io
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from toombos_cli.alerts.reports import AlertStatusReport, OpenIncident
from toombos_cli.backup.maintenance_reports import (
    ArchiveRow,
    ListReport,
    PruneDecision,
    PruneReport,
    VerifiedArchive,
    VerifyReport,
)
from toombos_cli.base.results import Verdict
from toombos_cli.config.reports import TrustReport
from toombos_cli.health.report import HealthReport, ServiceHealth, ServiceStatus
from toombos_cli.monitoring.reports import MonitoringReport, MonitoringRow
from toombos_cli.probes import Reason
from toombos_cli.project.state import Phase
from toombos_cli.render.table import Column, print_table
from toombos_cli.render.text import alerts, archives, config, health, monitoring, schedule, smoke, status
from toombos_cli.schedule.reports import JobRow, RotationRow, ScheduleReport
from toombos_cli.smoke.report import SmokeReport, StepResult
from toombos_cli.supervisor.reports import ServiceRow, SupervisorRow, SystemReport

WIDTHS = (40, 55, 80, 120)
LONG = "a-rather-long-service-name-for-billing"


def service(name: str, pid: int, port: int) -> ServiceRow:
    return ServiceRow(
        name=name,
        kind="service",
        phase=Phase.UNSUPERVISED,
        pid=pid,
        port=port,
        ready_after_s=12.5,
        restarts=123,
        cpu_percent=101.0,
        rss_bytes=123_000_000,
        uptime_s=99_999.0,
        log=f"logs/{name}.log",
        detail="",
        failure_kind=None,
        last_end=None,
        restart_history=(),
        warnings=(),
        last_lines=(),
        last_log_line="",
    )


def system(*rows: ServiceRow) -> SystemReport:
    return SystemReport(services=rows, dry_run=False, supervisor=SupervisorRow(pid=1, alive=True))


def job(name: str, when: str, command: str) -> JobRow:
    return JobRow(
        name=name,
        title="",
        when=when,
        command=command,
        enabled=True,
        last_run_at="2026-11-28T14:05:00+00:00",
        exit_code=17,
        next_due_at="2026-11-29T02:00:00+00:00",
        missed=False,
    )


def archive(name: str) -> ArchiveRow:
    return ArchiveRow(
        path=f"/backups/{name}",
        created_at="2026-11-28T14:05:00+00:00",
        size_bytes=123_456_789,
        files=12_345,
        data_bytes=1,
        kind="emergency",
        verified=True,
        known_good=True,
        pinned=True,
        encrypted=False,
        problem="",
    )


ROTATION = RotationRow(daily=True, max_mb=50, keep=30, compress=True)
ARCHIVES = [f"toombos-20261128T1{minute:02}656Z-7d5{minute}.tar.zst" for minute in range(3)]
REFUSED = "refused " * 9
URLS = [f"http://127.0.0.1:{port}/-/ready" for port in (9090, 9093)]

Case = tuple[Callable[..., None], Any, list[str]]
VIEWS: dict[str, Case] = {
    "status, ordinary names": (
        status.show,
        system(service("crm", 10884, 8001), service("platform", 10885, 8002), service("generator", 10886, 8000)),
        ["crm", "platform", "generator", "10884", "10885", "10886", "8000", "8001", "8002", "UNSUPERVISED"],
    ),
    "status, a long name": (
        status.show,
        system(service(LONG, 4194304, 65535)),
        [LONG, "4194304", "65535", "UNSUPERVISED"],
    ),
    "schedule show": (
        schedule.show,
        ScheduleReport(
            method="cron",
            jobs=(job("restore-drill", "Sundays 04:00", "toombos backup drill"), job("health", "every 5 minutes", "x")),
            rotation=ROTATION,
        ),
        ["restore-drill", "health", "WARN exit 17"],
    ),
    "monitoring status": (
        monitoring.show,
        MonitoringReport(
            backend="native",
            reason="",
            services=tuple(
                MonitoringRow(
                    name=f"alertmanager-{n}", state="missing", url=url, pid=4194300 + n, detail="refused " * 9
                )
                for n, url in enumerate(URLS)
            ),
        ),
        ["alertmanager-0", "alertmanager-1", "4194300", "4194301", "missing", *URLS],
    ),
    "backup list": (
        archives.show_list,
        ListReport(directory="/backups", archives=tuple(map(archive, ARCHIVES))),
        [*ARCHIVES, "118 MiB", "12345", "emergency"],
    ),
}


def step(name: str, verdict: Verdict) -> StepResult:
    return StepResult(
        name=name, service=LONG, verdict=verdict, duration_ms=98765.4, request="GET /x", expected="200", got="503"
    )


def checked(name: str, verdict: Verdict, status: ServiceStatus) -> ServiceHealth:
    return ServiceHealth(
        name=name,
        url=f"http://127.0.0.1:65535/{name}",
        status=status,
        verdict=verdict,
        reason=Reason.WRONG_OWNER,
        latency_ms=98765.4,
        pid=4194304,
        detail=("refused " * 9).rstrip(),
    )


def health_of(*services: ServiceHealth) -> HealthReport:
    return HealthReport(services=services, checked_at=datetime.now(UTC))


VIEWS |= {
    "health, a long name": (
        health.show,
        health_of(checked(LONG, Verdict.FAIL, ServiceStatus.DOWN), checked("crm", Verdict.PASS, ServiceStatus.UP)),
        [LONG, "crm", "FAIL", "PASS", "wrong-owner"],
    ),
    "smoke, a long name": (
        smoke.show,
        SmokeReport(steps=(step(f"order-{LONG}", Verdict.FAIL), step("pay", Verdict.PASS)), duration_s=1.0),
        [f"order-{LONG}", "pay", "FAIL", "PASS"],
    ),
    "backup verify": (
        archives.show_verify,
        VerifyReport(
            archives=tuple(
                VerifiedArchive(
                    path=f"/a/long/way/to/the/backups/{name}",
                    verdict=Verdict.FAIL,
                    files=12345,
                    complete=True,
                    detail="its end is missing " * 4,
                    databases=(),
                    duration_s=1.0,
                )
                for name in ARCHIVES
            )
        ),
        [*(f"/a/long/way/to/the/backups/{name}" for name in ARCHIVES), "FAIL"],
    ),
    "backup prune": (
        archives.show_prune,
        PruneReport(
            decisions=tuple(PruneDecision(path=f"/backups/{n}", keep=True, reason="the newest " * 5) for n in ARCHIVES),
            preview=True,
            removed_bytes=0,
            trash="",
            emptied=(),
        ),
        [*ARCHIVES, "keep"],
    ),
    "alert status": (
        alerts.show_status,
        AlertStatusReport(
            incidents=(
                OpenIncident(
                    key="k",
                    severity="critical",
                    title=f"{LONG} is down",
                    first_at=1.0,
                    last_at=2.0,
                    told_at=None,
                    untaken_at=None,
                    count=12345,
                ),
            ),
            withheld=0,
            waiting=0,
            deliveries={},
        ),
        [LONG, "critical"],
    ),
    "config trust, a path longer than the terminal": (
        config.show_trust,
        TrustReport(path=Path("/home/me/trusted"), directories=(f"/srv/{LONG}/{LONG}/{LONG}/{LONG}",), directory=None),
        [f"/srv/{LONG}/{LONG}/{LONG}/{LONG}"],
    ),
}


def shown(view: Callable[..., None], report: Any, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False)
    stderr = Console(file=io.StringIO(), width=width)
    view(report, SimpleNamespace(stdout=console, stderr=stderr, verbose=False, quiet=False))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("view", "report", "whole"), VIEWS.values(), ids=VIEWS)
def test_every_identifier_is_whole(view: Callable[..., None], report: Any, whole: list[str], width: int) -> None:
    text = shown(view, report, width)
    for word in whole:
        assert re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text), f"{word} is not whole at {width}:\n{text}"


def piped(view: Callable[..., None], report: Any) -> list[str]:
    return shown(view, report, 100_000).splitlines()


@pytest.mark.parametrize(("view", "report", "whole"), VIEWS.values(), ids=VIEWS)
def test_a_pipe_gets_a_head_and_a_line_for_each_row(view: Callable[..., None], report: Any, whole: list[str]) -> None:
    found = piped(view, report)
    head = next(n for n, line in enumerate(found) if re.fullmatch(r"[A-Z][A-Z ()]+", line))
    assert any(whole[0] in line for line in found[head + 1 :])
    assert not found[head + 1].endswith(" "), "wider than needed"


@pytest.mark.parametrize(
    ("verdict", "status", "summary"),
    [
        (Verdict.PASS, ServiceStatus.UP, "1 up"),
        (Verdict.WARN, ServiceStatus.DEGRADED, "0 up, 1 degraded"),
        (Verdict.FAIL, ServiceStatus.DEGRADED, "0 up, 1 down"),
        (Verdict.FAIL, ServiceStatus.DOWN, "0 up, 1 down"),
        (Verdict.ERROR, ServiceStatus.DOWN, "0 up, 1 not judged"),
    ],
)
def test_the_summary_of_a_health_check_agrees_with_its_verdicts(
    verdict: Verdict, status: ServiceStatus, summary: str
) -> None:
    assert piped(health.show, health_of(checked("crm", verdict, status)))[-1] == summary


def test_a_block_is_headed_by_verdict_and_name() -> None:
    columns = (Column(name="VERDICT", lead=True), Column(name="NAME"), Column(name="PID", right=True))
    console = Console(file=io.StringIO(), width=12)
    print_table(console, columns, [("FAIL", "billing", "27655")])
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "FAIL  billing\n  PID  27655\n"


COLUMNS = (
    Column(name="NAME"),
    Column(name="PID", right=True),
    Column(name="LOG", drop=1),
    Column(name="NOTE", fold=True),
)
ROW = ("billing", "27655", "logs/billing.log", "it is late and it is dark and it rains")


def lines(width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    print_table(console, COLUMNS, [ROW])
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_what_fits_stands_on_one_line() -> None:
    assert lines(120) == [
        "NAME       PID  LOG               NOTE",
        "billing  27655  logs/billing.log  it is late and it is dark and it rains",
    ]


def test_free_text_is_folded_before_a_column_goes() -> None:
    assert lines(50)[0].split() == ["NAME", "PID", "LOG", "NOTE"]
    assert len(lines(50)) > 2


def test_a_column_that_may_go_goes_before_anything_is_cut() -> None:
    assert lines(40)[0].split() == ["NAME", "PID", "NOTE"]


def test_what_does_not_fit_at_all_becomes_a_block_of_lines() -> None:
    assert lines(20) == ["billing", "  PID   27655", f"  NOTE  {ROW[3]}"]


JOBS = (
    Column(name="JOB"),
    Column(name="WHEN", fold=True),
    Column(name="LAST RUN", drop=2),
    Column(name="RESULT"),
    Column(name="NEXT", drop=1),
    Column(name="COMMAND", fold=True),
)
JOB = ("health", "every 5 minutes", "2026-11-29 10:00", "ok", "2026-11-29 10:05", "toombos health --on-fail ./page.sh")


@pytest.mark.parametrize(("columns", "row"), [(COLUMNS, ROW), (JOBS, JOB)], ids=["services", "jobs"])
def test_at_every_width_each_word_is_whole_and_no_line_too_wide(columns: Sequence[Column], row: Sequence[str]) -> None:
    for width in range(34, 121):
        console = Console(file=io.StringIO(), width=width)
        dropped = print_table(console, columns, [row])
        assert isinstance(console.file, io.StringIO)
        printed = console.file.getvalue()
        kept = [cell for column, cell in zip(columns, row, strict=True) if column.name not in dropped]
        for word in " ".join(kept).split():
            assert word in printed, f"{word} at {width}"
        is_table = printed.startswith(columns[0].name)
        assert not is_table or max(map(len, printed.splitlines())) <= width, width


def test_a_table_without_rows_has_its_head() -> None:
    console = Console(file=io.StringIO(), width=40)
    print_table(console, COLUMNS, [])
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().split() == ["NAME", "PID", "LOG", "NOTE"]

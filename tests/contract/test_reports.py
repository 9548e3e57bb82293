"""Requirements on every report: one base class, and a verdict that agrees with the rest of the output."""

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest

import toombos_cli
from toombos_cli.alerts.reports import AlertTestReport, ChannelOutcome
from toombos_cli.backup.maintenance_reports import (
    CopyReport,
    ListReport,
    PruneReport,
    StatusReport,
    VerifiedArchive,
    VerifyReport,
)
from toombos_cli.backup.reports import CreateReport, DrillReport, RecoverReport
from toombos_cli.base.results import WORST_FIRST, WRONG, Report, Verdict, worst
from toombos_cli.config.reports import SettingsChangeReport, ShowReport, TrustReport
from toombos_cli.health.report import HealthReport, ServiceHealth, ServiceStatus
from toombos_cli.logs.reading import LogsReport
from toombos_cli.monitoring.reports import CheckItem, MonitoringCheckReport, MonitoringReport, MonitoringRow
from toombos_cli.probes import Reason
from toombos_cli.project.state import WELL, Phase
from toombos_cli.recovery.reports import RecoveryReport, StepOutcome
from toombos_cli.render.text import VIEWS
from toombos_cli.schedule.reports import JobRow, JobRunReport, RotationRow, ScheduleReport
from toombos_cli.smoke.report import SmokeReport, StepResult
from toombos_cli.supervisor.reports import ChangeReport, FailureRow, ServiceRow, SupervisorRow, SystemReport
from toombos_cli.supervisor.start_preview import StartPreview

PACKAGE = Path(toombos_cli.__file__).parent


def report_classes() -> list[type[Report]]:
    """Return every report class of the product once: a dataclass with slots is created twice."""
    for module in walk_packages(toombos_cli.__path__, "toombos_cli."):
        if "locustfile" not in module.name and "__main__" not in module.name:
            import_module(module.name)
    return [cls for cls in Report.__subclasses__() if "__slots__" in vars(cls) and dataclasses.is_dataclass(cls)]


REPORTS = {f"{cls.__module__.removeprefix('toombos_cli.')}.{cls.__name__}": cls for cls in report_classes()}


def test_reports_and_views_match_one_to_one() -> None:
    assert {cls.kind for cls in REPORTS.values()} == set(VIEWS)


@pytest.mark.parametrize("cls", REPORTS.values(), ids=REPORTS)
def test_every_public_name_of_a_report_is_a_field_an_override_or_used_elsewhere(cls: type[Report]) -> None:
    own = {name for name in vars(cls) if not name.startswith("_")} - {field.name for field in dataclasses.fields(cls)}
    texts = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    unused = {name for name in own if not hasattr(Report, name) and not re.search(rf"\.{name}\b", texts)}
    assert unused == set(), "no renderer uses it: is it misspelt?"


def test_no_renderer_checks_whether_a_report_has_an_attribute() -> None:
    for path in [*PACKAGE.glob("render/**/*.py"), *PACKAGE.glob("cli/*.py")]:
        assert "getattr(report" not in path.read_text(), path


def test_a_report_without_a_verdict_cannot_be_created() -> None:
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Unjudged(Report):
        kind = "unjudged"

        def verdikt(self) -> Verdict:
            return Verdict.PASS

    with pytest.raises(TypeError, match="abstract"):
        Unjudged()  # type: ignore[abstract]


def test_the_worst_of_no_verdicts_is_skip_and_fail_is_the_worst() -> None:
    assert worst(()) is Verdict.SKIP
    assert worst([Verdict.SKIP, Verdict.SKIP]) is Verdict.SKIP
    assert worst([Verdict.SKIP, Verdict.PASS]) is Verdict.PASS
    assert [worst(WORST_FIRST[i:]) for i in range(5)] == list(WORST_FIRST)


EXIT_CODES = [
    (Verdict.PASS, 0, 0),
    (Verdict.WARN, 0, 1),
    (Verdict.SKIP, 0, 1),
    (Verdict.FAIL, 1, 1),
    (Verdict.ERROR, 4, 4),
]


@pytest.mark.parametrize(("verdict", "lenient", "strict"), EXIT_CODES, ids=[str(row[0]) for row in EXIT_CODES])
def test_the_exit_code_of_a_verdict_with_and_without_strict(verdict: Verdict, lenient: int, strict: int) -> None:
    report = SmokeReport(steps=(step(verdict),), duration_s=1.0)
    assert (report.exit_code(), report.exit_code(strict=True)) == (lenient, strict)


def step(verdict: Verdict) -> StepResult:
    return StepResult(name="one", service="crm", verdict=verdict)


def health(verdict: Verdict) -> ServiceHealth:
    return ServiceHealth(name="crm", url="", status=ServiceStatus.DOWN, verdict=verdict, reason=Reason.REFUSED)


def row(phase: Phase, *, pid: int | None = None) -> ServiceRow:
    return ServiceRow(
        name="crm",
        kind="service",
        phase=phase,
        pid=pid,
        port=None,
        ready_after_s=None,
        restarts=0,
        cpu_percent=None,
        rss_bytes=None,
        uptime_s=None,
        log="",
        detail="",
        failure_kind=None,
        last_end=None,
        restart_history=(),
        warnings=(),
        last_lines=(),
        last_log_line="",
    )


SUPERVISOR = SupervisorRow(pid=None, alive=False)
ROTATION = RotationRow(daily=True, max_mb=1, keep=1, compress=True)


def system(*rows: ServiceRow) -> SystemReport:
    return SystemReport(services=rows, dry_run=False, supervisor=SUPERVISOR)


def change(*rows: ServiceRow, **more: Any) -> ChangeReport:
    return ChangeReport(services=rows, dry_run=False, supervisor=SUPERVISOR, **more)


def job(**more: Any) -> JobRow:
    given: dict[str, Any] = {"enabled": True, "last_run_at": None, "exit_code": None, "next_due_at": None} | more
    return JobRow(name="a", title="", when="", command="", missed=given.pop("missed", False), **given)


def schedule(*jobs: JobRow) -> ScheduleReport:
    return ScheduleReport(method=None, jobs=jobs, rotation=ROTATION)


def created(**more: Any) -> CreateReport:
    given: dict[str, Any] = {"files": 1, "verified": True, "complete": True, "known_good": True} | more
    return CreateReport(
        archive="a",
        size_bytes=1,
        data_bytes=1,
        duration_s=1.0,
        databases=(),
        unreadable=(),
        skipped=(),
        project="",
        roots=(),
        absent=(),
        flagged=(),
        **given,
    )


def backup_status(**more: Any) -> StatusReport:
    given: dict[str, Any] = {"newest_good": "a", "age_h": 1.0, "restore_interrupted": False} | more
    return StatusReport(max_age_h=26.0, archives=1, bad=(), total_bytes=1, last_drill_at=None, **given)


def verified(verdict: Verdict) -> VerifyReport:
    one = VerifiedArchive(path="a", verdict=verdict, detail="", files=1, databases=(), complete=True, duration_s=0.1)
    return VerifyReport(archives=(one,))


def monitoring(state: str, **more: Any) -> MonitoringReport:
    rows = (MonitoringRow(name="grafana", state=state, url="", pid=None, detail=""),)
    return MonitoringReport(backend="native", reason="", services=rows, **more)


def recovery(verdict: Verdict) -> RecoveryReport:
    one = StepOutcome(name="start", command="", verdict=verdict, duration_s=1.0)
    return RecoveryReport(steps=(one,), not_done=())


OUTCOME = ChannelOutcome(channel="mail", delivered=False, attempts=1, duration_s=1.0, reason="refused")
FAILURE = FailureRow(service="crm", kind="exited", message="it ended", hint=None, last_lines=())


def health_round(verdict: Verdict) -> HealthReport:
    return HealthReport(services=(health(verdict),), checked_at=datetime.now(UTC))


def smoke_round(verdict: Verdict) -> SmokeReport:
    return SmokeReport(steps=(step(verdict),), duration_s=1.0)


def monitoring_check(verdict: Verdict) -> MonitoringCheckReport:
    return MonitoringCheckReport(items=(CheckItem(group="g", name="n", verdict=verdict),))


def started(phase: Phase) -> ChangeReport:
    return change(row(phase), started=("crm",))


JUDGED = {
    "health": health_round,
    "smoke": smoke_round,
    "monitoring check": monitoring_check,
    "recover": recovery,
    "backup verify": verified,
}
BAD = [verdict for verdict in WORST_FIRST if verdict in WRONG]
NOT_READY = [phase for phase in Phase if phase not in WELL]

WRONG_ROWS: dict[str, Callable[[], Report]] = {
    **{f"{name} with {verdict}": partial(make, verdict) for name, make in JUDGED.items() for verdict in BAD},
    **{f"status with a service that is {phase}": partial(system, row(phase)) for phase in NOT_READY},
    **{f"start with a service that is {phase}": partial(started, phase) for phase in NOT_READY},
    "start with a failure": lambda: change(row(Phase.READY, pid=1), failures=(FAILURE,)),
    "stop with a service that is running": lambda: change(row(Phase.FAILED, pid=1), wants_up=False),
    "monitoring up with a service that is down": lambda: monitoring("down"),
    "monitoring down with a service that is up": lambda: monitoring("up", wanted=False),
    "alert test with a failing channel": lambda: AlertTestReport(severity="P1", channels=(OUTCOME,)),
    "backup with a missing file": lambda: created(complete=False),
    "backup without files": lambda: created(files=0),
    "backup that could not be copied": lambda: created(remote_problem="refused"),
    "backup drill without files": lambda: DrillReport(archive="a", files=0, databases=(), duration_s=1.0),
    "backup status without a good archive": lambda: backup_status(newest_good=None, age_h=None),
    "backup status with an old archive": lambda: backup_status(age_h=100.0),
    "backup status with an interrupted restore": lambda: backup_status(restore_interrupted=True),
    "a job that failed": lambda: JobRunReport(job="a", command=(), exit_code_of_command=1, duration_s=1.0),
}


@pytest.mark.parametrize("make", WRONG_ROWS.values(), ids=WRONG_ROWS)
def test_a_report_that_shows_a_problem_does_not_exit_0(make: Callable[[], Report]) -> None:
    report = make()
    assert report.verdict in WRONG
    assert report.exit_code() != 0


EMPTY: dict[str, Callable[[], Report]] = {
    "health": lambda: HealthReport(services=(), checked_at=datetime.now(UTC)),
    "smoke": lambda: SmokeReport(steps=(), duration_s=1.0),
    "smoke with only skipped steps": lambda: SmokeReport(steps=(step(Verdict.SKIP),), duration_s=1.0),
    "monitoring": lambda: MonitoringReport(backend="native", reason="", services=()),
    "monitoring check": lambda: MonitoringCheckReport(items=()),
    "schedule": schedule,
    "schedule with only disabled jobs": lambda: schedule(job(enabled=False)),
    "status": system,
    "start": change,
    "stop": lambda: change(wants_up=False),
    "start --preview": lambda: StartPreview(services=(), dry_run=False, mode=None, mode_text=""),
    "logs": lambda: LogsReport(lines=()),
    "config show": lambda: ShowReport(env_file=Path(), service=None, mode=None, values=()),
    "config trust": lambda: TrustReport(path=Path(), directories=()),
    "config encrypt": lambda: SettingsChangeReport(action="encrypt", path=Path(), names=()),
    "backup": lambda: created(files=0),
    "backup list": lambda: ListReport(directory="", archives=()),
    "backup verify": lambda: VerifyReport(archives=()),
    "backup prune": lambda: PruneReport(preview=False, decisions=(), removed_bytes=0, trash="", emptied=()),
    "backup copy": lambda: CopyReport(remote="", copied=()),
    "restore --recover": lambda: RecoverReport(outcome=None, stopped=()),
    "alert test": lambda: AlertTestReport(severity="P1", channels=()),
    "recover": lambda: RecoveryReport(steps=(), not_done=()),
}


@pytest.mark.parametrize("make", EMPTY.values(), ids=EMPTY)
def test_an_empty_report_is_not_a_pass(make: Callable[[], Report]) -> None:
    assert make().verdict is not Verdict.PASS
    assert make().exit_code(strict=True) != 0


JOBS = {
    "missed": (job(missed=True), "WARN missed"),
    "failed": (job(exit_code=3), "WARN exit 3"),
    "interrupted": (job(broken_off=True), "WARN broken off"),
    "disabled": (job(enabled=False, exit_code=3), "SKIP disabled"),
    "passed": (job(exit_code=0), "PASS"),
    "never run": (job(), "-"),
}


@pytest.mark.parametrize(("one", "word"), JOBS.values(), ids=JOBS)
def test_the_word_for_a_job_matches_its_verdict(one: JobRow, word: str) -> None:
    from toombos_cli.render.text.schedule import _result

    assert _result(one) == word
    assert schedule(one).verdict is one.verdict


def test_status_in_json_fails_with_exit_code_1_if_a_service_is_down(tmp_path: Path) -> None:
    (tmp_path / "toombos.toml").write_text('[services.a]\ncommand = ["true"]\nscheme = "none"\n')
    done = subprocess.run(
        [sys.executable, "-P", "-m", "toombos_cli", "--json", "status"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    document = json.loads(done.stdout)
    assert (document["schema_version"], document["verdict"], document["exit_code"]) == (2, "fail", 1)

"""The steps of the recovery, in the guide's order: each calls a feature and turns its report into a verdict."""

import shutil
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from toombos_cli import processes
from toombos_cli.backup.observer import Silent
from toombos_cli.backup.run import run_backup
from toombos_cli.backup.scope import make_place
from toombos_cli.backup.transaction.journal import refuse_open_journal
from toombos_cli.base.errors import OperationError, Problem
from toombos_cli.base.fixes import here
from toombos_cli.base.quoting import quoted
from toombos_cli.base.results import Case, Report, Verdict
from toombos_cli.base.text import size
from toombos_cli.health.check import run_health
from toombos_cli.manifest.model import DRY_RUN, Manifest
from toombos_cli.monitoring.check import run_check
from toombos_cli.monitoring.operations import as_run
from toombos_cli.project.interruption import load_interruption
from toombos_cli.project.own_processes import recorded_supervisor
from toombos_cli.project.state import read_state
from toombos_cli.recovery.monitoring import bring_up_monitoring
from toombos_cli.smoke.environment import read_environment
from toombos_cli.smoke.plan import make_plan
from toombos_cli.smoke.report import StepResult
from toombos_cli.smoke.run import run_smoke
from toombos_cli.supervisor.client import SilentSupervisorError
from toombos_cli.supervisor.operations import run_start, run_stop
from toombos_cli.supervisor.ordering import default_names
from toombos_cli.supervisor.running_system import present_state

WRONG = frozenset({Verdict.FAIL, Verdict.ERROR})
_NEEDED_DISK_BYTES = 200 * 1024 * 1024
_NEEDED_MEMORY_BYTES = 200 * 1024 * 1024
_LOOKS_AT_A_SILENT_SUPERVISOR = 2  # a busy one may miss the first
_DATA_FOR_PANELS_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepVerdict:
    """A step's verdict and what it found; if it failed, also the cause and the fix."""

    verdict: Verdict
    detail: str = ""
    cause: str = ""
    fix: str = ""

    @classmethod
    def of(cls, report: Report, *, cause: str = "", fix: str = "") -> "StepVerdict":
        """Return the report's verdict; its first problem explains a failure, or else `cause` and `fix` do."""
        if report.verdict not in WRONG:
            return cls(verdict=report.verdict)
        if not report.problems:
            return cls(verdict=report.verdict, cause=cause, fix=fix)
        return cls.of_problem(report.problems[0], report.verdict)

    @classmethod
    def of_problem(cls, problem: Problem, verdict: Verdict = Verdict.ERROR) -> "StepVerdict":
        """Return the verdict that a problem explains."""
        place = f"{problem.where}: " if problem.where else ""
        return cls(verdict=verdict, cause=f"{place}{problem.message}", fix=problem.hint or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryStep:
    """One step; `command` is what a person would type. If it is not `required`, its failure is only a warning."""

    name: str
    command: str
    timeout_s: float
    work: Callable[[Manifest], StepVerdict]
    required: bool = True


def recovery_steps(manifest: Manifest) -> tuple[RecoveryStep, ...]:
    """Return the steps for this system; only monitoring is not required."""
    dry_run = " --dry-run" if DRY_RUN in manifest.modes else ""
    steps = [
        RecoveryStep(name="stop", command="toombos stop", timeout_s=180, work=_stop),
        RecoveryStep(name="resources", command="df -h; free -h", timeout_s=30, work=judge_resources),
        RecoveryStep(name="archive", command="toombos backup create --emergency", timeout_s=1800, work=_archive),
        RecoveryStep(name="start", command=f"toombos start{dry_run}", timeout_s=300, work=_start),
        RecoveryStep(name="health", command="toombos health", timeout_s=60, work=_health),
        RecoveryStep(name="smoke", command="toombos smoke", timeout_s=300, work=_smoke),
    ]
    if "prometheus" in manifest.services:
        check = f"toombos monitoring check --wait {_DATA_FOR_PANELS_S:g}"
        steps += [
            RecoveryStep(
                name="monitoring", command="toombos monitoring up", timeout_s=300, work=_monitoring, required=False
            ),
            RecoveryStep(name="dashboards", command=check, timeout_s=180, work=_dashboards, required=False),
        ]
    return tuple(steps)


def _stop(manifest: Manifest) -> StepVerdict:
    """Stop all services; first kill a supervisor that does not respond, or everything would wait for it."""
    silent = _silent_supervisor(manifest.project)
    if silent is not None:
        processes.send_signal(silent, signal.SIGKILL)
    report = run_stop(manifest.project, dict(manifest.services), (), manifest=manifest)
    found = StepVerdict.of(report)
    if found.verdict not in WRONG and report.warnings:
        texts, hints = zip(*report.warnings, strict=True)
        found = replace(found, cause="; ".join(texts), fix=hints[0])
    said = f"the supervisor (pid {silent.pid}) did not respond and was killed" if silent else ""
    return replace(found, detail=said)


def _silent_supervisor(project: Path) -> processes.ProcessIdentity | None:
    supervisor = recorded_supervisor(project, read_state(project))
    if supervisor is None:
        return None
    for _ in range(_LOOKS_AT_A_SILENT_SUPERVISOR):
        try:
            present_state(project, {})
        except SilentSupervisorError:
            continue
        except OperationError:
            return None
        return None
    return supervisor


def judge_disk(project: Path) -> StepVerdict | None:
    """Return FAIL if the project's disk is too full to archive and start, else None. Raises OperationError."""
    free = _disk_usage(project)[1]
    if free >= _NEEDED_DISK_BYTES:
        return None
    return StepVerdict(
        verdict=Verdict.FAIL,
        detail=f"{size(free)} free, {size(_NEEDED_DISK_BYTES)} needed",
        cause="the disk is full",
        fix=f"du -xh -d 2 {quoted(project)} | sort -h | tail",
    )


def judge_resources(manifest: Manifest) -> StepVerdict:
    """Return FAIL if disk or memory do not suffice to start, WARN above the alerts' thresholds."""
    if (full := judge_disk(manifest.project)) is not None:
        return full
    thresholds = manifest.monitoring.thresholds
    (used, free), memory = _disk_usage(manifest.project), psutil.virtual_memory()
    disk_ratio, memory_ratio = used / (used + free), 1 - memory.available / memory.total
    detail = f"disk {disk_ratio:.0%} used, {size(free)} free; memory {memory_ratio:.0%} used"
    if memory.available < _NEEDED_MEMORY_BYTES:
        return StepVerdict(
            verdict=Verdict.FAIL, detail=detail, cause="the memory is full", fix="ps aux --sort=-%mem | head -20"
        )
    high = disk_ratio > thresholds.disk_ratio or memory_ratio > thresholds.memory_ratio
    return StepVerdict(verdict=Verdict.WARN if high else Verdict.PASS, detail=detail)


def _disk_usage(project: Path) -> tuple[int, int]:
    """Return the used and the free bytes."""
    try:
        usage = shutil.disk_usage(project)
    except OSError as error:
        raise OperationError(f"resources cannot be read: {error.strerror}", where=str(project)) from None
    return usage.used, usage.free


def _archive(manifest: Manifest) -> StepVerdict:
    """Archive the state. A damaged database ends the recovery: the services would damage it further."""
    report = run_backup(manifest, Silent(), emergency=True)
    if not report.archive:
        return StepVerdict(verdict=Verdict.SKIP, detail="nothing to archive")
    broken = [database for database in report.databases if not database.is_sound]
    if broken:
        return StepVerdict(
            verdict=Verdict.FAIL,
            detail=report.archive,
            cause="; ".join(f"{database.path} is damaged: {database.integrity}" for database in broken),
            fix=here("restore", "--latest-good"),
        )
    return StepVerdict(verdict=Verdict.WARN if report.verdict in WRONG else Verdict.PASS, detail=report.archive)


def _start(manifest: Manifest) -> StepVerdict:
    refuse_open_journal(make_place(manifest))
    mode = DRY_RUN if DRY_RUN in manifest.modes else None
    left = (name for name in load_interruption(manifest.project).stopped if name in manifest.services)
    names = tuple(dict.fromkeys((*default_names(manifest.services), *left)))
    return StepVerdict.of(run_start(manifest, names, mode=mode))


def _health(manifest: Manifest) -> StepVerdict:
    report = run_health(manifest)
    fix = next((str(service.fix) for service in report.services if service.verdict in WRONG and service.fix), "")
    return StepVerdict.of(report, cause="; ".join(_named(report.cases())), fix=fix)


def _smoke(manifest: Manifest) -> StepVerdict:
    report = run_smoke(manifest, make_plan(manifest, ()), environment=read_environment(manifest))
    failed = [f"{step.name}: {_difference(step)}" for step in report.steps if step.verdict in WRONG]
    return StepVerdict.of(report, cause=_first(failed))


def _difference(step: StepResult) -> str:
    return step.detail or f"expected {step.expected}, got {step.got}"


def _monitoring(manifest: Manifest) -> StepVerdict:
    report = bring_up_monitoring(manifest)
    found = StepVerdict.of(report, cause="; ".join(_named(report.cases())))
    return replace(found, detail="; ".join(_named(report.cases(), Verdict.WARN))) if not found.cause else found


def _dashboards(manifest: Manifest) -> StepVerdict:
    report = run_check(as_run(manifest), wait_s=_DATA_FOR_PANELS_S)
    found = StepVerdict.of(report, cause=_first(_named(report.cases())), fix=here("monitoring", "check"))
    return replace(found, detail=_first(_named(report.cases(), Verdict.WARN))) if not found.cause else found


def _named(cases: Iterable[Case], *verdicts: Verdict) -> list[str]:
    """Return the name and detail of the cases with these verdicts, by default those that are wrong."""
    wanted = verdicts or tuple(WRONG)
    return [f"{case.name}: {case.detail}" for case in cases if case.verdict in wanted]


def _first(named: list[str]) -> str:
    return named[0] + (f"; and {len(named) - 1} more" if len(named) > 1 else "") if named else ""

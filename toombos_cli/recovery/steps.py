"""The steps of the recovery, in the guide's order; each judges the answer of the command that does its work."""

import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toombos_cli.base.errors import OperationError
from toombos_cli.base.results import Verdict
from toombos_cli.manifest.model import DRY_RUN, Manifest
from toombos_cli.manifest.tables.monitoring import Thresholds
from toombos_cli.recovery.own_commands import Answer

_NEEDED_DISK_BYTES = 200 * 1024 * 1024
_NEEDED_MEMORY_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A step's verdict, what it found, and where it is not well the cause and the fix."""

    verdict: Verdict
    detail: str = ""
    cause: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of toombos. A step that is not `required` warns, and the recovery goes on."""

    name: str
    argv: tuple[str, ...]
    timeout_s: float
    judge: Callable[[Answer], Judgement]
    required: bool = True


def judge_exit(answer: Answer) -> Judgement:
    """PASS for exit 0."""
    if answer.exit_code == 0:
        return Judgement(verdict=Verdict.WARN if answer.verdict == "warn" else Verdict.PASS, detail=answer.cause)
    return Judgement(
        verdict=Verdict.ERROR if answer.verdict == "error" else Verdict.FAIL, cause=answer.cause, fix=answer.fix
    )


def judge_health(answer: Answer) -> Judgement:
    """As the exit code says; each service that is not up is named with its reason."""
    sick = [row for row in answer.data.get("services", []) if row.get("status") == "down"]
    named = "; ".join(
        f"{row['name']}: {row['reason']}" + (f" ({row['detail']})" if row["detail"] else "") for row in sick
    )
    return _named(judge_exit(answer), named, fix=next(filter(None, (fix_text(row.get("fix")) for row in sick)), ""))


def fix_text(fix: dict[str, Any] | None) -> str:
    """What a person reads of a fix in a command's JSON."""
    return str(fix.get("command") or fix.get("advice")) if fix else ""


def judge_smoke(answer: Answer) -> Judgement:
    """As the exit code says; the first step that failed is named, and how many more."""
    failed = [step for step in answer.data.get("steps", []) if step.get("verdict") in ("fail", "error")]
    named = [f"{step['name']}: {step['detail'] or _difference(step)}" for step in failed]
    return _named(judge_exit(answer), _first(named))


def _difference(step: dict[str, Any]) -> str:
    return f"expected {step['expected']}, got {step['got']}"


def _first(named: list[str]) -> str:
    return named[0] + (f"; and {len(named) - 1} more" if len(named) > 1 else "") if named else ""


def judge_monitoring(answer: Answer) -> Judgement:
    """As the exit code says; what is not up is named."""
    rows = [row for row in answer.data.get("services", []) if row.get("state") != "up"]
    named = "; ".join(f"{row['name']}: {row['detail']}" for row in rows)
    found = judge_exit(answer)
    if found.verdict is Verdict.WARN:
        return Judgement(verdict=Verdict.WARN, detail=named)
    return _named(found, named)


def judge_dashboards(answer: Answer) -> Judgement:
    """As the exit code says; the first of what monitoring would miss, or may miss, is named."""
    items = answer.data.get("items", [])
    found = judge_exit(answer)
    if found.verdict is Verdict.WARN:
        doubtful = [f"{item['name']}: {item['detail']}" for item in items if item.get("verdict") == "warn"]
        return replace(found, detail=_first(doubtful))
    lost = [f"{item['name']}: {item['detail']}" for item in items if item.get("verdict") in ("fail", "error")]
    return _named(found, _first(lost), fix="toombos monitoring check")


def _named(found: Judgement, cause: str, *, fix: str = "") -> Judgement:
    """The judgement with a cause and a fix, where it is bad and has none."""
    if found.verdict not in (Verdict.FAIL, Verdict.ERROR):
        return found
    return replace(found, cause=found.cause or cause, fix=found.fix or fix)


def judge_archive(answer: Answer) -> Judgement:
    """The archive must be there. A database that is not sound ends the recovery: services would damage it further."""
    archive = answer.data.get("archive")
    if not archive:
        return judge_exit(answer)
    broken = [db for db in answer.data.get("databases", []) if str(db.get("integrity", "ok")).lower() != "ok"]
    if broken:
        return Judgement(
            verdict=Verdict.FAIL,
            detail=str(archive),
            cause="; ".join(f"{db['path']} is damaged: {db['integrity']}" for db in broken),
            fix="toombos restore --latest-good",
        )
    return Judgement(verdict=Verdict.PASS if answer.exit_code == 0 else Verdict.WARN, detail=str(archive))


def judge_disk(project: Path) -> Judgement | None:
    """FAIL when the project's disk does not suffice to archive and start, else None. Raises OperationError."""
    disk = _disk(project)
    if disk.free >= _NEEDED_DISK_BYTES:
        return None
    return Judgement(
        verdict=Verdict.FAIL,
        detail=f"{disk.free / 1e6:.0f} MB free, {_NEEDED_DISK_BYTES / 1e6:.0f} MB are needed",
        cause="the disk is full",
        fix=f"du -xh -d 2 {shlex.quote(str(project))} | sort -h | tail",
    )


def judge_resources(project: Path, thresholds: Thresholds) -> Judgement:
    """FAIL when disk or memory do not suffice to start, WARN above the alerts' thresholds. Raises OperationError."""
    import psutil

    if (full := judge_disk(project)) is not None:
        return full
    disk, memory = _disk(project), psutil.virtual_memory()
    disk_ratio, memory_ratio = disk.used / (disk.used + disk.free), 1 - memory.available / memory.total
    detail = f"disk {disk_ratio:.0%} used, {disk.free / 1e9:.1f} GB free; memory {memory_ratio:.0%} used"
    if memory.available < _NEEDED_MEMORY_BYTES:
        return Judgement(
            verdict=Verdict.FAIL, detail=detail, cause="the memory is used up", fix="ps aux --sort=-%mem | head -20"
        )
    high = disk_ratio > thresholds.disk_ratio or memory_ratio > thresholds.memory_ratio
    return Judgement(verdict=Verdict.WARN if high else Verdict.PASS, detail=detail)


def _disk(project: Path) -> Any:
    try:
        return shutil.disk_usage(project)
    except OSError as error:
        raise OperationError(f"resources cannot be read: {error.strerror}", where=str(project)) from None


def steps_after(manifest: Manifest) -> tuple[Step, ...]:
    """The steps after the look at the resources. A system without a dry-run mode is started as it is."""
    dry_run = ("--dry-run",) if DRY_RUN in manifest.modes else ()
    steps = [
        Step(name="archive", argv=("backup", "create", "--emergency"), timeout_s=1800, judge=judge_archive),
        Step(name="start", argv=("start", *dry_run), timeout_s=300, judge=judge_exit),
        Step(name="health", argv=("health",), timeout_s=60, judge=judge_health),
        Step(name="smoke", argv=("smoke",), timeout_s=300, judge=judge_smoke),
    ]
    if "prometheus" in manifest.services:
        check = ("monitoring", "check", "--wait", "60")
        steps += [
            Step(name="monitoring", argv=("monitoring", "up"), timeout_s=300, judge=judge_monitoring, required=False),
            Step(name="dashboards", argv=check, timeout_s=180, judge=judge_dashboards, required=False),
        ]
    return tuple(steps)


STOP = Step(name="stop", argv=("stop",), timeout_s=180, judge=judge_exit)
RESOURCES = "resources"

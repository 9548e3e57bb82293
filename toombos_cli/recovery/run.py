"""`toombos recover`: the steps in order, and for the one that fails the cause and the fix."""

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from toombos_cli import processes
from toombos_cli.base.project_lock import project_lock
from toombos_cli.base.results import Verdict
from toombos_cli.manifest.model import Manifest
from toombos_cli.project.state import read_state
from toombos_cli.recovery.own_commands import ask
from toombos_cli.recovery.reports import RecoveryReport, StepOutcome
from toombos_cli.recovery.steps import (
    RESOURCES,
    STOP,
    Judgement,
    Step,
    fix_text,
    judge_disk,
    judge_resources,
    steps_after,
)
from toombos_cli.settings.env_file import read_env_file

OnStep = Callable[[StepOutcome], None]
_DIAGNOSE_TIMEOUT_S = 120.0
_STATUS_TIMEOUT_S = 30.0
_OWN_DOING = frozenset({"system.stopped", "proc.missing"})  # the recovery itself has stopped the services
_ENDS = (Verdict.FAIL, Verdict.ERROR)


def run_recovery(manifest: Manifest, *, skip_monitoring: bool = False, on_step: OnStep | None = None) -> RecoveryReport:
    """Does the steps up to the first that fails, and tells `on_step` of each as it ends.

    On a full disk, or with a `.env` that cannot be read, nothing is stopped: what still runs could not be started
    again. Raises ConfigurationError for the latter, LockedError when another recovery of the project is under way.
    """
    read_env_file(manifest.project)
    if (full := judge_disk(manifest.project)) is not None:
        return _refused(manifest, full, on_step)
    with project_lock(manifest.project, "recover", "recovery"):
        return _recover(manifest, skip_monitoring=skip_monitoring, on_step=on_step)


def _recover(manifest: Manifest, *, skip_monitoring: bool, on_step: OnStep | None) -> RecoveryReport:
    project = manifest.project
    later = [step for step in steps_after(manifest) if step.required or not skip_monitoring]
    work: list[tuple[str, Callable[[], StepOutcome]]] = [
        (STOP.name, lambda: _stop(project)),
        (RESOURCES, lambda: _resources(manifest)),
        *((step.name, lambda step=step: _run(project, step)) for step in later),  # the default binds it
    ]
    done: list[StepOutcome] = []
    for name, do in work:
        if name == "dashboards" and done[-1].cause:
            break  # monitoring is not up, as the step before has said
        done.append(do())
        if on_step:
            on_step(done[-1])
        if done[-1].verdict in _ENDS:
            break
    names = [name for name, _ in work]
    return RecoveryReport(steps=tuple(done), not_done=tuple(names[len(done) :]))


def _refused(manifest: Manifest, full: Judgement, on_step: OnStep | None) -> RecoveryReport:
    found = replace(full, cause=f"{full.cause}, so nothing was stopped")
    outcome = _outcome(RESOURCES, "df -h", time.monotonic(), found)
    if on_step:
        on_step(outcome)
    names = (STOP.name, *(step.name for step in steps_after(manifest)))
    return RecoveryReport(steps=(outcome,), not_done=names)


def _stop(project: Path) -> StepOutcome:
    """Stops all; a supervisor that lives and does not answer is ended first, or everything would wait for it."""
    started = time.monotonic()
    hung = _hung_supervisor(project)
    if hung is not None:
        processes.send_signal(hung, signal.SIGKILL)
    outcome = _run(project, STOP)
    said = f"the supervisor (pid {hung.pid}) did not answer and was ended" if hung else ""
    detail = "; ".join(part for part in (said, outcome.detail) if part)
    return replace(outcome, detail=detail, duration_s=round(time.monotonic() - started, 3))


def _hung_supervisor(project: Path) -> processes.ProcessIdentity | None:
    state = read_state(project)
    if state is None or not processes.is_alive(state.supervisor):
        return None
    answers = (ask(project, "status", timeout_s=_STATUS_TIMEOUT_S) for _ in range(2))  # a busy one may miss the first
    silent = all(answer.exit_code is None or "has not answered" in answer.cause for answer in answers)
    return state.supervisor if silent else None


def _run(project: Path, step: Step) -> StepOutcome:
    started = time.monotonic()
    found = step.judge(ask(project, *step.argv, timeout_s=step.timeout_s))
    if found.verdict in _ENDS and not step.required:
        found = replace(found, verdict=Verdict.WARN)
    elif found.verdict in _ENDS and not (found.cause and found.fix):
        found = _diagnosed(project, found)
    return _outcome(step.name, " ".join(("toombos", *step.argv)), started, found)


def _resources(manifest: Manifest) -> StepOutcome:
    started = time.monotonic()
    found = judge_resources(manifest.project, manifest.monitoring.thresholds)
    return _outcome(RESOURCES, "df -h; free -h", started, found)


def _outcome(name: str, command: str, started: float, found: Judgement) -> StepOutcome:
    return StepOutcome(
        name=name,
        command=command,
        verdict=found.verdict,
        duration_s=round(time.monotonic() - started, 3),
        detail=found.detail,
        cause=found.cause,
        fix=found.fix,
    )


def _diagnosed(project: Path, found: Judgement) -> Judgement:
    """The failure with cause and fix from `toombos diagnose`, where its first root says more than the step could."""
    answer = ask(project, "diagnose", timeout_s=_DIAGNOSE_TIMEOUT_S)
    findings = [finding for finding in answer.data.get("findings", []) if finding.get("verdict") in ("fail", "warn")]
    findings = [finding for finding in findings if finding["id"] not in _OWN_DOING]
    by_id = {finding["id"]: finding for finding in reversed(findings)}  # of several of one id the first
    roots = [by_id[root] for root in answer.data.get("roots", []) if root in by_id]
    first = min(roots, key=lambda finding: finding["verdict"] != "fail", default=None)  # a failure before a warning
    if first is None:
        return replace(found, cause=found.cause or "not known", fix=found.fix or "toombos diagnose")
    because = f" ({first['cause']})" if first.get("cause") else ""
    said = f"{first['reason']}{because}"
    return replace(
        found,
        cause="; ".join(part for part in (found.cause, said) if part),
        fix=found.fix or fix_text(first.get("fix")) or "toombos diagnose",
    )

"""`toombos recover`: the steps in order, with the cause and the fix of the one that fails."""

import time
from collections.abc import Callable
from dataclasses import replace

from toombos_cli.base.errors import ToombosError, type_and_place
from toombos_cli.base.fixes import here
from toombos_cli.base.locks import hold_alone
from toombos_cli.base.results import Verdict
from toombos_cli.base.trust import NotTrustedError
from toombos_cli.base.waiting import OverdueError, run_within
from toombos_cli.diagnose.run import run_diagnose
from toombos_cli.manifest.model import Manifest
from toombos_cli.recovery.reports import RecoveryReport, StepOutcome
from toombos_cli.recovery.steps import WRONG, RecoveryStep, StepVerdict, judge_disk, recovery_steps
from toombos_cli.settings.env_files import read_env_files

OnStep = Callable[[StepOutcome], None]
_DIAGNOSE_TIMEOUT_S = 120.0
_OWN_DOING = frozenset({"system.stopped", "proc.missing"})  # caused by the recovery, which has stopped the services


def run_recovery(manifest: Manifest, *, skip_monitoring: bool = False, on_step: OnStep | None = None) -> RecoveryReport:
    """Run the steps up to the first that fails, and report each to `on_step` as it ends.

    On a full disk, or with an unreadable `.env`, nothing is stopped: it could not be started again. Raises
    ConfigurationError for an unreadable `.env`, LockedError if another recovery of the project is running, and
    NotTrustedError if a step would have to believe another user.
    """
    read_env_files(manifest)
    steps = [step for step in recovery_steps(manifest) if step.required or not skip_monitoring]
    if (full := judge_disk(manifest.project)) is not None:
        return _refused(steps, replace(full, cause=f"{full.cause}, so nothing was stopped"), on_step)
    done: list[StepOutcome] = []
    with hold_alone(manifest.project / "run" / "recover.lock", "recovery"):
        for step in steps:
            if step.name == "dashboards" and done[-1].cause:
                break  # monitoring is not up, as the previous step reported
            done.append(_take(manifest, step))
            if on_step:
                on_step(done[-1])
            if done[-1].verdict in WRONG:
                break
    return RecoveryReport(steps=tuple(done), not_done=tuple(step.name for step in steps[len(done) :]))


def _refused(steps: list[RecoveryStep], found: StepVerdict, on_step: OnStep | None) -> RecoveryReport:
    resources = next(step for step in steps if step.name == "resources")
    outcome = _outcome(resources, found, 0.0)
    if on_step:
        on_step(outcome)
    return RecoveryReport(steps=(outcome,), not_done=tuple(step.name for step in steps if step is not resources))


def _take(manifest: Manifest, step: RecoveryStep) -> StepOutcome:
    started = time.monotonic()
    found = _attempt(manifest, step)
    if found.verdict in WRONG and not step.required:
        found = replace(found, verdict=Verdict.WARN)
    elif found.verdict in WRONG and not (found.cause and found.fix):
        found = _diagnosed(manifest, found)
    return _outcome(step, found, time.monotonic() - started)


def _attempt(manifest: Manifest, step: RecoveryStep) -> StepVerdict:
    """Return the step's verdict, or ERROR for any exception but NotTrustedError: the recovery reports it and ends."""
    try:
        return run_within(lambda: step.work(manifest), step.timeout_s)
    except NotTrustedError:
        raise
    except ToombosError as error:
        return StepVerdict.of_problem(error.problems[0])
    except OverdueError as error:
        return StepVerdict(verdict=Verdict.ERROR, cause=str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return StepVerdict(verdict=Verdict.ERROR, cause=f"{place}{error.strerror or error}")
    except Exception as error:
        return StepVerdict(verdict=Verdict.ERROR, cause=f"a bug in toombos: {type_and_place(error)}")


def _diagnosed(manifest: Manifest, found: StepVerdict) -> StepVerdict:
    """Return the failure, with cause and fix completed from the first root finding of a diagnosis."""
    try:
        report = run_within(lambda: run_diagnose(manifest, searched_from=manifest.project).report, _DIAGNOSE_TIMEOUT_S)
        roots = [root for root in report.root_findings if root.id not in _OWN_DOING]
    except (ToombosError, OverdueError, OSError):
        roots = []
    roots = [root for root in roots if root.case().verdict in (Verdict.FAIL, Verdict.WARN)]
    first = min(roots, key=lambda root: root.case().verdict is not Verdict.FAIL, default=None)
    if first is None:
        return replace(found, cause=found.cause or "unknown", fix=found.fix or here("diagnose"))
    said = first.reason + (f" ({first.cause})" if first.cause else "")
    return replace(
        found,
        cause="; ".join(part for part in (found.cause, said) if part),
        fix=found.fix or str(first.fix or "") or here("diagnose"),
    )


def _outcome(step: RecoveryStep, found: StepVerdict, duration_s: float) -> StepOutcome:
    return StepOutcome(
        name=step.name,
        command=step.command,
        verdict=found.verdict,
        duration_s=round(duration_s, 3),
        detail=found.detail,
        cause=found.cause,
        fix=found.fix,
    )

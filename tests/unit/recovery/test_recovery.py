"""A recovery runs its steps in order and ends with cause and fix at the first required step that fails."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from toombos_cli.base.errors import LockedError, OperationError
from toombos_cli.base.results import Verdict
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.recovery import run
from toombos_cli.recovery.reports import RecoveryReport, StepOutcome
from toombos_cli.recovery.steps import RecoveryStep, StepVerdict

Work = Callable[[Manifest], StepVerdict]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    (tmp_path / "toombos.toml").write_text('[services.cart]\ncommand = ["true"]\nscheme = "none"\n')
    return load_manifest(tmp_path)


def step(name: str, work: Work, *, required: bool = True) -> RecoveryStep:
    return RecoveryStep(name=name, command=f"do {name}", timeout_s=0.5, work=work, required=required)


def well(_: Manifest) -> StepVerdict:
    return StepVerdict(verdict=Verdict.PASS, detail="well")


def ends_with(verdict: Verdict) -> Work:
    return lambda _: StepVerdict(verdict=verdict, detail="found", cause="why", fix="repair it")


def raises(error: Exception) -> Work:
    def work(_: Manifest) -> StepVerdict:
        raise error

    return work


def hangs(_: Manifest) -> StepVerdict:
    threading.Event().wait()
    raise AssertionError


def recover(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, *steps: RecoveryStep, observed: list[StepOutcome] | None = None
) -> RecoveryReport:
    monkeypatch.setattr(run, "recovery_steps", lambda _: steps)
    monkeypatch.setattr(run, "judge_disk", lambda _: None)
    return run.run_recovery(manifest, on_step=None if observed is None else observed.append)


_CASES = {
    "a failed check": (ends_with(Verdict.FAIL), Verdict.FAIL, "why", "repair it"),
    "a check that could not run": (ends_with(Verdict.ERROR), Verdict.ERROR, "why", "repair it"),
    "an operation error": (
        raises(OperationError("cannot be done", where="data", hint="do it")),
        Verdict.ERROR,
        "data: cannot be done",
        "do it",
    ),
    "a lock that is taken": (
        raises(LockedError("is at work", hint="ps -fp 1")),
        Verdict.ERROR,
        "is at work",
        "ps -fp 1",
    ),
    "an error of the operating system": (
        raises(OSError(28, "No space left on device", "/x")),
        Verdict.ERROR,
        "/x: No space left on device",
        "toombos diagnose",
    ),
    "a timeout inside the step": (raises(TimeoutError(110, "timed out")), Verdict.ERROR, "timed out", ""),
    "a step that hangs": (hangs, Verdict.ERROR, "not done after 0.5 s", ""),
    "a bug, reported without its message": (
        raises(KeyError("secret")),
        Verdict.ERROR,
        "a bug in toombos: KeyError at",
        "",
    ),
}


@pytest.mark.parametrize(("work", "verdict", "cause", "fix"), _CASES.values(), ids=_CASES.keys())
def test_a_failed_required_step_ends_the_recovery(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, work: Work, verdict: Verdict, cause: str, fix: str
) -> None:
    observed: list[StepOutcome] = []
    report = recover(
        manifest, monkeypatch, step("one", well), step("two", work), step("three", well), observed=observed
    )
    assert [outcome.name for outcome in report.steps] == ["one", "two"]
    assert report.not_done == ("three",)
    assert report.verdict is verdict
    assert report.steps == tuple(observed)
    assert report.steps[-1].cause.startswith(cause)
    assert "secret" not in report.steps[-1].cause
    assert fix in report.steps[-1].fix
    assert report.steps[-1].fix


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(ends_with(Verdict.FAIL), id="a failed verdict"),
        pytest.param(raises(OperationError("is missing")), id="an exception"),
        pytest.param(hangs, id="a timeout"),
    ],
)
def test_a_failed_optional_step_is_a_warning(manifest: Manifest, monkeypatch: pytest.MonkeyPatch, work: Work) -> None:
    report = recover(manifest, monkeypatch, step("monitoring", work, required=False), step("last", well))
    assert [outcome.verdict for outcome in report.steps] == [Verdict.WARN, Verdict.PASS]
    assert (report.verdict, report.not_done) == (Verdict.WARN, ())


def test_the_dashboards_are_not_checked_if_monitoring_is_not_up(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = (step("monitoring", ends_with(Verdict.FAIL), required=False), step("dashboards", well, required=False))
    report = recover(manifest, monkeypatch, *steps)
    assert [outcome.name for outcome in report.steps] == ["monitoring"]
    assert report.not_done == ("dashboards",)

"""Which fixes may run unattended, and how they are written: none may harm other work on the machine."""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from toombos_cli.base import fixes
from toombos_cli.base.findings import Finding, fail
from toombos_cli.base.fixes import Fix, toombos
from toombos_cli.base.redaction import Redactor
from toombos_cli.commands import diagnose as command_of
from toombos_cli.diagnose.fixes import run_fix, runnable
from toombos_cli.diagnose.report import DiagnoseReport, FixOutcome
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.project import commands

PROJECT = Path("/srv/shop")

SAFE = {
    "a start": toombos(PROJECT, "start"),
    "a start of one service": toombos(PROJECT, "start", "--dry-run", "crm"),
    "a restart": toombos(PROJECT, "restart", "--changed"),
    "a first .env": toombos(PROJECT, "config", "init"),
    "a reload of monitoring": toombos(PROJECT, "monitoring", "reload"),
    "a signal that continues a stopped process": commands.wake(17, 18),
    "an edit of a settings file": fixes.edit(PROJECT / ".env", 3, "sed -i -E 3s/a/b/ /srv/shop/.env"),
}
NOT_SAFE = {
    "a stop": toombos(PROJECT, "stop"),
    "a restore": toombos(PROJECT, "restore", "--latest-good"),
    "a view of the settings": toombos(PROJECT, "config", "show"),
    "a program": fixes.command("pip", "install", "x"),
    "a line for the user's shell": fixes.shell("unset DRY_RUN_MODE"),
    "more than one program": fixes.shell(f"kill 17; {toombos(PROJECT, 'start')}"),
    "advice": fixes.advice("end what is not needed"),
}


def report(*found: Fix) -> DiagnoseReport:
    roots = tuple(replace(fail("wrong", fix=fix), id=f"check.{number}") for number, fix in enumerate(found))
    return DiagnoseReport(
        project=PROJECT, findings=roots, roots=(), root_findings=roots, duration_s=0.0, checked_at="2026-01-01"
    )


@pytest.mark.parametrize("fix", SAFE.values(), ids=SAFE)
def test_a_safe_fix_is_run(fix: Fix):
    assert [found for _, found in runnable(report(fix))] == [fix]


@pytest.mark.parametrize("fix", NOT_SAFE.values(), ids=NOT_SAFE)
def test_an_unsafe_fix_is_not_run(fix: Fix):
    assert runnable(report(fix)) == ()


def test_a_fix_of_two_causes_runs_once_for_the_first_cause():
    (done,) = runnable(report(SAFE["a start"], SAFE["a start"]))
    assert done[0].id == "check.0"


def test_an_edit_keeps_a_copy_that_can_undo_it(tmp_path):
    env = tmp_path / "my settings"
    env.write_text("A=1\n")
    fix = fixes.edit(env, 1, f"sed -i s/1/2/ '{env}'")
    result = run_fix(fail("wrong", fix=fix), fix, tmp_path, Redactor())
    assert (result.exit_code, env.read_text()) == (0, "A=2\n")
    assert result.undo is not None
    back = fixes.shell(result.undo)
    run_fix(fail("wrong", fix=back), back, tmp_path, Redactor())
    assert env.read_text() == "A=1\n"


def test_copies_of_the_same_second_have_names_of_their_own(tmp_path):
    env = tmp_path / ".env"
    env.write_text("A=1\n")
    for number in range(1, 6):
        fix = fixes.edit(env, 1, f"sed -i s/{number}/{number + 1}/ '{env}'")
        assert run_fix(fail("wrong", fix=fix), fix, tmp_path, Redactor()).exit_code == 0
    assert sorted(copy.read_text() for copy in tmp_path.glob(".env.bak-*")) == [f"A={n}\n" for n in range(1, 6)]


def test_an_edit_that_changes_nothing_has_failed(tmp_path):
    env = tmp_path / ".env"
    env.write_text("A=1\n")
    fix = fixes.edit(env, 1, f"sed -i s/2/3/ '{env}'")
    result = run_fix(fail("wrong", fix=fix), fix, tmp_path, Redactor())
    assert (result.exit_code, "changed nothing" in result.output) == (1, True)


def test_an_edit_that_may_replace_what_is_meant_is_run_only_if_a_person_agrees():
    fix = fixes.edit(PROJECT / ".env", 3, "sed -i -E 3s/a/b/ /srv/shop/.env", safe=False)
    assert runnable(report(fix)) == ()
    assert [found for _, found in runnable(report(fix), ask=True)] == [fix]


def test_words_that_a_shell_would_split_are_quoted():
    fix = toombos(Path("/srv/my shop; rm -rf $HOME"), "start")
    assert fix.command == "toombos --project '/srv/my shop; rm -rf $HOME' start"


DOCUMENTS = {
    "a command": (commands.wake(7), {"command": "kill -CONT 7", "safe": True, "undo": "kill -STOP 7"}),
    "an edit": (fixes.edit(Path("/x"), 1, "sed"), {"command": "sed", "safe": True, "undo": None}),
    "a shell line": (fixes.shell("unset A"), {"command": "unset A", "safe": False, "undo": None}),
    "advice": (fixes.advice("wait"), {"advice": "wait", "safe": False, "undo": None}),
}


@pytest.mark.parametrize(("fix", "document"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_json_shows_a_command_or_advice_and_whether_it_is_safe(fix: Fix, document: dict[str, object]):
    assert fix.document() == document


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (None, "start --dry-run"),
        (SimpleNamespace(mode="dry_run"), "start --dry-run"),
        (SimpleNamespace(mode=None), "start"),
    ],
    ids=[
        "a system that never ran starts dry",
        "a system that ran dry starts dry",
        "a system that ran live starts live",
    ],
)
def test_the_start_command_uses_the_mode_of_the_last_run(tmp_path, last, words):
    (tmp_path / "toombos.toml").write_text('extends = "toombos"\n')
    fix = commands.start(load_manifest(tmp_path), last=last)
    assert fix.command == f"toombos --project {tmp_path} {words}"
    assert fix.undo == f"toombos --project {tmp_path} stop"


@dataclass(frozen=True)
class Reported:
    """The part of a report that fixes are taken from."""

    root_findings: tuple[Finding, ...] = ()
    fixes: tuple[FixOutcome, ...] = ()


@dataclass(frozen=True)
class Looked:
    """One diagnosis: its report, and the facts that were late."""

    report: Reported
    facts: SimpleNamespace
    redactor: Redactor


LATE_LOOKS = {
    "the fix appears when all could be judged": ([True, True, False], 1),
    "nothing was late": ([False, False, False], 0),
    "something is always late": ([True] * 9, 0),
}


@pytest.mark.parametrize(("late", "run"), LATE_LOOKS.values(), ids=LATE_LOOKS)
def test_fixes_are_looked_for_again_if(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: list[bool], run: int):
    root = fail("x", cause="x", fix=fixes.command("true", safe=True))
    looks = [
        Looked(
            Reported((root,) if number and not is_late else ()),
            SimpleNamespace(late=frozenset({"x"} if is_late else ())),
            Redactor(),
        )
        for number, is_late in enumerate(late)
    ]
    monkeypatch.setattr(command_of, "_diagnose", lambda *_: looks.pop(0) if len(looks) > 1 else looks[0])
    invocation = SimpleNamespace(stderr=Console(file=io.StringIO()), project=tmp_path)
    found = command_of._fixed(invocation, looks.pop(0), None, ask=False)  # type: ignore[arg-type]
    assert len(found.report.fixes) == run

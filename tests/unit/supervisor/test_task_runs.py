"""Whether a task has to run again, and what is known of one whose end no supervisor saw."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.state import Phase, RunDirectory, ServiceState
from toombos_cli.project.task_runs import (
    TaskRecord,
    TaskRun,
    add_run,
    at_rest,
    digest_of_inputs,
    read_record,
    why_not_again,
)


def task(**keys: Any) -> Service:
    return msgspec.convert({"name": "migrate", "command": ["x"], "kind": "task"} | keys, Service)


def ran(exit_code: int | None, **more: Any) -> TaskRun:
    given: dict[str, Any] = {"started_at": 1000.0, "took_s": 1.0, "fingerprint": "f", "inputs": "i"} | more
    return TaskRun(exit_code=exit_code, succeeded=exit_code == 0, **given)


def recorded(*runs: TaskRun, project: Path) -> TaskRecord | None:
    run = RunDirectory(project)
    run.create()
    for each in runs:
        add_run(run, "migrate", each)
    return read_record(run, "migrate")


FILES = {"run": "changed", "inputs": ["*.sql"]}
AGAIN: dict[str, tuple[dict[str, Any], tuple[TaskRun, ...], str, str, bool]] = {
    "always: after a success": ({}, (ran(0),), "f", "i", True),
    "once: never before": ({"run": "once"}, (), "f", "i", True),
    "once: after a failure": ({"run": "once"}, (ran(1),), "f", "i", True),
    "once: after a success": ({"run": "once"}, (ran(0),), "other", "other", False),
    "once: after a success and a failure": ({"run": "once"}, (ran(0), ran(1)), "f", "i", False),
    "once: after a success with other arguments": ({"run": "once"}, (ran(0, has_arguments=True),), "f", "i", True),
    "once: after an end that nobody saw": ({"run": "once"}, (ran(None),), "f", "i", True),
    "changed: nothing": (FILES, (ran(0),), "f", "i", False),
    "changed: its table": (FILES, (ran(0),), "other", "i", True),
    "changed: its inputs": (FILES, (ran(0),), "f", "other", True),
    "changed: nothing, and no file matches": (FILES, (ran(0, inputs=""),), "f", "", True),
    "changed: nothing, and no inputs are named": ({"run": "changed"}, (ran(0, inputs=""),), "f", "", False),
    "changed: back to what succeeded before a failure": (FILES, (ran(0), ran(1, inputs="other")), "f", "i", False),
}


@pytest.mark.parametrize(("keys", "runs", "fingerprint", "inputs", "again"), AGAIN.values(), ids=list(AGAIN))
def test_a_task_runs_again(
    tmp_path: Path, keys: dict[str, Any], runs: tuple[TaskRun, ...], fingerprint: str, inputs: str, again: bool
) -> None:
    found = why_not_again(task(**keys), recorded(*runs, project=tmp_path), fingerprint, inputs)
    assert (found is None) is again, found


def test_a_damaged_record_means_that_nothing_is_known(tmp_path: Path) -> None:
    recorded(ran(0), project=tmp_path)
    RunDirectory(tmp_path).task_record("migrate").write_text('{"last": 3}')
    assert read_record(RunDirectory(tmp_path), "migrate") is None


def test_the_digest_of_inputs_depends_on_the_names_and_contents_of_matching_files_alone(tmp_path: Path) -> None:
    service = task(run="changed", inputs=["sql", "*.toml", "deep/**/*.py"], cwd=str(tmp_path))
    assert digest_of_inputs(service) == ""
    (tmp_path / "sql").mkdir()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    seen = [digest_of_inputs(service)]
    changes = (("sql/1.sql", "a"), ("sql/1.sql", "b"), ("sql/.hidden", ""), ("x.toml", "a"), ("deep/er/y.py", "a"))
    for name, text in changes:
        (tmp_path / name).write_text(text)
        seen.append(digest_of_inputs(service))
    assert len(set(seen)) == len(seen)
    (tmp_path / "other.txt").write_text("not one of them")
    (tmp_path / "sql" / "1.sql").touch()
    assert digest_of_inputs(service) == seen[-1]
    (tmp_path / "sql" / "1.sql").rename(tmp_path / "sql" / "2.sql")
    assert digest_of_inputs(service) not in seen


LATER, SAME = 2000.0, 1000.0
ENDS: dict[str, tuple[Phase, float, tuple[TaskRun, ...], Phase]] = {
    "it ran, and there is no record": (Phase.STARTING, SAME, (), Phase.FAILED),
    "it ran, and an older run succeeded": (Phase.STARTING, LATER, (ran(0),), Phase.FAILED),
    "it ran, and its end was recorded": (Phase.STARTING, SAME, (ran(0),), Phase.DONE),
    "it ran, and its failure was recorded": (Phase.STARTING, SAME, (ran(2),), Phase.FAILED),
    "it failed, and a command has run it since": (Phase.FAILED, 500.0, (ran(0),), Phase.DONE),
    "it was done, and a command's run of it failed": (Phase.DONE, 500.0, (ran(2),), Phase.FAILED),
    "it was done, and a command ran it with arguments": (Phase.DONE, 500.0, (ran(2, has_arguments=True),), Phase.DONE),
    "it was done": (Phase.DONE, SAME, (ran(0),), Phase.DONE),
    "it was done and then stopped with the system": (Phase.STOPPED, SAME, (ran(0),), Phase.STOPPED),
    "it was being stopped": (Phase.STOPPING, SAME, (), Phase.STOPPED),
}


@pytest.mark.parametrize(("before", "at", "runs", "after"), ENDS.values(), ids=list(ENDS))
def test_without_a_process_a_task_is_done_only_if_that_is_known(
    tmp_path: Path, before: Phase, at: float, runs: tuple[TaskRun, ...], after: Phase
) -> None:
    recorded(*runs, project=tmp_path)
    entry = ServiceState(service=task(), desired=False, phase=before, started_at=at, pid=0)
    found = at_rest(entry, RunDirectory(tmp_path))
    assert found.phase is after
    if after is Phase.FAILED:
        assert found.detail


def test_a_service_without_a_process_is_stopped_unless_it_failed(tmp_path: Path) -> None:
    service = msgspec.convert({"name": "web", "command": ["x"], "scheme": "none"}, Service)
    for before, after in ((Phase.READY, Phase.STOPPED), (Phase.STARTING, Phase.STOPPED), (Phase.FAILED, Phase.FAILED)):
        entry = ServiceState(service=service, desired=True, phase=before)
        assert at_rest(entry, RunDirectory(tmp_path)).phase is after

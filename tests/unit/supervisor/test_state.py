"""The state file, and how a reader interprets it."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from toombos_cli import processes
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.own_processes import observed
from toombos_cli.project.state import (
    EnvFileStamp,
    Phase,
    RunDirectory,
    ServiceState,
    SystemState,
    read_state,
    run_id_prefix,
)
from toombos_cli.supervisor.state_file import StateFile


def a_state(
    *, boot_id: str | None = None, pid: int = 0, start_ticks: int = 0, phase: Phase = Phase.READY, run_id: str = ""
) -> SystemState:
    service = Service(name="crm", command=("true",), port=8001)
    entry = ServiceState(service=service, desired=True, phase=phase, pid=pid, start_ticks=start_ticks, run_id=run_id)
    return SystemState(
        boot_id=boot_id or processes.boot_id(),
        pid_namespace=processes.pid_namespace(),
        supervisor_pid=1,
        supervisor_start_ticks=1,
        dry_run=True,
        mode="dry_run",
        started_at=0.0,
        env_file=EnvFileStamp(path="", mtime_ns=0, sha256=""),
        services={"crm": entry},
    )


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path)
    made.create()
    return made


def test_a_written_state_is_read_back(run: RunDirectory) -> None:
    StateFile(run).write(a_state())
    assert read_state(run.project) == a_state()
    assert run.state.stat().st_mode & 0o777 == 0o600
    assert run.path.stat().st_mode & 0o777 == 0o700


def test_the_previous_state_is_read_if_the_current_one_is_damaged(run: RunDirectory) -> None:
    StateFile(run).write(a_state(phase=Phase.STOPPED))
    StateFile(run).write(a_state())
    run.state.write_bytes(run.state.read_bytes()[:100])
    assert read_state(run.project) == a_state(phase=Phase.STOPPED)


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 4096, b'{"schema_version": 1}'])
def test_there_is_no_state_if_the_file_is_unreadable(run: RunDirectory, content: bytes) -> None:
    run.state.write_bytes(content)
    assert read_state(run.project) is None


def test_a_write_that_fails_is_remembered_until_one_succeeds(run: RunDirectory) -> None:
    file = StateFile(run)
    file.write(a_state(phase=Phase.STOPPED))
    blocker = run.state.with_name(".state.json.partial")
    blocker.mkdir()
    file.write(a_state())
    assert file.problem is not None
    assert "out of date" in file.problem
    assert read_state(run.project) == a_state(phase=Phase.STOPPED)
    blocker.rmdir()
    file.write(a_state())
    assert file.problem is None
    assert read_state(run.project) == a_state()


@pytest.mark.parametrize(("marked", "phase"), [(True, Phase.UNSUPERVISED), (False, Phase.STOPPED)])
def test_a_live_process_without_a_supervisor_is_unsupervised_if_it_has_the_recorded_tag(
    tmp_path: Path, marked: bool, phase: Phase
) -> None:
    run_id = run_id_prefix(tmp_path, "crm") + "1"
    tag = {processes.TAG: run_id} if marked else {}
    argv = ["sh", "-c", "echo; exec sleep 60"]
    with subprocess.Popen(argv, env=os.environ | tag, stdout=subprocess.PIPE, start_new_session=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = processes.identify(child.pid)
        assert found is not None
        state = observed(tmp_path, a_state(pid=found.pid, start_ticks=found.start_ticks, run_id=run_id))
        assert state.services["crm"].phase is phase
        child.send_signal(signal.SIGKILL)


STRANGERS = {
    "another process has the pid": {"pid": os.getpid(), "start_ticks": 1},
    "the machine was rebooted": {"boot_id": "another", "pid": os.getpid(), "start_ticks": 1},
    "no process has the pid": {"pid": 4_000_000, "start_ticks": 1},
}


@pytest.mark.parametrize("facts", STRANGERS.values(), ids=STRANGERS.keys())
def test_a_pid_that_is_not_the_service_counts_as_stopped(tmp_path: Path, facts: dict[str, object]) -> None:
    state = observed(tmp_path, a_state(**facts))  # type: ignore[arg-type]  # the types of the rows
    assert state.services["crm"].phase is Phase.STOPPED
    assert state.services["crm"].pid == 0


def test_a_crash_loop_is_remembered_after_the_supervisor_ended(tmp_path: Path) -> None:
    assert observed(tmp_path, a_state(phase=Phase.CRASH_LOOP)).services["crm"].phase is Phase.CRASH_LOOP


def test_a_project_with_a_long_path_gets_its_socket_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    run = RunDirectory(deep)
    assert len(str(run.socket)) < 104
    assert run.socket != RunDirectory(deep / "x").socket

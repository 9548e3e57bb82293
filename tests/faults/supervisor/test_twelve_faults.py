"""The twelve supervision faults, each injected into a running system of real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import wait_for
from toombos_cli import processes


def test_1_services_survive_their_supervisor_and_start_adopts_the_same_pids(pair: Any) -> None:
    pair("start", exit_code=0)
    pids = {name: pair.pid(name) for name in ("crm", "app")}
    pair.kill_supervisor()

    assert {name: pair.answer(name) for name in pids} == pids
    shown = pair("status", exit_code=1)
    assert shown.stdout.count("UNSUPERVISED") == 2

    pair("start", exit_code=0)
    assert {name: pair.pid(name) for name in pids} == pids
    assert {row["phase"] for row in pair.status()["services"]} == {"ready"}
    assert pair.status()["supervisor"]["alive"] is True


def test_1_an_adopted_service_that_dies_is_restarted(pair: Any, eventually: Any) -> None:
    pair("start", exit_code=0)
    pair.kill_supervisor()
    pair("start", exit_code=0)
    first = pair.pid("crm")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: pair.phase("crm") == "ready" and pair.pid("crm") not in (0, first))
    assert pair.row("crm")["restarts"] == 1


def test_1_stop_ends_the_services_of_a_dead_supervisor(pair: Any) -> None:
    pair("start", exit_code=0)
    pair.kill_supervisor()
    pair("stop", exit_code=0)
    assert pair.tagged() == {}


def test_2_a_process_that_was_never_recorded_is_found_by_its_tag(system: Any) -> None:
    system.add("crm")
    system("start", exit_code=0)
    pid = system.pid("crm")
    system.kill_supervisor()
    # This is the state if the supervisor dies after the spawn and before it records the pid.
    path = system.project / "run" / "state.json"
    path.write_text(
        path.read_text().replace(f'"pid":{pid}', '"pid":0').replace('"phase":"ready"', '"phase":"starting"')
    )
    system("start", exit_code=0)
    assert system.pid("crm") == pid
    assert list(system.tagged()) == [pid]


def test_2_a_lost_state_file_does_not_cause_a_second_instance(system: Any) -> None:
    system.add("crm")
    system("start", exit_code=0)
    system.kill_supervisor()
    for path in (system.project / "run").glob("state.json*"):
        path.unlink()
    system("start", exit_code=0)
    assert list(system.tagged()) == [system.pid("crm")]


def test_3_ten_concurrent_starts_create_one_supervisor_and_one_instance_of_each_service(pair: Any) -> None:
    starts = [pair.begin("start") for _ in range(10)]
    codes = []
    for start in starts:
        start.communicate(timeout=60)
        codes.append(start.returncode)
    assert codes == [0] * 10
    assert sorted(pair.tagged()) == sorted((pair.pid("crm"), pair.pid("app")))
    assert len(_supervisors(pair.project)) == 1


def test_4_a_child_that_double_forked_into_its_own_session_is_stopped_too(system: Any, tmp_path: Path) -> None:
    escaped = tmp_path / "escaped"
    system.add("crm", env={"ESCAPE": "1", "ESCAPED_PID_FILE": str(escaped)}, grace_period_s=0.5)
    system("start", exit_code=0)
    assert int(escaped.read_text()) in system.tagged()
    system("stop", exit_code=0)
    assert system.tagged() == {}
    assert processes.identify(int(escaped.read_text())) is None


def test_5_a_child_that_ignores_the_signal_is_killed_at_the_deadline(system: Any, tmp_path: Path) -> None:
    worker = tmp_path / "worker"
    system.add("crm", env={"WORKER_IGNORES_TERM": "1", "WORKER_PID_FILE": str(worker)}, grace_period_s=1.0)
    system("start", exit_code=0)
    began = time.monotonic()
    stop = system("stop", exit_code=0)
    assert time.monotonic() - began >= 1.0, "stop must not report success before the child is gone"
    pid = int(worker.read_text())
    assert processes.identify(pid) is None
    assert system.row("crm")["detail"].startswith(f"killed after 1 s: pid {pid} ("), stop.stdout


@pytest.mark.parametrize("fault", ["stopped", "ignores TERM"], ids=["it is suspended", "it ignores SIGTERM"])
def test_6_a_service_that_ignores_signals_is_killed_within_the_grace_period_and_a_second(
    system: Any, fault: str
) -> None:
    system.add("crm", env={"IGNORE_TERM": "1"} if fault == "ignores TERM" else {}, grace_period_s=1.5)
    system("start", exit_code=0)
    pid = system.pid("crm")
    if fault == "stopped":
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    system("stop", exit_code=0)
    command_itself_s = 5.0  # a loaded machine's time to load Python
    assert time.monotonic() - began < 1.5 + 1.0 + command_itself_s
    assert processes.identify(pid) is None


def test_7_a_stranger_that_has_the_recorded_pid_gets_no_signal(system: Any) -> None:
    system.add("crm")
    system("start", exit_code=0)
    ours = system.pid("crm")
    system.kill_supervisor()
    os.kill(ours, signal.SIGKILL)
    with _stranger(system) as stranger:
        path = system.project / "run" / "state.json"
        path.write_text(path.read_text().replace(f'"pid":{ours}', f'"pid":{stranger.pid}'))
        assert system.row("crm")["phase"] == "stopped"
        system("stop", exit_code=0)
        system("start", exit_code=0)
        assert system.pid("crm") != stranger.pid
        system("stop", exit_code=0)
        assert stranger.signals() == []


def test_7_a_stranger_with_matching_ticks_but_without_tag_and_lock_is_not_adopted(system: Any) -> None:
    system.add("crm")
    system("start", exit_code=0)
    ours = system.state()["services"]["crm"]
    system.kill_supervisor()
    os.kill(ours["pid"], signal.SIGKILL)
    with _stranger(system) as stranger:
        identity = processes.identify(stranger.pid)
        assert identity is not None
        path = system.project / "run" / "state.json"
        text = path.read_text().replace(f'"pid":{ours["pid"]}', f'"pid":{stranger.pid}')
        path.write_text(text.replace(f'"start_ticks":{ours["start_ticks"]}', f'"start_ticks":{identity.start_ticks}'))
        system("start", exit_code=0)
        assert system.pid("crm") != stranger.pid
        system("stop", exit_code=0)
        assert stranger.signals() == []


def test_8_start_works_after_a_reboot_despite_a_stale_socket_and_stale_locks(pair: Any) -> None:
    pair("start", exit_code=0)
    pids = [pair.pid("crm"), pair.pid("app")]
    pair.kill_supervisor()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    run = pair.project / "run"
    assert (run / "supervisor.sock").exists()
    assert (run / "services" / "crm.lock").exists()
    path = run / "state.json"
    path.write_text(path.read_text().replace(processes.boot_id(), "00000000-0000-0000-0000-000000000000"))
    pair("start", exit_code=0)
    assert {row["phase"] for row in pair.status()["services"]} == {"ready"}


def test_9_a_foreign_server_on_the_port_is_reported_and_left_alone(pair: Any) -> None:
    with _stranger(pair, port=pair.ports["app"]) as stranger:
        failed = pair("start", exit_code=4)
        assert f"port {pair.ports['app']} is taken by pid {stranger.pid}" in failed.stderr
        assert "web.py" in failed.stderr
        assert pair.tagged() == {}
        assert pair.answer("app") == stranger.pid
        assert stranger.signals() == []


def test_9_a_stranger_that_takes_the_port_during_a_start_is_not_mistaken_for_the_service(system: Any) -> None:
    system.add("crm", env={"START_DELAY_S": "30"})
    start = system.begin("start")
    wait_for(lambda: system.tagged(), within_s=20)
    with _stranger(system, port=system.ports["crm"]) as stranger:
        _, err = start.communicate(timeout=30)
        assert start.returncode == 4
        assert f"pid {stranger.pid}" in err
        assert stranger.signals() == []
    assert system.tagged() == {}


def test_10_a_service_that_always_dies_goes_into_a_crash_loop_and_the_others_keep_running(
    system: Any, tmp_path: Path
) -> None:
    flag = tmp_path / "broken"
    restart = {"backoff_initial_s": 0.05, "backoff_max_s": 0.2, "crash_loop_count": 3, "crash_loop_window_s": 60.0}
    env = {"EXIT_CODE": "7", "EXIT_FLAG": str(flag), "LAST_WORDS": "the disk is made of cheese"}
    system.add("crm", env=env, restart=restart)
    system.add("app")
    system("start", exit_code=0)
    other = system.pid("app")
    flag.touch()
    os.kill(system.pid("crm"), signal.SIGKILL)
    wait_for(lambda: system.phase("crm") == "crash-loop", within_s=20)
    row = system.row("crm")
    assert row["restarts"] == 3
    assert "SIGKILL" in row["restart_history"][0]["reason"]
    assert "exit code 7" in row["restart_history"][-1]["reason"]
    assert "the disk is made of cheese" in row["last_lines"]
    assert "the disk is made of cheese" in system("status", exit_code=1).stdout
    assert system.answer("app") == other


def test_12_stop_cancels_a_slow_start_within_a_second(system: Any) -> None:
    system.add("crm", env={"START_DELAY_S": "45"}, startup_timeout_s=60.0)
    start = system.begin("start")
    wait_for(lambda: system.tagged(), within_s=20)
    began = time.monotonic()
    system("stop", exit_code=0)
    stop_command_s = time.monotonic() - began
    _, err = start.communicate(timeout=10)
    assert start.returncode == 4
    assert "another command stopped it meanwhile" in err
    assert system.tagged() == {}
    assert stop_command_s < 1.0 + 5.0, (
        "stop may take 1 s, plus 5 s to load Python on a busy machine, but not the 45 s of the start"
    )


def test_12_a_restart_during_a_slow_start_leaves_one_instance(system: Any, tmp_path: Path) -> None:
    system.add("crm", env={"START_DELAY_S": "45"}, startup_timeout_s=60.0)
    start = system.begin("start")
    wait_for(lambda: system.tagged(), within_s=20)
    (late,) = system.tagged()
    system.add("crm", env={"START_DELAY_S": "0"})
    system("restart", "crm", exit_code=0)
    start.communicate(timeout=10)
    assert processes.identify(late) is None
    assert list(system.tagged()) == [system.pid("crm")]


class _Stranger:
    """A foreign web server that has the command line of a service and records the signals it gets."""

    def __init__(self, project: Path, port: int) -> None:
        script = Path(__file__).parent.parent / "services" / "web.py"
        self._noted = project / "signals"
        env = {"PORT": str(port), "NOTE_SIGNALS": str(self._noted), "PATH": os.environ["PATH"]}
        self.process = subprocess.Popen([sys.executable, "-P", str(script)], env=env, stdout=subprocess.DEVNULL)
        self.pid = self.process.pid
        wait_for(lambda: processes.listeners_at("127.0.0.1", port), within_s=20)

    def signals(self) -> list[str]:
        """Return the signals recorded so far; a dead stranger got SIGKILL."""
        noted = self._noted.read_text().split() if self._noted.exists() else []
        return [*noted, "SIGKILL"] if self.process.poll() is not None else noted

    def __enter__(self) -> "_Stranger":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def _stranger(system: Any, port: int | None = None) -> _Stranger:
    from socket import create_server

    if port is None:
        with create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
    return _Stranger(system.project, port)


def _supervisors(project: Path) -> list[int]:
    wanted = f"toombos_cli.supervisor {project}"
    return [pid for pid in processes.process_table() if wanted in (processes.command_line(pid) or "")]

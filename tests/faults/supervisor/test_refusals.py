"""Commands that cannot succeed say why, use the right exit code, and leave nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from toombos_cli import processes


def test_a_service_is_not_started_if_its_dependency_fails_and_the_dependency_is_blamed(system: Any) -> None:
    system.add("crm", env={"EXIT_CODE": "9", "LAST_WORDS": "no crm today"})
    system.add("app", depends_on={"crm": "ready"})
    failed = system("start", exit_code=4)
    assert "error: crm: its process ended with exit code 9" in failed.stderr
    assert "no crm today" in failed.stderr
    assert "hint: toombos logs crm" in failed.stderr
    assert not system.log("app").exists(), "app must never have been spawned"
    assert system.tagged() == {}


def test_a_failed_start_leaves_already_running_services_alone(system: Any) -> None:
    system.add("crm")
    system.add("app", env={"EXIT_CODE": "9"})
    system("start", "crm", exit_code=0)
    pid = system.pid("crm")
    system("start", exit_code=4)
    assert system.answer("crm") == pid


def test_a_failed_start_of_all_or_nothing_stops_the_services_that_it_started(system: Any) -> None:
    system.add("crm")
    system.add("app", env={"EXIT_CODE": "9", "START_DELAY_S": "0"}, depends_on={"crm": "ready"})
    failed = system("start", "--all-or-nothing", "--json", exit_code=4)
    data = json.loads(failed.stdout)["data"]
    assert {row["name"]: row["phase"] for row in data["services"]} == {"crm": "stopped", "app": "failed"}
    assert data["failures"][0]["kind"] == "exited"
    assert system.tagged() == {}


@pytest.mark.parametrize("command", ["start", "stop", "restart", "status", "logs"])
def test_an_unknown_service_is_a_usage_error_that_suggests_the_nearest_name(pair: Any, command: str) -> None:
    failed = pair(command, "cmr", exit_code=2)
    assert "no service is named 'cmr'" in failed.stderr
    assert "did you mean 'crm'?" in failed.stderr


def test_circular_dependencies_are_printed_as_a_cycle(system: Any) -> None:
    system.add("crm", depends_on={"app": "started"})
    system.add("app", depends_on={"crm": "started"})
    failed = system("start", exit_code=3)
    assert "dependencies form a cycle" in failed.stderr
    assert "crm -> app -> crm" in failed.stderr or "app -> crm -> app" in failed.stderr
    assert not (system.project / "run").exists()


REFUSED = {
    "the command does not exist": (
        {"command": ["no-such-program"]},
        "its command 'no-such-program' was not found",
        "command",
    ),
    "the command is not executable": (
        {"command": ["./plain.txt"]},
        "its command './plain.txt' is not executable\nhint: chmod +x ",
        "command",
    ),
    "the working directory does not exist": ({"cwd": "gone"}, "does not exist", "directory"),
    "the working directory is a file": ({"cwd": "plain.txt"}, "is not a directory", "directory"),
    "the log directory is a file": ({"log": "plain.txt/crm.log"}, "is a file, not a directory", "log"),
    "the log is a directory": ({"log": "folder"}, "Is a directory", "log"),
}


@pytest.mark.parametrize(("table", "message", "kind"), REFUSED.values(), ids=REFUSED.keys())
def test_a_service_that_cannot_be_spawned_is_reported_with_the_reason(
    system: Any, table: dict[str, Any], message: str, kind: str
) -> None:
    (system.project / "plain.txt").write_text("text")
    (system.project / "folder").mkdir()
    system.add("crm", **table)
    system.add("app")
    failed = system("start", exit_code=4)
    assert "error: crm: " in failed.stderr
    assert message in failed.stderr
    assert system.row("crm")["failure_kind"] == kind
    assert "Traceback" not in failed.stderr
    assert system.tagged() == {}


def test_a_file_that_is_not_a_program_is_reported(system: Any) -> None:
    script = system.project / "broken"
    script.write_bytes(b"\x7fELF this is none")
    script.chmod(0o755)
    system.add("crm", command=["./broken"])
    failed = system("start", exit_code=4)
    assert (
        "its command './broken' cannot be run: it is neither a program for this machine nor a script" in failed.stderr
    )


def test_all_taken_ports_are_reported_at_once(pair: Any) -> None:
    with socket.create_server(("127.0.0.1", pair.ports["crm"])), socket.create_server(("0.0.0.0", pair.ports["app"])):
        failed = pair("start", exit_code=4)
    for port in pair.ports.values():
        assert f"port {port} is taken by pid {os.getpid()}" in failed.stderr


def test_a_port_that_another_toombos_project_uses_is_reported_with_the_command_that_stops_it(
    system: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    system.add("crm")
    system("start", exit_code=0)
    other = type(system)(tmp_path_factory.mktemp("checkout"))
    other.ports["shop"] = system.ports["crm"]
    other.add("shop")
    failed = other("start", exit_code=4)
    assert (
        f"port {system.ports['crm']} is taken by pid {system.pid('crm')} (crm of the toombos project" in failed.stderr
    )
    assert f"hint: toombos --project {system.project} stop crm\n" in failed.stderr
    assert other.tagged() == {}


def test_start_exits_3_and_shows_the_reasons_if_a_service_refuses_its_configuration(system: Any) -> None:
    reasons = '{"level": "CRITICAL", "message": "API_KEY is required in live mode"}'
    env = {"EXIT_CODE": "3", "LAST_WORDS": reasons}
    system.add("crm", env=env, exit_codes_of_invalid_configuration=[3])
    failed = system("start", exit_code=3)
    assert "it refused its configuration (exit code 3)" in failed.stderr
    assert "CRITICAL API_KEY is required in live mode" in failed.stderr
    row = system.row("crm")
    assert (row["restarts"], row["failure_kind"]) == (0, "configuration")


def test_start_gives_up_at_the_deadline_if_a_service_never_becomes_ready(system: Any) -> None:
    system.add("crm", env={"START_DELAY_S": "60"}, startup_timeout_s=0.5)
    failed = system("start", exit_code=4)
    assert f"not ready after 0.5 s: nothing listens on port {system.ports['crm']} yet" in failed.stderr
    assert system.row("crm")["failure_kind"] == "timeout"
    assert system.tagged() == {}


def test_start_reports_the_response_of_a_service_that_is_not_ready(system: Any) -> None:
    (system.project / "status").write_text("503")
    system.add("crm", env={"STATUS_FILE": "status"}, ready="/ready")
    failed = system("start", "--timeout", "1", exit_code=4)
    assert "not ready after 1 s: /ready returned 503" in failed.stderr
    assert system.tagged() == {}


def test_stop_returns_after_the_supervisor_has_exited(system: Any) -> None:
    system.add("crm")
    for _ in range(3):
        system("start", exit_code=0)
        supervisor = int(system.state()["supervisor_pid"])
        system("stop", exit_code=0)
        assert processes.identify(supervisor) is None


def test_two_concurrent_stops_both_succeed(system: Any) -> None:
    system.add("crm", env={"IGNORE_TERM": "1"}, grace_period_s=1.0)
    system("start", exit_code=0)
    stops = [system.begin("stop"), system.begin("stop")]
    for stop in stops:
        stop.communicate(timeout=20)
    assert [stop.returncode for stop in stops] == [0, 0]
    assert system.tagged() == {}


def test_a_restart_during_a_stop_waits_for_the_stop_and_then_starts(system: Any, eventually: Any) -> None:
    system.add("crm", env={"IGNORE_TERM": "1"}, grace_period_s=1.5)
    system("start", exit_code=0)
    first = system.pid("crm")
    stop = system.begin("stop")
    eventually(lambda: system.phase("crm") == "stopping")
    system("restart", exit_code=0)
    stop.communicate(timeout=20)
    assert stop.returncode == 0
    assert system.pid("crm") != first
    assert list(system.tagged()) == [system.pid("crm")]


def test_ctrl_c_undoes_a_start(system: Any, eventually: Any) -> None:
    system.add("crm", env={"START_DELAY_S": "45"}, startup_timeout_s=60.0)
    start = system.begin("start")
    eventually(lambda: system.tagged())
    start.send_signal(signal.SIGINT)
    start.communicate(timeout=10)
    assert start.returncode == 130
    eventually(lambda: not system.tagged())


def test_a_start_with_an_unusable_run_directory_fails_without_a_traceback(system: Any) -> None:
    system.add("crm")
    (system.project / "run").write_text("a file")
    failed = system("start", exit_code=4)
    assert "run" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_dry_run_start_is_refused_if_a_service_runs_live(system: Any) -> None:
    system.add("crm")
    system.add("app")
    system("start", "crm", exit_code=0)
    failed = system("start", "--dry-run", exit_code=5)
    assert "crm runs in live mode" in failed.stderr
    assert "hint: toombos stop && toombos start --dry-run" in failed.stderr


def test_stop_works_even_if_the_manifest_is_broken(pair: Any) -> None:
    pair("start", exit_code=0)
    (pair.project / "toombos.toml").write_text("services = [")
    pair("stop", exit_code=0)
    assert pair.tagged() == {}


def test_a_process_is_never_ended_because_of_its_name_or_port(system: Any, tmp_path: Path) -> None:
    """A process with the command line and the directory of a service survives every command."""
    system.add("crm")
    web = Path(__file__).parent.parent / "services" / "web.py"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    twin = subprocess.Popen([sys.executable, "-P", str(web)], cwd=tmp_path, env=os.environ | {"PORT": str(port)})
    try:
        for command in (["start"], ["restart"], ["stop"], ["stop", "--all"]):
            system(*command, exit_code=0)
        assert twin.poll() is None
        assert processes.identify(twin.pid) is not None
    finally:
        twin.kill()
        twin.wait()

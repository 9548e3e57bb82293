"""What cannot be done is said clearly, with the right exit code, and leaves nothing behind."""

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


def test_a_service_whose_dependency_fails_is_not_started_and_the_cause_is_the_dependency(system: Any) -> None:
    system.add("crm", env={"EXIT_CODE": "9", "LAST_WORDS": "no crm today"})
    system.add("app", depends_on={"crm": "ready"})
    failed = system("start", exit_code=4)
    assert "error: crm: its process ended with exit code 9" in failed.stderr
    assert "no crm today" in failed.stderr
    assert "hint: toombos logs crm" in failed.stderr
    assert not system.log("app").exists(), "app must never have been spawned"
    assert system.tagged() == {}


def test_what_ran_before_a_failed_start_stays(system: Any) -> None:
    system.add("crm")
    system.add("app", env={"EXIT_CODE": "9"})
    system("start", "crm", exit_code=0)
    pid = system.pid("crm")
    system("start", exit_code=4)
    assert system.answer("crm") == pid


def test_what_a_failed_start_began_is_ended_again(system: Any) -> None:
    system.add("crm")
    system.add("app", env={"EXIT_CODE": "9", "START_DELAY_S": "0"}, depends_on={"crm": "ready"})
    failed = system("start", "--json", exit_code=4)
    data = json.loads(failed.stdout)["data"]
    assert {row["name"]: row["phase"] for row in data["services"]} == {"crm": "stopped", "app": "failed"}
    assert data["failures"][0]["kind"] == "exited"
    assert system.tagged() == {}


@pytest.mark.parametrize("command", ["start", "stop", "restart", "status", "logs"])
def test_an_unknown_service_is_a_usage_error_that_names_the_nearest(pair: Any, command: str) -> None:
    failed = pair(command, "cmr", exit_code=2)
    assert "no service is named 'cmr'" in failed.stderr
    assert "did you mean 'crm'?" in failed.stderr


def test_dependencies_in_a_circle_are_printed_as_one(system: Any) -> None:
    system.add("crm", depends_on={"app": "started"})
    system.add("app", depends_on={"crm": "started"})
    failed = system("start", exit_code=3)
    assert "dependencies form a cycle" in failed.stderr
    assert "crm -> app -> crm" in failed.stderr or "app -> crm -> app" in failed.stderr
    assert not (system.project / "run").exists()


REFUSED = {
    "a command that does not exist": (
        {"command": ["no-such-program"]},
        "its command 'no-such-program' was not found",
        "command",
    ),
    "a command that may not be run": (
        {"command": ["./plain.txt"]},
        "its command './plain.txt' was not found",
        "command",
    ),
    "a working directory that is gone": ({"cwd": "gone"}, "does not exist", "directory"),
    "a working directory that is a file": ({"cwd": "plain.txt"}, "is not a directory", "directory"),
    "a log directory that is a file": ({"log": "plain.txt/crm.log"}, "is a file, not a directory", "log"),
    "a log that is a directory": ({"log": "folder"}, "Is a directory", "log"),
}


@pytest.mark.parametrize(("table", "said", "kind"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_spawned_is_named(system: Any, table: dict[str, Any], said: str, kind: str) -> None:
    (system.project / "plain.txt").write_text("text")
    (system.project / "folder").mkdir()
    system.add("crm", **table)
    system.add("app")
    failed = system("start", exit_code=4)
    assert "error: crm: " in failed.stderr
    assert said in failed.stderr
    assert system.row("crm")["failure_kind"] == kind
    assert "Traceback" not in failed.stderr
    assert system.tagged() == {}


def test_a_program_that_is_no_program_is_named(system: Any) -> None:
    script = system.project / "broken"
    script.write_bytes(b"\x7fELF this is none")
    script.chmod(0o755)
    system.add("crm", command=["./broken"])
    failed = system("start", exit_code=4)
    assert "its command './broken' cannot be run: Exec format error" in failed.stderr


def test_all_taken_ports_are_named_at_once(pair: Any) -> None:
    with socket.create_server(("127.0.0.1", pair.ports["crm"])), socket.create_server(("0.0.0.0", pair.ports["app"])):
        failed = pair("start", exit_code=4)
    for port in pair.ports.values():
        assert f"port {port} is taken by pid {os.getpid()}" in failed.stderr


def test_a_port_that_another_project_of_toombos_has_is_told_with_the_command_that_stops_it_there(
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


def test_a_service_that_refuses_its_configuration_makes_exit_3_and_shows_its_reasons(system: Any) -> None:
    reasons = '{"level": "CRITICAL", "message": "API_KEY is required in live mode"}'
    env = {"EXIT_CODE": "3", "LAST_WORDS": reasons}
    system.add("crm", env=env, exit_codes_of_invalid_configuration=[3])
    failed = system("start", exit_code=3)
    assert "it refused its configuration (exit code 3)" in failed.stderr
    assert "CRITICAL API_KEY is required in live mode" in failed.stderr
    row = system.row("crm")
    assert (row["restarts"], row["failure_kind"]) == (0, "configuration")


def test_a_service_that_never_gets_ready_is_given_up_at_its_deadline(system: Any) -> None:
    system.add("crm", env={"START_DELAY_S": "60"}, startup_timeout_s=0.5)
    failed = system("start", exit_code=4)
    assert f"not ready after 0.5 s: nothing listens on port {system.ports['crm']} yet" in failed.stderr
    assert system.row("crm")["failure_kind"] == "timeout"
    assert system.tagged() == {}


def test_the_answer_of_a_service_that_is_not_ready_is_named(system: Any) -> None:
    (system.project / "status").write_text("503")
    system.add("crm", env={"STATUS_FILE": "status"}, ready="/ready")
    failed = system("start", "--timeout", "1", exit_code=4)
    assert "not ready after 1 s: /ready returned 503" in failed.stderr
    assert system.tagged() == {}


def test_after_a_stop_the_supervisor_is_gone_and_the_directory_free(system: Any) -> None:
    system.add("crm")
    for _ in range(3):
        system("start", exit_code=0)
        supervisor = int(system.state()["supervisor_pid"])
        system("stop", exit_code=0)
        assert processes.identify(supervisor) is None


def test_two_stops_at_once_both_succeed(system: Any) -> None:
    system.add("crm", env={"IGNORE_TERM": "1"}, grace_period_s=1.0)
    system("start", exit_code=0)
    stops = [system.begin("stop"), system.begin("stop")]
    for stop in stops:
        stop.communicate(timeout=20)
    assert [stop.returncode for stop in stops] == [0, 0]
    assert system.tagged() == {}


def test_restart_during_a_stop_waits_for_it_and_then_starts(system: Any, eventually: Any) -> None:
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


def test_ctrl_c_on_a_start_undoes_it(system: Any, eventually: Any) -> None:
    system.add("crm", env={"START_DELAY_S": "45"}, startup_timeout_s=60.0)
    start = system.begin("start")
    eventually(lambda: system.tagged())
    start.send_signal(signal.SIGINT)
    start.communicate(timeout=10)
    assert start.returncode == 130
    eventually(lambda: not system.tagged())


def test_a_failed_start_over_an_unwritable_run_directory_says_so(system: Any) -> None:
    system.add("crm")
    (system.project / "run").write_text("a file")
    failed = system("start", exit_code=4)
    assert "run" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_starting_dry_what_runs_live_is_refused(system: Any) -> None:
    system.add("crm")
    system.add("app")
    system("start", "crm", exit_code=0)
    failed = system("start", "--dry-run", exit_code=5)
    assert "crm runs in live mode" in failed.stderr
    assert "hint: toombos stop && toombos start --dry-run" in failed.stderr


def test_stop_works_with_a_manifest_that_was_broken_meanwhile(pair: Any) -> None:
    pair("start", exit_code=0)
    (pair.project / "toombos.toml").write_text("services = [")
    pair("stop", exit_code=0)
    assert pair.tagged() == {}


def test_no_process_is_ended_for_its_name_or_its_port(system: Any, tmp_path: Path) -> None:
    """A process with the very command line of a service, in the same directory, survives every command."""
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

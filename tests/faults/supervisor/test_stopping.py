"""How services are asked to end, and how a forced kill is reported."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.runner import data_of

SAVES = """
import os, signal, sys, time
def save(number, _):
    print("saved on", signal.Signals(number).name, flush=True)
    os._exit(0)
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), save)
print("serving", flush=True)
while True:
    time.sleep(1000)
"""
PASSES_NOTHING_ON = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: None)
subprocess.run([sys.executable, "saves.py", "SIGTERM"])
"""
BASH_WITH_A_TRAP = '#!/bin/bash\ntrap "exit 0" TERM\n{python} saves.py SIGTERM\n'

WRAPPERS: dict[str, tuple[list[str], str | None, str]] = {
    "a bash script with a trap": (["bash", "run.sh"], None, "SIGTERM"),
    "a shell with another command after the server": (
        ["sh", "-c", "{python} saves.py SIGTERM; true"],
        None,
        "SIGTERM",
    ),
    "a shell that waits for the server": (["sh", "-c", "{python} saves.py SIGTERM & wait"], None, "SIGTERM"),
    "a shell that ignores SIGTERM": (["bash", "-c", "trap '' TERM; {python} saves.py SIGTERM; true"], None, "SIGTERM"),
    "a shell that passes the signal on": (
        ["bash", "-c", "trap 'kill \"$child\"' TERM; {python} saves.py SIGTERM & child=$!; wait; wait"],
        None,
        "SIGTERM",
    ),
    "a program that passes nothing on": (["{python}", "passes.py"], None, "SIGTERM"),
    "npm run": (["npm", "run", "--silent", "serve"], None, "SIGTERM"),
    "a server that ends on SIGINT": (["{python}", "saves.py", "SIGINT"], "INT", "SIGINT"),
    "a server that ends on SIGQUIT": (["{python}", "saves.py", "SIGQUIT"], "QUIT", "SIGQUIT"),
    "a server that ends on SIGHUP": (["{python}", "saves.py", "SIGHUP"], "HUP", "SIGHUP"),
    "a server that ends on SIGUSR1": (["{python}", "saves.py", "SIGUSR1"], "USR1", "SIGUSR1"),
    "a wrapper around a server that ends on SIGQUIT": (
        ["bash", "-c", "trap 'exit 0' QUIT; {python} saves.py SIGQUIT"],
        "QUIT",
        "SIGQUIT",
    ),
    "a server that ignores the stop signal and obeys SIGTERM": (
        ["{python}", "saves.py", "SIGTERM"],
        "WINCH",
        "SIGTERM",
    ),
}


@pytest.fixture
def programs(system: Any) -> Any:
    """The system with the programs of the wrappers in its directory."""
    system.project.joinpath("saves.py").write_text(SAVES)
    system.project.joinpath("passes.py").write_text(PASSES_NOTHING_ON)
    system.project.joinpath("run.sh").write_text(BASH_WITH_A_TRAP.format(python=sys.executable))
    package = {"name": "made-up", "scripts": {"serve": f"{sys.executable} saves.py SIGTERM"}}
    system.project.joinpath("package.json").write_text(json.dumps(package))
    return system


def worker(system: Any, command: list[str], **table: Any) -> None:
    needs(command[0]) if command[0] != "{python}" else None
    system.add("w", command=command, scheme="none", port=0, **table)


@pytest.mark.parametrize("verb", ["stop", "restart"])
@pytest.mark.parametrize(("command", "stop_signal", "saved"), WRAPPERS.values(), ids=WRAPPERS.keys())
def test_every_process_is_asked_before_any_is_killed(
    programs: Any, eventually: Any, command: list[str], stop_signal: str | None, saved: str, verb: str
) -> None:
    worker(programs, command, grace_period_s=6.0, **({"stop_signal": stop_signal} if stop_signal else {}))
    programs("start", exit_code=0)
    eventually(lambda: "serving" in programs.log("w").read_text())
    done = programs(verb, exit_code=0)
    assert f"saved on {saved}" in programs.log("w").read_text()
    assert "killed" not in done.stdout + done.stderr


def test_a_wrapper_that_waits_for_its_server_stops_long_before_the_grace_period_ends(
    programs: Any, eventually: Any
) -> None:
    worker(programs, ["bash", "run.sh"], grace_period_s=30.0)
    programs("start", exit_code=0)
    eventually(lambda: "serving" in programs.log("w").read_text())
    began = time.monotonic()
    programs("stop", exit_code=0)
    assert time.monotonic() - began < 10
    assert "saved on SIGTERM" in programs.log("w").read_text()


def deaf_to_everything(system: Any, **table: Any) -> None:
    command = ["bash", "-c", "trap '' TERM; while :; do sleep 0.1; done"]
    system.add("w", command=command, scheme="none", port=0, grace_period_s=0.6, **table)


@pytest.mark.parametrize("verb", [["stop"], ["stop", "w"], ["restart"], ["restart", "w"]], ids=" ".join)
def test_a_forced_kill_is_reported_by_the_command_that_caused_it(system: Any, verb: list[str]) -> None:
    deaf_to_everything(system)
    system("start", exit_code=0)
    pid = system.pid("w")
    done = system(*verb, exit_code=0)
    assert f"warning: w: pid {pid} (bash -c " in done.stderr
    assert "did not end within 0.6 s of SIGTERM and was killed" in done.stderr
    assert "grace_period_s" in done.stderr
    system("start", exit_code=0)
    pid = system.pid("w")
    done = system(*verb, "--json", exit_code=0)
    assert json.loads(done.stdout)["verdict"] == "warn"
    (ended,) = data_of(done)["ended"]
    assert (ended["service"], ended["pid"], ended["stop_signal"]) == ("w", pid, "SIGTERM")
    assert pid in [killed["pid"] for killed in ended["killed"]]
    assert ended["grace_period_s"] == 0.6


def test_a_restore_and_a_recovery_report_whom_they_killed(system: Any) -> None:
    deaf_to_everything(system)
    system("start", exit_code=0)
    system("backup", exit_code=0)
    done = system("restore", "--latest-good", "--yes", exit_code=0)
    assert "warning: w: pid " in done.stderr
    assert "did not end within 0.6 s of SIGTERM and was killed" in done.stderr
    done = system("recover")
    assert re.search(r"WARN +stop .* w: pid \d+ .* was killed", done.stdout)
    assert "hint: a larger grace_period_s or another stop_signal in [services.w]" in done.stderr


def test_a_start_that_undoes_itself_reports_whom_it_killed(system: Any) -> None:
    deaf_to_everything(system)
    system.add("broken", command=["false"], scheme="none", port=0, depends_on=["w"])
    done = system("start", "--all-or-nothing", exit_code=4)
    assert "warning: w: pid " in done.stderr
    assert "was killed" in done.stderr


def test_a_start_that_gives_up_reports_whom_it_killed(system: Any) -> None:
    system.add("w", env={"IGNORE_TERM": "1", "START_DELAY_S": "30"}, startup_timeout_s=2.0, grace_period_s=0.6)
    done = system("start", exit_code=4)
    assert "warning: w: pid " in done.stderr
    assert "was killed" in done.stderr


COMMANDS: dict[str, tuple[list[str], str]] = {
    "one that asks the service": (["{python}", "ask.py"], "saved on SIGUSR1"),
    "one that asks and returns before the service ends": (["sh", "-c", "kill -USR1 $MAINPID"], "saved on SIGUSR1"),
    "one that fails": (["false"], "saved on SIGTERM"),
    "one that never ends": (["sleep", "98765"], "saved on SIGTERM"),
    "one that does nothing": (["true"], "saved on SIGTERM"),
}


@pytest.mark.parametrize(("stop_command", "said"), COMMANDS.values(), ids=COMMANDS.keys())
def test_a_stop_command_is_run_first_and_the_signal_follows_if_it_does_not_help(
    programs: Any, eventually: Any, stop_command: list[str], said: str
) -> None:
    (programs.project / "place").mkdir()
    (programs.project / "place" / "ask.py").write_text(
        "import os, signal\nprint('asking in', os.getcwd(), os.environ['COLOUR'], flush=True)\n"
        "os.kill(int(os.environ['MAINPID']), signal.SIGUSR1)\n"
    )
    worker(
        programs,
        ["{python}", "../saves.py", "SIGTERM", "SIGUSR1"],
        cwd="place",
        env={"COLOUR": "green"},
        stop_command=stop_command,
        grace_period_s=3.0,
    )
    programs("start", exit_code=0)
    eventually(lambda: "serving" in programs.log("w").read_text())
    began = time.monotonic()
    done = programs("stop", exit_code=0)
    assert time.monotonic() - began < 6
    text = programs.log("w").read_text()
    assert said in text
    if "ask.py" in stop_command:
        assert f"asking in {programs.project}/place green" in text
    failed = "stop_command ended with exit code 1" in done.stderr
    assert failed == (stop_command == ["false"])
    assert programs.tagged() == {}
    assert stop_command[0] != "sleep" or not _alive(stop_command)


def test_a_stop_command_that_does_not_exist_is_refused_before_anything_starts(system: Any) -> None:
    system.add("w", command=["sleep", "99"], scheme="none", port=0, stop_command=["no-such-program"])
    done = system("start", exit_code=4)
    assert "its stop_command 'no-such-program' was not found" in done.stderr
    assert system.tagged() == {}


WRONG = {
    "a full name": ('stop_signal = "SIGINT"', "did you mean 'INT'?"),
    "lower case": ('stop_signal = "quit"', "did you mean 'QUIT'?"),
    "a signal that cannot be caught": ('stop_signal = "KILL"', "'KILL' is not one of TERM, INT, QUIT"),
    "a shell line": ('stop_command = "pg_ctl stop"', "stop_command"),
    "a NUL": ('stop_command = ["a\\u0000b"]', "NUL"),
}


@pytest.mark.parametrize(("line", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_way_to_stop_is_refused_at_load(system: Any, line: str, said: str) -> None:
    manifest = f'[services.w]\ncommand = ["sleep", "99"]\nscheme = "none"\n{line}\n'
    (system.project / "toombos.toml").write_text(manifest)
    assert said in system("config", "check", exit_code=3).stderr


def _alive(argv: list[str]) -> list[str]:
    """Return the pids of the processes with this command line."""
    wanted = b"\0".join(word.encode() for word in argv) + b"\0"
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes() == wanted:
                    found.append(entry.name)
            except OSError:
                continue
    return found


@pytest.fixture
def database(system: Any) -> Iterator[tuple[Any, str]]:
    """A system whose service `db` is a real PostgreSQL, and the directory of its socket."""
    search = ("usr/lib/postgresql/*/bin",)
    initdb, postgres = needs("initdb", search=search), needs("postgres", search=search)
    home = mkdtemp(prefix="pg-")
    become: list[str] = []
    if os.geteuid() == 0:
        become = [needs("setpriv"), "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
        shutil.chown(home, "postgres")
    made = [*become, initdb, "-D", f"{home}/data", "-U", "owner", "-A", "trust"]
    subprocess.run(made, check=True, capture_output=True, cwd=home)
    port = free_port()
    command = [*become, postgres, "-D", f"{home}/data", "-k", home, "-h", "127.0.0.1", "-p", str(port)]
    system.add("db", command=command, scheme="tcp", port=port, stop_signal="INT", grace_period_s=20.0)
    try:
        yield system, home
    finally:
        system.clean_up()
        shutil.rmtree(home)


def test_postgresql_with_a_connected_client_stops_without_a_crash_recovery(database: tuple[Any, str]) -> None:
    import psycopg

    system, home = database
    system("start", exit_code=0)
    port = system.state()["services"]["db"]["service"]["port"]
    for verb in ("restart", "stop"):
        with psycopg.connect(host=home, port=port, user="owner", dbname="postgres") as client:
            client.execute("select 1")
            done = system(verb, exit_code=0)
            assert "killed" not in done.stderr
            client.close()
    system("start", exit_code=0)
    log = system.log("db").read_text()
    assert log.count("received fast shutdown request") == 2
    assert "not properly shut down" not in log
    assert "was interrupted" not in log


def test_nginx_finishes_a_response_on_quit(system: Any, eventually: Any) -> None:
    import socket

    nginx = needs("nginx", search=("usr/sbin",))
    place, port = system.project, free_port()
    (place / "www").mkdir()
    (place / "www" / "big").write_bytes(b"x" * 20_000_000)
    (place / "nginx.conf").write_text(
        f"pid {place}/nginx.pid; error_log stderr notice; daemon off; worker_processes 1;"
        + ("user root;" if os.geteuid() == 0 else "")
        + f"events {{}} http {{ access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;"
        f" fastcgi_temp_path {place}/fcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;"
        f" server {{ listen 127.0.0.1:{port}; root {place}/www; }} }}"
    )
    command = [nginx, "-e", "stderr", "-c", str(place / "nginx.conf")]
    system.add("web", command=command, port=port, health="/big", stop_signal="QUIT", grace_period_s=10.0)
    system("start", exit_code=0)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /big HTTP/1.0\r\n\r\n")
        received = len(client.recv(1000))
        stop = system.begin("stop")
        eventually(lambda: "shutting down" in system.log("web").read_text())
        while part := client.recv(1_000_000):
            received += len(part)
    assert stop.communicate(timeout=20)[1] == ""
    assert stop.returncode == 0
    assert received > 20_000_000

"""What a parent process hands down: blocked and ignored signals, closed streams, and text that is not UTF-8."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import System
from tests.support.runner import TOOMBOS, clean_environment, run_toombos
from toombos_cli import processes

PARENT = """
import signal, subprocess, sys
{does}
sys.exit(subprocess.call(sys.argv[1:]))
"""
PARENTS = {
    "blocks SIGCHLD and SIGTERM": "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})",
    "blocks every signal": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "ignores SIGQUIT, SIGINT, SIGHUP and SIGUSR1": (
        "for s in (3, 2, 1, 10): signal.signal(s, signal.SIG_IGN)  # as `nohup` and `&` in a script do"
    ),
    "ignores SIGCHLD": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "ignores SIGTERM": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
}


THE_C_LIBRARYS_OWN = 0b11 << 31


def masks(pid: int) -> dict[str, int]:
    """Return the blocked and ignored signals of a process as bits."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {
        key: int(value, 16)
        for key, _, value in (line.partition(":\t") for line in lines)
        if key in ("SigBlk", "SigIgn")
    }


@pytest.mark.parametrize("way", ["detached", "in the foreground"])
@pytest.mark.parametrize("does", PARENTS.values(), ids=PARENTS.keys())
def test_services_and_supervisor_begin_with_every_signal_as_at_a_login(
    system: System, eventually: Callable[..., None], does: str, way: str
) -> None:
    system.add("s", command=["sleep", "600"], scheme="none", port=0)
    parent = [sys.executable, "-c", PARENT.format(does=does)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = system.begin("start", *(["--foreground"] if way == "in the foreground" else []), through=parent, **quiet)
    if way == "detached":
        assert started.wait(30) == 0
    else:
        eventually(lambda: (system.project / "run/state.json").exists() and system.phase("s") == "ready")
    pid = system.pid("s")
    assert masks(pid)["SigBlk"] == 0
    assert masks(pid)["SigIgn"] & ~THE_C_LIBRARYS_OWN == 0
    assert masks(int(system.state()["supervisor_pid"]))["SigBlk"] == 0
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: system.came_back("s") and system.pid("s") != pid)
    supervisor = int(system.state()["supervisor_pid"])
    os.kill(supervisor, signal.SIGTERM)
    eventually(lambda: processes.identify(supervisor) is None)
    started.wait(30)
    assert system.tagged() == {}


COMMANDS = {
    "--help": 0,
    "no-such-command": 2,
    "config check": 0,
    "start": 0,
    "status --json": 0,
    "health --quiet": 0,
    "health --format nagios": 0,
    "diagnose": 0,
    "backup": 0,
    "restart": 0,
    "logs": 0,
    "stop": 0,
}
CLOSED = {"stdout": (1,), "stderr": (2,), "all three": (0, 1, 2)}


def run_with_closed(system: System, line: str, closed: tuple[int, ...]) -> Any:
    """Run `toombos LINE` with these descriptors closed."""
    shell = "exec " + " ".join(map(repr, TOOMBOS)) + f" {line} " + " ".join(f"{fd}>&-" for fd in closed)
    return subprocess.run(
        ["sh", "-c", shell],
        cwd=system.project,
        env=clean_environment(),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("closed", CLOSED.values(), ids=CLOSED.keys())
def test_a_closed_stream_changes_no_exit_code(system: System, closed: tuple[int, ...]) -> None:
    system.add("s")
    for line, exit_code in COMMANDS.items():
        done = run_with_closed(system, line, closed)
        assert (line, done.returncode) == (line, exit_code), done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        if line in ("start", "restart"):
            assert system.answer("s") == system.pid("s")
    assert system.tagged() == {}


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "JSON"])
def test_a_full_stdout_is_named_and_is_no_verdict_on_the_system(system: System, as_json: bool) -> None:
    system.add("s")
    for line in ("--help", "--version", "start", "status", "health", "logs", "events", "config check", "stop"):
        with open("/dev/full", "w") as full:  # noqa: PTH123  (a device)
            words = [*line.split(), *(["--json"] if as_json else [])]
            done = run_toombos(*words, cwd=system.project, stdout=full, stderr=subprocess.PIPE)
        named = "error: /dev/full: cannot be written: No space left on device\n"
        assert (line, done.returncode, done.stderr.endswith(named)) == (line, 4, True), done.stderr
        assert "Traceback" not in done.stderr
    assert system.tagged() == {}


def test_a_start_with_closed_streams_writes_into_no_file_of_the_project(system: System) -> None:
    system.add("s")
    assert run_with_closed(system, "start --json", (0, 1, 2)).returncode == 0
    assert system.row("s")["phase"] == "ready"
    assert "verdict" not in (system.project / "run" / "supervisor.log").read_text()
    assert system.log("s").read_text() == "hello from web\n"


VARIABLES: dict[str, tuple[bytes, bytes]] = {
    "a value in Latin-1": (b"X", b"caf\xe9"),
    "a name in Latin-1": (b"X\xe9", b"value"),
    "a value of every byte": (b"X", bytes(range(1, 256))),
    "a surrogate in UTF-8": (b"X", b"\xed\xa0\x80"),
}


@pytest.mark.parametrize(("name", "value"), VARIABLES.values(), ids=VARIABLES.keys())
def test_an_environment_that_is_not_utf_8_reaches_the_service_unchanged(
    system: System, eventually: Callable[..., None], name: bytes, value: bytes
) -> None:
    system.add("s", command=["sleep", "600"], scheme="none", port=0)
    odd = {os.fsdecode(name): os.fsdecode(value)}
    for verb in ("start", "restart", "diagnose", "stop"):
        done = system(verb, env=odd, exit_code=0, errors="replace")
        assert "bug" not in done.stderr
        if verb in ("start", "restart"):
            environment = Path(f"/proc/{system.pid('s')}/environ").read_bytes().split(b"\0")
            assert name + b"=" + value in environment
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    foreground = system.begin("start", "--foreground", env=odd, **quiet)
    eventually(lambda: system.phase("s") == "ready")
    assert name + b"=" + value in Path(f"/proc/{system.pid('s')}/environ").read_bytes().split(b"\0")
    foreground.terminate()
    assert foreground.wait(30) == 143


MANIFEST = """
[services.s]
command = ["sleep", "600"]
scheme = "none"
"""
IN_AN_ODD_PLACE = (
    "start",
    "status --json",
    "restart --changed",
    "health",
    "smoke",
    "diagnose",
    "config init",
    "diagnose --bundle report.zst",
    "diagnose --from report.zst",
    "diagnose --html report.html",
    "config check",
    "events",
    "logs",
    "exec s -- true",
    "schedule show",
    "schedule install --print",
    "alert send --severity P3 text",
    "alert status",
    "backup",
    "backup list",
    "restore --latest-good --yes",
    "recover",
    "stop",
)


def test_every_command_works_in_a_directory_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    project = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    project.mkdir()
    assert run_toombos("config", "init", "--manifest", cwd=project, errors="replace").returncode == 0
    (project / "toombos.toml").write_text(MANIFEST)
    (project / "data").mkdir()
    (project / "data" / "file").write_text("content")
    try:
        for line in IN_AN_ODD_PLACE:
            done = run_toombos(*line.split(), cwd=project, errors="replace")
            assert "bug" not in done.stderr, (line, done.stderr)
            assert "Error" not in done.stderr, (line, done.stderr)
            if line.split()[0] in ("start", "status", "restart", "health", "stop", "recover", "config"):
                assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert "Traceback" not in (project / "run" / "supervisor.log").read_text()
    finally:
        run_toombos("stop", cwd=project, errors="replace")

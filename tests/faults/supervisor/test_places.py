"""Supervision on a full disk, as an ordinary user, as PID 1 of a container, and in the foreground."""

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import obeying_file_modes
from tests.support.runner import run_toombos
from toombos_cli import processes
from toombos_cli.project.state import RunDirectory


@contextlib.contextmanager
def small_disk(directory: Path, size_kb: int) -> Iterator[None]:
    """Mount a small file system at `directory`; skip the test if mounting is not allowed."""
    directory.mkdir(exist_ok=True)
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={size_kb}k,mode=700", "tmpfs", str(directory)]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def test_11_on_a_full_disk_services_keep_running_the_old_state_stays_and_everything_recovers(
    pair: Any, eventually: Any
) -> None:
    run, logs = pair.project / "run", pair.project / "logs"
    with small_disk(run, 64), small_disk(logs, 64):
        pair("start", exit_code=0)
        before = pair.state()
        for directory in (run, logs):
            with contextlib.suppress(OSError), (directory / "ballast").open("wb", buffering=0) as ballast:
                while True:
                    ballast.write(b"x" * 4096)
        first = pair.pid("crm")
        os.kill(first, signal.SIGKILL)
        eventually(lambda: pair.row("crm")["phase"] == "ready" and pair.row("crm")["pid"] != first)
        assert pair.state() == before, "the old state file must stay intact"
        shown = pair("status")
        assert "No space left on device" in shown.stderr
        assert "out of date" in shown.stderr
        assert pair.answer("app") == before["services"]["app"]["pid"]

        for directory in (run, logs):
            (directory / "ballast").unlink()
        eventually(lambda: pair.pid("crm") == pair.row("crm")["pid"], within_s=20)
        assert "No space left" not in pair("status", exit_code=0).stderr
        pair("stop", exit_code=0)
        assert pair.tagged() == {}


def test_a_start_on_a_full_disk_succeeds_or_fails_completely(system: Any) -> None:
    system.add("crm")
    with small_disk(system.project / "run", 16):
        with contextlib.suppress(OSError), (system.project / "run" / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(b"x" * 4096)
        started = system("start")
        assert "Traceback" not in started.stderr
        assert (started.returncode == 0) == (len(system.tagged()) == 1)
        system("stop", exit_code=0)
        assert system.tagged() == {}


PID_1 = """
import json, os, signal, subprocess, sys, time
os.makedirs("logs", exist_ok=True)
pid = os.fork()
if pid == 0:
    # Some time later, from inside the container.
    while not os.path.exists("run/state.json") or '"phase":"ready"' not in open("run/state.json").read():
        time.sleep(0.02)
    for _ in range(20):  # orphans that only PID 1 can reap
        subprocess.run(["sh", "-c", "sleep 0.05 & exit"])
    time.sleep(0.5)
    states = [open(f"/proc/{n}/stat").read().rsplit(")", 1)[1].split()[0] for n in os.listdir("/proc") if n.isdigit()]
    with open("zombies", "w") as file:
        file.write(str(states.count("Z")))
    os.kill(1, signal.SIGTERM)
    os._exit(0)
os.execv(sys.executable, [sys.executable, "-P", "-m", "toombos_cli", "start", "--foreground"])
"""


def test_toombos_as_pid_1_reaps_orphans_and_stops_all_services_on_sigterm(pair: Any) -> None:
    unshare = shutil.which("unshare")
    namespace = [unshare or "unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if unshare is None or subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to make a pid namespace with unshare")
    ended = subprocess.run(
        [*namespace, sys.executable, "-P", "-c", PID_1],
        cwd=pair.project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 128 + signal.SIGTERM, ended.stderr
    assert (pair.project / "zombies").read_text() == "0"
    assert "crm | hello from web" in ended.stdout
    state = pair.state()
    assert {entry["phase"] for entry in state["services"].values()} == {"stopped"}


def ordinary_user() -> list[str]:
    """Return a command prefix that drops root's rights.

    The command runs as nobody if nobody can read this installation, else as a user without capabilities in a new
    user namespace.
    """
    ways = (
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
        ["unshare", "--user", "--map-user=1000", "--map-group=1000"],
    )
    # The user must be able to start the interpreter again: the exec of setpriv still finds it with root's rights.
    again = "import os, subprocess, sys, toombos_cli, typer; os.getuid() or exit(1); subprocess.check_call(%r)"
    probe = [sys.executable, "-P", "-c", again % [sys.executable, "-c", "import subprocess"]]
    for way in ways:
        if shutil.which(way[0]) and subprocess.run([*way, *probe], check=False, capture_output=True).returncode == 0:
            return way
    pytest.skip("needs setpriv or unshare, and the right to become an ordinary user")


AS_USER = """
import json, os, signal, subprocess, sys

def toombos(*args):
    done = subprocess.run([sys.executable, "-P", "-m", "toombos_cli", *args], capture_output=True, text=True)
    return [done.returncode, done.stderr]

def pids():
    services = json.load(open("run/state.json"))["services"]
    return [services[name]["pid"] for name in ("crm", "app")]

results = {"start": toombos("start")}
first = pids()
results["rights"] = [open(f"/proc/{pid}/status").read().split("CapEff:")[1].split()[0] for pid in first]
os.kill(json.load(open("run/state.json"))["supervisor_pid"], signal.SIGKILL)
results["status"], results["again"] = toombos("status"), toombos("start")
results["same"] = pids() == first
results["stop"] = toombos("stop")
print(json.dumps(results))
"""


def test_the_supervisor_works_for_an_ordinary_user(pair: Any, tmp_path: Path) -> None:
    user = ordinary_user()
    if user[0] == "setpriv":
        os.chown(tmp_path, 65_534, 65_534)
        for parent in tmp_path.parents:
            if parent.name.startswith(("pytest-", "popen-")):
                parent.chmod(0o711)
    command = [*user, sys.executable, "-P", "-c", AS_USER]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    results = json.loads(done.stdout)
    assert results["start"][0] == 0, results["start"][1]
    assert set(results["rights"]) == {"0" * 16}
    assert results["status"][0] == 1, "status must report the services as unsupervised"
    assert results["again"][0] == 0, results["again"][1]
    assert results["same"]
    assert results["stop"] == [0, ""]
    assert pair.tagged() == {}


WITHOUT_PIDFDS = """
import ctypes, os, struct, sys
PIDFD_OPEN, PIDFD_SEND_SIGNAL = 434, 424
LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06
FAIL, ALLOW = 0x00050000 | int(sys.argv[1]), 0x7FFF0000
steps = [(LOAD, 0, 0, 0)]
for number in (PIDFD_OPEN, PIDFD_SEND_SIGNAL):
    steps += [(EQUALS, 0, 1, number), (RETURN, 0, 0, FAIL)]
steps.append((RETURN, 0, 0, ALLOW))
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, "-P", "-m", "toombos_cli", *sys.argv[2:]])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="pidfds and seccomp exist only on Linux")
@pytest.mark.parametrize(
    "error", [errno.ENOSYS, errno.EPERM], ids=["an old kernel has no pidfds", "a sandbox forbids pidfds"]
)
def test_services_are_stopped_adopted_and_watched_even_without_pidfds(pair: Any, eventually: Any, error: int) -> None:
    def toombos(*args: str) -> None:
        argv = [sys.executable, "-P", "-c", WITHOUT_PIDFDS, str(error), *args]
        done = subprocess.run(argv, cwd=pair.project, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 77:
            pytest.skip("needs seccomp")
        assert done.returncode == 0, done.stderr

    toombos("start")
    toombos("restart", "app")
    pid = pair.pid("crm")
    pair.kill_supervisor()
    toombos("start")
    assert pair.pid("crm") == pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: pair.came_back("crm"))
    toombos("stop")
    assert pair.tagged() == {}


def run_restricted(system: Any, *args: str) -> "subprocess.CompletedProcess[str]":
    return run_toombos(*args, cwd=system.project, through=obeying_file_modes())


@pytest.mark.parametrize(
    "command", ["status", "logs", "logs -f", "start", "start --foreground", "start --preview", "restart", "stop"]
)
def test_each_command_reports_permission_denied_in_another_users_project(system: Any, command: str) -> None:
    system.add("crm")
    for name in ("run", "logs"):
        (system.project / name).mkdir(mode=0)
    try:
        done = run_restricted(system, *command.split())
    finally:
        for name in ("run", "logs"):
            (system.project / name).chmod(0o700)
    assert done.returncode == 4, done.stderr
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("rotated", [False, True], ids=["never rotated", "rotated before"])
def test_logs_can_be_read_if_the_run_directory_is_read_only(system: Any, rotated: bool) -> None:
    """A disk error may have made the file system read-only."""
    system.add("crm")
    system.log("crm").parent.mkdir()
    system.log("crm").write_text("last words\n")
    run = system.project / "run" / "services"
    run.mkdir(parents=True)
    if rotated:
        RunDirectory(system.project).rotation(system.log("crm")).with_suffix(".rotation-lock").touch(mode=0o400)
    run.chmod(0o500)
    try:
        shown = run_restricted(system, "logs")
    finally:
        run.chmod(0o700)
    assert (shown.returncode, shown.stdout) == (0, "last words\n"), shown.stderr


def test_a_port_that_another_user_holds_is_reported_as_such(system: Any) -> None:
    """The message says that the port owner is another user's process and does not guess which."""
    system.add("crm")
    taken = processes.Listener(host="127.0.0.1", port=system.ports["crm"], pid=None)
    from toombos_cli.manifest.reading.loader import load_manifest
    from toombos_cli.supervisor import spawning

    service = load_manifest(system.project).services["crm"]
    failure = spawning.port_failure(service, taken)
    assert failure.message == f"port {service.port} is taken by a process of another user"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_start_foreground_shows_prefixed_lines_and_stops_all_services_at_the_end(
    pair: Any, eventually: Any, number: int, code: int
) -> None:
    process = pair.begin("start", "--foreground")
    eventually(lambda: (pair.project / "run" / "state.json").exists() and pair.phase("app") == "ready")
    assert pair("status", exit_code=0).returncode == 0, "status must work in another terminal"
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    assert "crm | hello from web" in out
    assert "app | hello from web" in out
    assert pair.tagged() == {}


def test_start_foreground_is_refused_with_the_pid_of_a_running_supervisor(pair: Any) -> None:
    pair("start", exit_code=0)
    failed = pair("start", "--foreground", exit_code=6)
    assert f"pid {pair.state()['supervisor_pid']}" in failed.stderr


def test_start_foreground_says_why_it_cannot_start_and_ends(pair: Any) -> None:
    pair.add("app", env={"EXIT_CODE": "5"})
    failed = pair("start", "--foreground", "--json", exit_code=4)
    document = json.loads(failed.stdout.splitlines()[-1])
    assert document["errors"][0]["where"] == "app"
    assert pair.tagged() == {}


def test_a_stalled_reader_of_start_foreground_does_not_stall_supervision(pair: Any, eventually: Any) -> None:
    process = pair.begin("start", "--foreground")
    eventually(lambda: (pair.project / "run" / "state.json").exists())
    eventually(lambda: {pair.phase("crm"), pair.phase("app")} == {"ready"})
    with pair.log("crm").open("a") as log:
        log.write(("x" * 99 + "\n") * 10_000)  # more than a pipe holds
    os.kill(pair.pid("crm"), signal.SIGKILL)
    eventually(lambda: pair.came_back("crm"))
    assert pair("status", exit_code=0).returncode == 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 143
    assert pair.tagged() == {}
    process.communicate()


def test_start_foreground_stops_all_services_in_order_when_its_reader_is_gone(pair: Any, eventually: Any) -> None:
    process = pair.begin("start", "--foreground")
    assert "hello" in process.stdout.readline()
    assert "hello" in process.stdout.readline()
    eventually(lambda: pair.phase("app") == "ready")
    process.stdout.close()
    with pair.log("crm").open("a") as log:
        log.write("news\n")
    assert process.wait(timeout=20) == 141
    said = process.stderr.read()
    assert not re.search("error|Traceback", said), said
    process.stderr.close()
    assert pair.tagged() == {}
    assert {entry["phase"] for entry in pair.state()["services"].values()} == {"stopped"}

"""Only a process that is proven to be the project's is adopted, called healthy or ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.supervisor.test_places import ordinary_user
from tests.support.programs import needs
from tests.support.runner import data_of, run_toombos
from tests.support.waiting import wait_for
from toombos_cli import processes
from toombos_cli.project import own_processes
from toombos_cli.project.state import run_id_prefix

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
SERVER = """
import os, socket, sys
def serve():  # imports nothing later: another user may not read this installation
    door = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    while True:
        visitor, _ = door.accept()
        visitor.recv(4096)
        body = str(os.getpid()).encode()
        visitor.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%b" % (len(body), body))
        visitor.close()
"""
HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
if sys.argv[2] == "locked":
    fcntl.flock(file, fcntl.LOCK_EX)
print("holds", flush=True)
time.sleep(600)
"""


@pytest.fixture
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    needs("setpriv")


@contextlib.contextmanager
def holder_of(path: Path, *, locked: bool) -> Iterator["subprocess.Popen[str]"]:
    """A program of this user that has the file open and that no toombos started."""
    argv = [sys.executable, "-S", "-c", HOLDER, str(path), "locked" if locked else "open"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "holds\n"
        try:
            yield victim
        finally:
            victim.kill()


def claim(system: Any, name: str, pid: int) -> None:
    """Record this process as the service in the state of a killed supervisor."""
    identity = processes.identify(pid)
    assert identity is not None
    path = system.project / "run" / "state.json"
    state = json.loads(path.read_bytes())
    state["services"][name] |= {"pid": pid, "start_ticks": identity.start_ticks, "phase": "ready"}
    path.write_text(json.dumps(state))


def symbolic_link(lock: Path, held: Path) -> None:
    lock.symlink_to(held)


def hard_link(lock: Path, held: Path) -> None:
    lock.hardlink_to(held)


def hard_link_of_another_user(lock: Path, held: Path) -> None:
    lock.hardlink_to(held)
    os.chown(held, 65534, 65534)


@pytest.mark.parametrize("command", ["stop", "status", "start", "restart", "stop x"])
@pytest.mark.parametrize(
    ("link", "locked"),
    [
        pytest.param(symbolic_link, False, id="the lock is a link to a file that the process has open"),
        pytest.param(symbolic_link, True, id="the lock is a link to a file that the process has locked"),
        pytest.param(hard_link, False, id="the lock is a file that the process has open but not locked"),
        pytest.param(hard_link_of_another_user, True, id="the lock is another user's file that the process has locked"),
    ],
)
def test_a_process_that_state_and_lock_only_seem_to_prove_is_left_alone(
    system: Any, tmp_path: Path, link: Callable[[Path, Path], None], locked: bool, command: str
) -> None:
    if link is hard_link_of_another_user and os.geteuid() != 0:
        pytest.skip("needs root, to give a file to another user")
    system.add("x", command=["sleep", "600"], port=0, scheme="none")
    system("start", exit_code=0)
    service = system.pid("x")
    system.kill_supervisor()
    os.kill(service, signal.SIGKILL)
    wait_for(lambda: processes.identify(service) is None)
    held = tmp_path / "held"
    held.touch()
    lock = system.project / "run" / "services" / "x.lock"
    lock.unlink()
    link(lock, held)
    with holder_of(held, locked=locked) as victim:
        claim(system, "x", victim.pid)
        done = system(*command.split())
        assert victim.poll() is None, f"{command} killed a process that toombos did not start"
        assert str(victim.pid) not in done.stdout
        assert "UNSUPERVISED" not in done.stdout
        if link is not hard_link:
            assert (done.returncode, done.stdout) == (5, ""), "such a file in run/ is not even read"
        elif command.startswith("stop"):
            assert (done.returncode, done.stdout.splitlines()[0]) == (0, "nothing is running")


@contextlib.contextmanager
def squatter(system: Any, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Another user's server on the service's port, with the project's tag and in a session of its own."""
    tag = run_id_prefix(system.project, name) + "abcdef123456"
    argv = [*NOBODY, sys.executable, "-S", "-c", f"{SERVER}serve()", str(system.ports[name])]
    with subprocess.Popen(
        argv, cwd="/", env={"TOOMBOS_RUN_ID": tag, "PATH": os.environ["PATH"]}, start_new_session=True
    ) as process:
        try:
            wait_for(lambda: processes.listeners_at("127.0.0.1", system.ports[name]), within_s=20)
            yield process
        finally:
            process.kill()


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("before", ["never started", "stopped", "killed with its supervisor", "run/ removed"])
def test_a_process_of_another_user_with_the_tag_is_neither_adopted_nor_healthy_nor_ended(
    system: Any, before: str
) -> None:
    system.add("x")
    if before != "never started":
        system("start", exit_code=0)
        service = system.pid("x")
        if before == "stopped":
            system("stop", exit_code=0)
        else:
            system.kill_supervisor()
            os.kill(service, signal.SIGKILL)
            wait_for(lambda: not processes.listeners_at("127.0.0.1", system.ports["x"]))
    if before == "run/ removed":
        subprocess.run(["rm", "-r", system.project / "run"], check=True)
    with squatter(system, "x") as stranger:
        assert system("status", exit_code=1).stdout.splitlines()[0] == "not running"
        checked = system("health", "--json", exit_code=1)
        (health,) = data_of(checked)["services"]
        assert (health["reason"], health["pid"]) == ("wrong-owner", stranger.pid)
        assert f"port {system.ports['x']} is in use by pid {stranger.pid}" in health["detail"]
        started = system("start", exit_code=4)
        assert f"port {system.ports['x']} is taken by pid {stranger.pid} ({sys.executable} -S -c" in started.stderr
        assert "the toombos project" not in started.stderr, "its tag is not a proof of any project"
        found = data_of(system("diagnose", "--json", "--only", "port.conflict"))["findings"]
        assert f"pid {stranger.pid}" in found[0]["reason"]
        for command in ("restart", "stop"):
            system(command)
        assert "nothing is running" in system("stop", exit_code=0).stdout
        assert stranger.poll() is None


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("words", "ours"),
    [
        pytest.param((), True, id="a process of this user"),
        pytest.param(("setpriv", "--euid=65534"), True, id="one that acts for another user"),
        pytest.param(("setpriv", "--ruid=65534"), False, id="a set-user-id program that a stranger runs"),
        pytest.param(NOBODY, False, id="a process of another user"),
    ],
)
def test_the_real_user_id_decides_whose_tag_is_believed(tmp_path: Path, words: tuple[str, ...], ours: bool) -> None:
    tag = run_id_prefix(tmp_path, "x") + "abcdef123456"
    with subprocess.Popen(
        [*words, sys.executable, "-S", "-c", "import time; print(1, flush=True); time.sleep(600)"],
        env={"TOOMBOS_RUN_ID": tag, "PATH": os.environ["PATH"]},
        cwd="/",
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"1\n"
            assert own_processes.own_tags(tmp_path, (process.pid,)) == ({process.pid: tag} if ours else {})
        finally:
            process.kill()


GIVES_UP_RIGHTS = f"{SERVER}os.setgid(65534); os.setuid(65534); serve()"
CLOSES_THE_LOCK = f"{SERVER}os.closerange(3, 256); os.setgid(65534); os.setuid(65534); serve()"
WORKER_GIVES_UP_RIGHTS = f"{SERVER}os.fork() and os.wait(); os.setgid(65534); os.setuid(65534); serve()"
PROGRAMS = {
    "it gives up root's rights itself": ["{python}", "-S", "-c", GIVES_UP_RIGHTS, "{port}"],
    "it is started through setpriv": [*NOBODY, "{python}", "-S", "-c", f"{SERVER}serve()", "{port}"],
    "it also closes the lock": ["{python}", "-S", "-c", CLOSES_THE_LOCK, "{port}"],
    "it also overwrites its environment": [
        "env", "-i", *NOBODY, "{python}", "-S", "-c", f"{SERVER}serve()", "{port}",
    ],
    "its worker gives up root's rights": ["{python}", "-S", "-c", WORKER_GIVES_UP_RIGHTS, "{port}"],
}  # fmt: skip


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_service_that_changes_its_user_is_adopted_and_stopped_after_a_crash(system: Any, program: list[str]) -> None:
    system.add("x", command=program, cwd="/")
    system("start", exit_code=0)
    pid, listener = system.pid("x"), system.answer("x")
    assert processes.real_uid(listener) == 65534
    system.kill_supervisor()
    assert system.row("x")["phase"] == "unsupervised"
    assert data_of(system("health", "--json", exit_code=0))["services"][0]["pid"] == listener
    system("start", exit_code=0)
    assert (system.pid("x"), system.answer("x")) == (pid, listener)
    system.kill_supervisor()
    stopped = system("stop", exit_code=0)
    assert f"stopped: x (pid {pid})" in stopped.stdout
    assert processes.identify(pid) is processes.identify(listener) is None


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("run", ["kept", "removed"])
def test_a_worker_that_changed_its_user_and_lost_its_main_process_is_ended_and_reported(system: Any, run: str) -> None:
    """It still holds the lock that it inherited, even if the lock's file was removed."""
    system.add("x", command=PROGRAMS["its worker gives up root's rights"], cwd="/")
    system("start", exit_code=0)
    main, worker = system.pid("x"), system.answer("x")
    system.kill_supervisor()
    os.kill(main, signal.SIGKILL)
    wait_for(lambda: processes.identify(main) is None)
    if run == "removed":
        subprocess.run(["rm", "-r", system.project / "run"], check=True)
    assert (system.row("x")["phase"], system.row("x")["pid"]) == ("unsupervised", worker)
    stopped = system("stop", exit_code=0)
    assert stopped.stdout.splitlines()[0] == f"stopped: x (pid {worker})"
    assert processes.identify(worker) is None


@pytest.mark.usefixtures("as_root")
def test_a_stop_that_may_not_end_what_is_left_fails(system: Any) -> None:
    """Here toombos is root without the right to signal processes of other users."""
    system.add("x", command=PROGRAMS["its worker gives up root's rights"], cwd="/")
    system("start", exit_code=0)
    main, worker = system.pid("x"), system.answer("x")
    system.kill_supervisor()
    os.kill(main, signal.SIGKILL)
    wait_for(lambda: processes.identify(main) is None)
    words = ("setpriv", "--bounding-set=-kill", "--inh-caps=-kill")
    stopped = run_toombos("stop", cwd=system.project, through=words)
    assert stopped.returncode == 4, stopped.stdout
    assert f"another user's: pid {worker} (" in stopped.stderr
    assert "nothing is running" not in stopped.stdout


HIDES = f"""{SERVER}
import ctypes
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE, as the kernel does for programs with file capabilities
serve()
"""


def test_a_service_that_hides_its_environment_from_its_own_user_is_adopted(system: Any, tmp_path: Path) -> None:
    user = ordinary_user()
    if user[0] == "setpriv":
        os.chown(tmp_path, 65534, 65534)
        for parent in tmp_path.parents:
            if parent.name.startswith(("pytest-", "popen-")):
                parent.chmod(0o711)
    system.add("x", command=["{python}", "-S", "-c", HIDES, "{port}"])

    def toombos(*args: str) -> "subprocess.CompletedProcess[str]":
        return run_toombos(*args, cwd=system.project, through=user)

    assert toombos("start").returncode == 0
    pid = system.pid("x")
    system.kill_supervisor()
    assert "UNSUPERVISED" in toombos("status").stdout
    assert toombos("start").returncode == 0
    assert system.pid("x") == pid
    system.kill_supervisor()
    assert toombos("stop").stdout.splitlines()[0] == f"stopped: x (pid {pid})"

"""What the kernel says about running services: each fault in a real process, beside healthy ones that raise nothing."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.foreign import ForeignSystem
from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.runner import data_of
from tests.support.waiting import wait_for

_PROGRAMS = {
    "leaky": """
import resource, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
there = socket.create_server(("127.0.0.1", 0))
kept = []
while len(kept) < 56:
    near = socket.create_connection(there.getsockname())
    there.accept()[0].close()
    kept.append(near)
time.sleep(1e6)
""",
    "busy": """
import resource, time
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
kept = [open("/dev/null") for _ in range(40)]
time.sleep(1e6)
""",
    "careless": """
import os, time
for _ in range(12):
    if os.fork() == 0:
        os._exit(0)
time.sleep(1e6)
""",
    "careful": """
import subprocess, time
for _ in range(12):
    subprocess.run(["true"])
time.sleep(1e6)
""",
    "cramped": """
import resource, time
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (int(pages * 4096 * 1.1), -1))
time.sleep(1e6)
""",
    "wordy": """
import resource, time
journal = open("journal", "wb", buffering=0)
journal.write(b"x" * 990)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, -1))
time.sleep(1e6)
""",
    "tomorrow": """
import email.utils, http.server, sys, time
class Page(http.server.BaseHTTPRequestHandler):
    def date_time_string(self, timestamp=None):
        return email.utils.formatdate(time.time() + 86400, usegmt=True)
    def do_GET(self):
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
""",
    "held": "import time\nwhile True: time.sleep(0.1)\n",
    "homeless": "import time\ntime.sleep(1e6)\n",
    "configured": "import time\ntime.sleep(1e6)\n",
    "unchanged": "import time\ntime.sleep(1e6)\n",
}
_TRACER = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
pid = int(sys.argv[1])
assert libc.ptrace(16, pid, 0, 0) == 0, os.strerror(ctypes.get_errno())  # PTRACE_ATTACH
os.waitpid(pid, 0)
print("attached", flush=True)
time.sleep(1e6)
"""
Wrong = list[dict[str, Any]]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignSystem]:
    """The services, with their faults, and `replaced`, whose program was replaced by a newer one."""
    made = ForeignSystem(tmp_path_factory.mktemp("kernel"))
    for name, text in _PROGRAMS.items():
        (made.project / f"{name}.py").write_text(text)
        made.add(name, [sys.executable, f"{{project}}/{name}.py"], scheme="none")
    made.change("tomorrow", command=[sys.executable, "tomorrow.py", "{port}"], scheme="http", port=free_port())
    made.change("tomorrow", health={"path": "/", "status": 204})
    home = made.project / "home"
    home.mkdir()
    made.change("homeless", cwd="home")
    program = made.project / "sleeper"
    shutil.copy(needs("sleep"), program)
    made.add("replaced", [str(program), "1000000"], scheme="none")
    for name in ("configured", "unchanged"):
        made.change(name, env={"COLOUR": "red", "HOME_OF": "{project}", "SHAPE": "round"})
    made.start()
    made.change("configured", env={"COLOUR": "blue", "HOME_OF": "{project}", "SHAPE": "round", "SIZE": "7"})
    home.rmdir()
    program.unlink()
    shutil.copy(needs("sleep"), program)
    wait_for(lambda: len([*Path(f"/proc/{made.pid('leaky')}/fd").iterdir()]) > 56, what="the leak")
    yield made
    made.stop()


def wrong(system: ForeignSystem) -> Wrong:
    findings = data_of(system("diagnose", "--json", "--only", "process", "--only", "clock.others"))["findings"]
    return [f for f in findings if f["verdict"] in ("warn", "fail", "error")]


ROWS = {
    "a service that leaks sockets": ("proc.descriptors", "leaky", "of 64 files and sockets open", "CLOSE_WAIT"),
    "a service that collects no children": ("proc.zombies", "careless", "12 ended children", "cannot be started|pid"),
    "a service that can map no more memory": ("proc.limits", "cramped", "of its address space", "map no more memory"),
    "a service that can write no more to a file": ("proc.limits", "wordy", "990 B of the size", "File too large"),
    "a service whose clock is ahead": ("clock.others", "tomorrow", "ahead of this machine's", "faketime"),
    "a service whose variables were changed": (
        "proc.environment",
        "configured",
        "another COLOUR, SIZE than",
        "started with",
    ),
    "a service whose directory is gone": ("proc.removed", "homeless", "a directory that was removed", "relative path"),
    "a service whose program was replaced": ("proc.removed", "replaced", "a program that was replaced", "the old one"),
}


@pytest.fixture(scope="module")
def found(system: ForeignSystem) -> Wrong:
    return wrong(system)


@pytest.mark.parametrize(("check", "service", "reason", "cause"), ROWS.values(), ids=ROWS)
def test_a_fault_is_found_in_the_process_itself(found: Wrong, check: str, service: str, reason: str, cause: str):
    (finding,) = (f for f in found if f["service"] == service)
    assert (finding["id"], finding["explained_by"]) == (check, "")
    assert reason in finding["reason"]
    assert any(word in finding["cause"] for word in cause.split("|"))


def test_nothing_is_said_about_the_healthy_siblings(found: Wrong):
    assert {f["service"] for f in found} == {service for _, service, *_ in ROWS.values()}


def test_the_fix_for_too_few_descriptors_raises_the_limit_of_the_process(system: ForeignSystem, found: Wrong):
    needs("prlimit")
    fix = next(f["fix"] for f in found if f["id"] == "proc.descriptors")
    assert fix["safe"] is False
    subprocess.run(["bash", "-c", fix["command"]], check=True)
    assert not [f for f in wrong(system) if f["id"] == "proc.descriptors"]
    subprocess.run(["bash", "-c", fix["undo"]], check=True)


@pytest.mark.parametrize("service", ["cramped", "wordy"])
def test_the_fix_for_a_limit_raises_it(system: ForeignSystem, found: Wrong, service: str):
    needs("prlimit")
    fix = next(f["fix"] for f in found if f["service"] == service)
    subprocess.run(["bash", "-c", fix["command"]], check=True)
    assert not [f for f in wrong(system) if f["service"] == service]
    subprocess.run(["bash", "-c", fix["undo"]], check=True)


def test_a_traced_service_is_resumed_by_the_end_of_its_tracer(system: ForeignSystem):
    pid = system.pid("held")
    with subprocess.Popen([sys.executable, "-c", _TRACER, str(pid)], stdout=subprocess.PIPE, text=True) as tracer:
        try:
            assert tracer.stdout
            if tracer.stdout.readline() != "attached\n":
                pytest.skip("this machine lets nobody trace")
            (finding,) = (f for f in wrong(system) if f["service"] == "held")
            assert (finding["id"], f"pid {tracer.pid}" in finding["reason"]) == ("proc.traced", True)
            subprocess.run(["bash", "-c", finding["fix"]["command"]], check=True)
            wait_for(lambda: _state(pid) == "S", what="the service to go on")
            assert not [f for f in wrong(system) if f["service"] == "held"]
        finally:
            tracer.kill()


def test_a_service_that_a_signal_suspended_is_not_called_traced(system: ForeignSystem):
    pid = system.pid("held")
    os.kill(pid, signal.SIGSTOP)
    try:
        assert [f["id"] for f in wrong(system) if f["service"] == "held"] == ["proc.stopped"]
    finally:
        os.kill(pid, signal.SIGCONT)


def _state(pid: int) -> str:
    return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[ForeignSystem, Path]]:
    """A project whose data lie on a small file system of their own."""
    data = tmp_path / "data"
    data.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=200", "tmpfs", data], check=False).returncode:
        pytest.skip("mount -t tmpfs is not permitted")
    system = ForeignSystem(tmp_path)
    system.add("app", ["sleep", "1000000"], scheme="none")
    yield system, data
    subprocess.run(["umount", data], check=True)


def fill(data: Path) -> None:
    (data / "filler").write_bytes(b"x" * (1 << 20))


def use_all_inodes(data: Path) -> None:
    for number in range(197):
        (data / str(number)).touch()


def make_read_only(data: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", data], check=True)


DISKS = {
    "a full disk": (fill, "nearly full"),
    "a disk without inodes": (use_all_inodes, "of 200 inodes free"),
    "a read-only disk": (make_read_only, "is on a read-only file system"),
    "a healthy disk": (lambda data: None, ""),
}


@pytest.mark.parametrize(("spoil", "reason"), DISKS.values(), ids=DISKS)
def test_a_file_system_of_its_own_is_judged(disk: tuple[ForeignSystem, Path], spoil: Any, reason: str):
    system, data = disk
    spoil(data)
    findings = data_of(system("diagnose", "--json", "--only", "res.places"))["findings"]
    reasons = [f["reason"] for f in findings if f["verdict"] == "fail"]
    assert len(reasons) == bool(reason)
    assert all(reason in said and str(data) in said for said in reasons)

"""Process identities, listeners, and signals that reach only the intended process."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from tests.support.waiting import wait_for
from toombos_cli import processes
from toombos_cli.processes import portable, sock_diag

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(SLEEP, env=os.environ | {"TOOMBOS_RUN_ID": "abc:crm:1"}, start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_the_table_agrees_with_psutil(child: "subprocess.Popen[bytes]") -> None:
    row = processes.process_table()[child.pid]
    seen = psutil.Process(child.pid)
    assert row.parent == os.getpid() == seen.ppid()
    assert row.session == row.group == child.pid
    assert abs(row.rss_bytes - seen.memory_info().rss) < 20_000_000
    assert not row.zombie


def test_an_identity_matches_only_one_process(child: "subprocess.Popen[bytes]") -> None:
    identity = processes.identify(child.pid)
    assert identity is not None
    assert processes.is_alive(identity)
    other = processes.ProcessIdentity(
        boot_id=identity.boot_id,
        pid_namespace=identity.pid_namespace,
        pid=identity.pid,
        start_ticks=identity.start_ticks + 1,
    )
    assert not processes.is_alive(other)
    assert not processes.send_signal(other, signal.SIGKILL)
    assert child.poll() is None


def test_a_zombie_is_not_alive(child: "subprocess.Popen[bytes]") -> None:
    identity = processes.identify(child.pid)
    assert identity is not None
    assert processes.send_signal(identity, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.process_table()[child.pid].zombie
    assert not processes.is_alive(identity)
    assert processes.identify(child.pid) is None


def test_a_process_name_with_parentheses_is_parsed(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 ("
    program.symlink_to(sys.executable)
    process = subprocess.Popen([program, "-c", "import time; time.sleep(60)"])
    try:
        assert processes.process_table()[process.pid].parent == os.getpid()
    finally:
        process.kill()
        process.wait()


def test_tags_are_found_by_prefix(child: "subprocess.Popen[bytes]") -> None:
    table = processes.process_table()
    # Popen returns in the middle of exec: the new program's environment is in place a moment later.
    wait_for(lambda: processes.find_tagged("abc:crm:1", table).get(child.pid) == "abc:crm:1")
    assert child.pid in processes.find_tagged("abc:", table)
    assert child.pid not in processes.find_tagged("abc:crm:12", table)
    assert child.pid not in processes.find_tagged("bc:", table)


def test_a_listener_is_reported_with_its_port_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = processes.listeners((port,))
        assert (found.host, found.port, found.pid) == ("127.0.0.1", port, os.getpid())
        (unknown,) = processes.listeners((port,), pids=())
        assert unknown.pid is None
    assert processes.listeners((port,)) == ()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1"])
def test_a_listener_that_also_accepts_localhost_conflicts(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        assert [found.host for found in processes.listeners_at("localhost", port)] == [host]


@pytest.fixture(params=["by sock_diag", "by /proc/net"])
def _kernel_interface(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some kernels and container sandboxes have no sock_diag."""

    def refused(states: int) -> None:
        raise PermissionError

    if request.param == "by /proc/net":
        monkeypatch.setattr(sock_diag, "tcp_sockets", refused)


@pytest.mark.usefixtures("_kernel_interface")
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.7", "::1", "0.0.0.0", "::"])
def test_listeners_and_far_ends_match_the_sockets(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        (found,) = [found for found in processes.listeners((port,)) if found.host == host]  # not another's, at .1
        assert (found.host, found.pid) == (host, os.getpid())
        with socket.create_connection((host, port)) as client, socket.socket(family, socket.SOCK_DGRAM) as datagrams:
            datagrams.connect((host, port))
            near = {s.fileno(): os.fstat(s.fileno()).st_ino for s in (client, datagrams, server)}
            ends = {end.inode: (end.host, end.port) for end in processes.far_ends() or ()}
            peer = client.getpeername()[:2]
            assert ends[near[client.fileno()]] == ends[near[datagrams.fileno()]] == peer
            assert near[server.fileno()] not in ends


def test_a_listener_on_another_loopback_address_does_not_conflict() -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        assert processes.listeners_at("127.0.0.1", server.getsockname()[1]) == ()


def test_descendants_are_found_by_parent_and_session() -> None:
    script = "sleep 60 & setsid sleep 60 & wait"
    shell = subprocess.Popen(["sh", "-c", script], start_new_session=True)
    try:
        wait_for(lambda: len(processes.descendants({shell.pid}, processes.process_table())) == 3, within_s=10)
    finally:
        for pid in processes.descendants({shell.pid}, processes.process_table()):
            os.kill(pid, signal.SIGKILL)
        shell.wait()


def test_the_processes_that_hold_a_lock_are_found_even_after_its_file_was_removed(tmp_path: Path) -> None:
    path, link = tmp_path / "crm.lock", tmp_path / "link.lock"
    link.symlink_to(path)
    with path.open("w") as file:
        assert processes.lock_holders(path) == (), "an open file is not a lock"
        fcntl.flock(file, fcntl.LOCK_SH)
        assert processes.lock_holders(path) == (), "anybody who may read it may share it"
        fcntl.flock(file, fcntl.LOCK_EX)
        assert processes.lock_holders(path) == (os.getpid(),)
        assert processes.lock_holders(link) == ()
        path.unlink()
        assert processes.lock_holders(path) == (os.getpid(),)
        path.touch()
        assert processes.lock_holders(tmp_path / "other.lock") == ()
    assert processes.lock_holders(path) == ()


_OVERWRITTEN = """
import ctypes, sys
libc = ctypes.CDLL(None)
argv = (ctypes.c_char_p * 4)(sys.executable.encode(), b"-c", b"import time; time.sleep(60)", None)
environment = (ctypes.c_char_p * 5)(b"nginx", b"", b"TOOMBOS_RUN_ID=abc:crm:1", b"TOOMBOS_RUN_ID=xyz:crm:2", None)
libc.execve(argv[0], argv, environment)
"""


def test_a_tag_is_found_behind_what_a_program_wrote_over_its_environment() -> None:
    with subprocess.Popen([sys.executable, "-c", _OVERWRITTEN]) as process:
        try:
            tagged = {process.pid: "abc:crm:1"}
            wait_for(lambda: processes.find_tagged("", [process.pid]) == tagged, what="the tag that comes first")
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        pytest.param(
            [b"sh", b"-c", b"sleep 60 # caf\xe9"], "sh -c sleep 60 # caf\ufffd", id="a byte that is not UTF-8"
        ),
        pytest.param([b"sh", b"-c", b"sleep 60 # \tx\r\n y"], "sh -c sleep 60 # x y", id="tabs and line ends"),
        pytest.param([b"", b"-c", b"sleep 60 # z"], "-c sleep 60 # z", id="an empty name"),
        pytest.param([b"sh", b"-c", b"sleep 60 #" + b" y" * 60_000], None, id="a command longer than any screen"),
    ],
)
def test_odd_bytes_in_a_command_are_shown_as_text(argv: list[bytes], shown: str | None) -> None:
    with subprocess.Popen(argv, executable="/bin/sh", start_new_session=True) as process:
        try:
            wait_for(lambda: "sleep 60 #" in (processes.command_line(process.pid) or ""), what="the program")
            line = processes.command_line(process.pid) or ""
            assert len(line) <= 200
            assert line == (shown or line)
            line.encode()
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_zombie_is_shown_by_its_name() -> None:
    process = subprocess.Popen(["sleep", "0"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert processes.command_line(process.pid) == "sleep"
    assert processes.real_uid(process.pid) == os.getuid()
    process.wait()


def test_a_process_is_named_by_its_pid_and_its_command(child: "subprocess.Popen[bytes]") -> None:
    wait_for(lambda: "sleep" in processes.named(child.pid), what="the program")
    assert processes.named(child.pid).startswith(f"pid {child.pid} (")
    assert processes.named(None) == "a process of another user"


def test_a_process_that_is_gone_is_nobody() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert processes.named(process.pid) == f"pid {process.pid} (gone)"
    asked = (processes.read_row, processes.identify, processes.command_line, processes.real_uid)
    assert [ask(process.pid) for ask in (*asked, processes.working_directory)] == [None] * 5
    assert not processes.is_readable(process.pid)
    assert list(processes.lineage(process.pid)) == []


_AS_A_STRANGER = """
import os
from toombos_cli import processes
row = processes.read_row
print(sorted(processes.process_table()) == [os.getpid()], row(1), processes.identify(1), processes.command_line(1),
      processes.real_uid(1), processes.is_readable(1), [r.pid for r in processes.lineage(os.getpid())] == [os.getpid()])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount /proc")
@pytest.mark.parametrize("hidepid", [1, 2])
def test_processes_that_proc_hides_do_not_exist_for_this_user(hidepid: int) -> None:
    mount = f"mount -t proc -o hidepid={hidepid} proc /proc"
    user = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    script = f'{mount} || exit 9; exec {user} "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, sys.executable, _AS_A_STRANGER],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode in (1, 9) and "unshare" in done.stderr + "unshare" * (done.returncode == 9):
        pytest.skip("mounts are not allowed here")
    assert done.stdout.split() == ["True", "None", "None", "None", "None", "False", "True"], done.stderr


def test_the_ancestors_of_a_process_are_its_lineage(child: "subprocess.Popen[bytes]") -> None:
    pids = [row.pid for row in processes.lineage(child.pid)]
    assert pids[:2] == [child.pid, os.getpid()]
    assert pids[2] == os.getppid()


@pytest.mark.parametrize("system", [processes, portable])
def test_a_command_is_shown_in_one_line_even_if_it_contains_newlines(system: ModuleType) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time\n\ntime.sleep(60)"]) as process:
        try:
            wait_for(lambda: "-c" in (system.command_line(process.pid) or ""), what="the program")
            assert system.command_line(process.pid) == f"{sys.executable} -c import time time.sleep(60)"
        finally:
            process.kill()


@pytest.mark.parametrize("system", [processes, portable])
def test_a_command_is_shown_without_the_secrets_in_its_options(system: ModuleType) -> None:
    options = ["--db-password", "hunter22xyz", "--token=hunter22xyz", "http://u:hunter22xyz@h/"]
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *options]) as process:
        try:
            wait_for(lambda: "--token" in (system.command_line(process.pid) or ""), what="the program")
            assert "hunter22xyz" not in (system.command_line(process.pid) or "")
        finally:
            process.kill()


def test_a_long_command_is_cut_between_words() -> None:
    shown = processes.shown_command(["serve", "x" * 180, "half-of-a-secret-is-no-secret-that-is-known"])
    assert shown == f"serve {'x' * 180}"
    assert len(processes.shown_command(["y" * 5000])) == 200


def test_the_portable_implementation_gives_the_same_results(
    child: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    row, same = processes.read_row(child.pid), portable.read_row(child.pid)
    assert row is not None
    assert same is not None
    assert (row.parent, row.group, row.session, row.zombie) == (same.parent, same.group, same.session, same.zombie)
    wait_for(lambda: b"TOOMBOS_RUN_ID=abc:crm:1" in portable.read_environment(child.pid).split(b"\0"))
    assert portable.command_line(child.pid) == processes.command_line(child.pid)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert portable.listeners((port,), (os.getpid(),)) == processes.listeners((port,), (os.getpid(),))
    assert abs(portable.age_s(same.start_ticks) - processes.age_s(row.start_ticks)) < 2
    monkeypatch.setattr(processes, "_system", portable)
    assert processes.process_table()[child.pid] == portable.read_row(child.pid)
    identity = processes.identify(child.pid)
    assert identity is not None
    assert processes.is_alive(identity)
    assert processes.send_signal(identity, signal.SIGKILL)
    child.wait()
    assert not processes.send_signal(identity, signal.SIGKILL)

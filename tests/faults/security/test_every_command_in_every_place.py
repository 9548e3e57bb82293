"""Every command in every place that a stranger has prepared: it runs, ends, creates, sends and prints nothing of his.

The tables of exit codes are the documentation. The tests run toombos as root; the stranger is the user nobody.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.security.conftest import LONG, NOBODY, Site, give
from tests.support.ports import free_port
from tests.support.waiting import wait_for
from toombos_cli import processes
from toombos_cli.project.state import project_key, run_id_prefix

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for files and processes of two users")

LOOKING: dict[str, tuple[int, int, int]] = {
    # in a project of one's own: a forged state, a stranger on the port, a stranger at the control socket
    "status": (1, 1, 5),
    "status --json": (1, 1, 5),
    "health": (1, 1, 1),
    "health --verbose": (1, 1, 1),
    "health --json": (1, 1, 1),
    "health --format nagios": (2, 2, 2),
    "health --format prometheus": (1, 1, 1),
    "logs": (0, 0, 0),
    "config check": (0, 0, 0),
    "config show": (0, 0, 0),
    "diagnose": (1, 1, 1),
    "diagnose --json": (1, 1, 1),
    "diagnose --issue": (0, 0, 0),
    "backup list": (0, 0, 0),
    "backup status": (1, 1, 1),
    "backup verify": (4, 4, 4),
    "schedule show": (0, 0, 0),
    "alert status": (0, 0, 0),
    "monitoring check": (3, 3, 3),
    "start --preview": (1, 1, 5),
    "events": (0, 0, 0),
}
ACTING: dict[str, tuple[int, int, int]] = {
    "smoke": (1, 1, 1),
    "load -n 2 -c 1": (4, 5, 4),
    "stop": (0, 0, 5),
    "start": (4, 4, 5),
    "restart": (4, 4, 5),
    "exec x -- /bin/true": (0, 0, 0),
    "backup": (0, 0, 0),
    "restore --latest-good --preview": (0, 0, 0),
    "recover --no-monitoring": (4, 4, 5),
}
CODES = LOOKING | ACTING
REFUSED = dict.fromkeys(CODES, 5)
FORGED, ON_THE_PORT, AT_THE_SOCKET = (
    {command: codes[column] for command, codes in CODES.items()} for column in (0, 1, 2)
)

KEY, OTHER = "supersecret-from-env-file-123", "aws-key-of-root"
ESCAPES = "\x1b]0;PWNED\x07\x1b[2J\x9b31m\nerror: forged"
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_OWN = """
[services.x]
command = ["/nonexistent/program"]
port = {port}
[[smoke]]
name = "sends-a-key"
service = "x"
path = "/ready"
headers = {{ X-Key = "${{env.API_KEY}}" }}
[load]
service = "x"
headers = {{ X-Key = "${{API_KEY}}" }}
"""
_SQUATTER = """
import os, socket, sys
door = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    visitor, _ = door.accept()
    os.write(int(sys.argv[2]), visitor.recv(65536))
    body = b'{"status":"healthy","x":"\\x1b[2J\\\\u001b[2J"}'
    head = b"HTTP/1.1 200 \\x1b[31mOK\\r\\nX-A: \\x1b[31m\\r\\nContent-Length: %d\\r\\n\\r\\n"
    visitor.sendall(head % len(body) + body)
    visitor.close()
"""


def own_project(site: Site, port: int | None = None) -> None:
    """Write a project of this user with a key, which a step and the load test send to its service."""
    (site.home / "toombos.toml").write_text(_OWN.format(port=port or free_port()))
    (site.home / ".env").write_text(f"API_KEY={KEY}\n")
    (site.home / ".env").chmod(0o600)


@dataclass
class Prepared:
    """A place, the exit code of each command there, and how to see what the commands did."""

    site: Site
    codes: dict[str, int]
    victims: tuple["subprocess.Popen[bytes]", ...] = ()
    control: Callable[[], bytes] = bytes
    """What the stranger's control socket has heard."""
    web: Callable[[], bytes] = bytes
    """What the stranger on the service's port has heard."""
    again: Callable[[], None] = lambda: None
    """Prepares for the next command what the last one may have tidied up."""

    def flaws(self, command: str) -> list[str]:
        """Run one command and return what was wrong with it."""
        self.again()
        before = self.site.files()
        done = self.site(command)
        said, after = done.stdout + done.stderr, self.site.files()
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        wrong = {
            f"exit {done.returncode}": done.returncode != self.codes[command],
            "executed": self.site.canary.exists(),
            "killed": any(victim.poll() is not None for victim in self.victims),
            f"changed {changed}": not all(self._may_change(name, command) for name in changed),
            "sent": self.control().replace(b"connected\n", b""),
            "sent a secret": any(secret.encode() in self.web() for secret in (KEY, OTHER)),
            "printed a secret": any(secret in said for secret in (KEY, OTHER)),
            "printed an escape code": UNPRINTABLE.search(said),
            "printed a forged line": re.search(r"(?m)^(error: forged|hint: curl)", said),
            "crashed": "Traceback" in said,
        }
        return [f"{command}: {flaw}\n{said}" for flaw, is_so in wrong.items() if is_so]

    def _may_change(self, name: str, command: str) -> bool:
        """Report whether a command may create or change this file."""
        path = Path(os.path.relpath(self.site.top / name, self.site.home))
        places = ("run", "logs", "backups") if command in ACTING else ("run",)
        return self.codes is not REFUSED and path.parts[0] in places


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    """Ends the processes of a place."""
    with contextlib.ExitStack() as stack:
        yield stack


def begin(stack: contextlib.ExitStack, *argv: object, **popen: object) -> "subprocess.Popen[bytes]":
    process = stack.enter_context(subprocess.Popen([*map(str, argv)], **popen))  # type: ignore[call-overload]  # as given
    stack.callback(process.kill)
    return process


def forge(site: Site, victim: int, *, link: Callable[[Path], None], owner: int) -> None:
    """Record the victim as the project's service, and let the service's lock lead to the file that it holds."""
    identity = processes.identify(victim)
    assert identity is not None
    run = site.home / "run"
    run.mkdir(exist_ok=True)
    entry = {
        "service": {"name": "x", "command": ["sleep", "60"], "scheme": "none", "port": 0, "log": "logs/x.log"},
        "desired": True,
        "phase": "ready",
        "run_id": f"{project_key(site.home)}:x:1",
        "pid": victim,
        "start_ticks": identity.start_ticks,
        "detail": ESCAPES,
        "warnings": [ESCAPES],
    }
    state = {
        "schema_version": 1,
        "boot_id": identity.boot_id,
        "pid_namespace": identity.pid_namespace,
        "supervisor_pid": victim,
        "supervisor_start_ticks": identity.start_ticks,
        "dry_run": False,
        "mode": None,
        "started_at": 1.0,
        "env_file": {"path": "", "mtime_ns": 0, "sha256": ""},
        "services": {"x": entry},
        "warnings": [ESCAPES],
    }
    (run / "state.json").write_text(json.dumps(state))
    for lock in (run / "x.lock", run / "supervisor.lock"):
        lock.unlink(missing_ok=True)
        link(lock)
    give(run, owner)


Prepare = Callable[[Site, contextlib.ExitStack, Callable[[Path], Callable[[], bytes]]], Prepared]


def below_a_strangers_project(site: Site, *_: object) -> Prepared:
    site.top.chmod(0o1777)
    site.write(site.top, owner=NOBODY)
    (site.top / ".env").write_text("LD_PRELOAD=/nonexistent\n")
    os.chown(site.top / ".env", NOBODY, NOBODY)
    site.home = site.top / "victim" / "sub"
    site.home.mkdir(parents=True)
    return Prepared(site, REFUSED)


def with_a_strangers_run(site: Site, *_: object) -> Prepared:
    site.write(site.top)
    (site.top / "run").mkdir()
    give(site.top / "run")
    return Prepared(site, REFUSED)


def _with_a_victim(site: Site, stack: contextlib.ExitStack) -> tuple[Path, "subprocess.Popen[bytes]"]:
    held = site.top / "held"
    held.touch()
    victim = begin(stack, "tail", "-f", held)
    wait_for(lambda: any(str(held) in str(fd.readlink()) for fd in Path(f"/proc/{victim.pid}/fd").iterdir()))
    return held, victim


def with_a_linked_lock_of_a_stranger(site: Site, stack: contextlib.ExitStack, *_: object) -> Prepared:
    held, victim = _with_a_victim(site, stack)
    site.home = site.top / "theirs"
    site.home.mkdir()
    site.write(site.home)
    forge(site, victim.pid, link=lambda lock: lock.symlink_to(held), owner=NOBODY)
    give(site.home)
    return Prepared(site, REFUSED, victims=(victim,))


def with_a_linked_lock_of_ones_own(site: Site, stack: contextlib.ExitStack, *_: object) -> Prepared:
    held, victim = _with_a_victim(site, stack)
    site.write(site.top)
    forge(site, victim.pid, link=lambda lock: lock.symlink_to(held), owner=0)
    return Prepared(site, REFUSED, victims=(victim,))


def trusted_with_a_lock_that_is_a_hard_link(site: Site, stack: contextlib.ExitStack, *_: object) -> Prepared:
    """The stranger's project is trusted, so only the missing proof keeps the victim alive."""
    held, victim = _with_a_victim(site, stack)
    site.home = site.top / "theirs"
    site.home.mkdir()
    own_project(site)
    give(site.home)
    site.env = {"TOOMBOS_TRUST": str(site.home)}

    def again() -> None:
        forge(site, victim.pid, link=lambda lock: lock.hardlink_to(held), owner=NOBODY)

    return Prepared(site, FORGED, victims=(victim,), again=again)


def with_a_stranger_on_the_port(site: Site, stack: contextlib.ExitStack, *_: object) -> Prepared:
    port = free_port()
    own_project(site, port)
    record, name = tempfile.mkstemp()
    stack.callback(os.close, record)
    Path(name).unlink()
    words = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable, "-S", "-c")
    tag = {"TOOMBOS_RUN_ID": run_id_prefix(site.home, "x") + "abcdef123456", "PATH": os.environ["PATH"]}
    argv = (*words, _SQUATTER, port, record, ESCAPES)
    squatter = begin(stack, *argv, env=tag, cwd="/", pass_fds=(record,), start_new_session=True)
    wait_for(lambda: processes.listeners_at("127.0.0.1", port), within_s=20)
    return Prepared(site, ON_THE_PORT, victims=(squatter,), web=lambda: os.pread(record, 1_000_000, 0))


def with_a_stranger_at_the_socket(
    site: Site, _: contextlib.ExitStack, hostile: Callable[[Path], Callable[[], bytes]]
) -> Prepared:
    own_project(site)
    (site.top / "run").mkdir(mode=0o700)
    return Prepared(site, AT_THE_SOCKET, control=hostile(site.top / "run" / "supervisor.sock"))


PLACES: dict[str, Prepare] = {
    "a stranger's project above": below_a_strangers_project,
    "a stranger's run/": with_a_strangers_run,
    "a stranger's forged state and linked lock": with_a_linked_lock_of_a_stranger,
    "a forged state and a linked lock in an own project": with_a_linked_lock_of_ones_own,
    "a forged state and a hard link in a trusted project": trusted_with_a_lock_that_is_a_hard_link,
    "a stranger with the service's tag on its port": with_a_stranger_on_the_port,
    "a stranger at the control socket in run/": with_a_stranger_at_the_socket,
}


@pytest.mark.parametrize("prepare", PLACES.values(), ids=PLACES)
def test_nothing_of_a_stranger_is_run_ended_created_sent_or_printed(
    site: Site, stack: contextlib.ExitStack, hostile: Callable[[Path], Callable[[], bytes]], prepare: Prepare
) -> None:
    prepared = prepare(site, stack, hostile)
    flaws = [flaw for command in CODES for flaw in prepared.flaws(command)]
    assert not flaws, "\n".join(flaws)


@pytest.mark.parametrize("owner", ["a stranger", "this user"])
def test_nothing_of_a_stranger_at_a_socket_outside_the_project_is_believed(
    site: Site, another: Path, hostile: Callable[[Path], Callable[[], bytes]], owner: str
) -> None:
    """The project's path is too long for a socket, so the socket is in a directory in /tmp, which `owner` has made."""
    user = site.home.stat().st_uid
    own_project(site)
    give(site.home, user)
    another.mkdir(mode=0o700 if owner == "this user" else 0o755)
    socket = another / f"{project_key(site.home)}.sock"
    control = hostile(socket)
    give(another, user if owner == "this user" else NOBODY)
    socket.chmod(0o777)
    site.env["MY_SECRET"] = OTHER
    prepared = Prepared(site, AT_THE_SOCKET, control=control)
    assert len(str(site.home)) > len(LONG)
    flaws = [flaw for command in CODES for flaw in prepared.flaws(command)]
    assert not flaws, "\n".join(flaws)

"""A long random life of the dry-run system: after every step, all that toombos promises still holds.

STEPS are what may happen, INVARIANTS what must be true after each of it, and EXIT_CODES what a command may return.
A failure prints the seed and the steps so far. The long runs are marked `full`.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.ports import free_port
from tests.support.runner import begin_toombos
from tests.support.waiting import wait_for
from toombos_cli import processes
from toombos_cli.project.state import run_id_prefix

SERVICES = ("crm", "platform", "generator")
SECRETS = {
    "API_KEY": "chaos-Api-Key-8f3a61c0d9",
    "CRM_API_KEY": "chaos-Crm-Key-77b1e02f4d",
    "PLATFORM_API_KEY": "chaos-Platform-Key-5d90ac",
}
EXIT_CODES = {
    "start": {0, 4, 6},
    "stop": {0, 4},
    "restart": {0, 4, 6},
    "status": {0, 1, 4},
    "health": {0, 1, 4},
    "diagnose": {0, 1, 4},
    "backup": {0, 1, 4, 6},
    "restore": {0, 1, 4, 5, 6},
}
"""Those of docs/exit-codes.md that may occur with a valid configuration and correct usage."""
LONGEST_STEP_S = 110.0
SETTLES_WITHIN_S = 30.0


class Life:
    """One run: the project, what was done to it, and what was acknowledged."""

    def __init__(self, project: Path, seed: int, *, has_disk: bool) -> None:
        self.project = project
        self.random = random.Random(seed)
        self.has_disk = has_disk
        self.ports = {name: free_port() for name in SERVICES}
        self.history: list[str] = []
        self.outputs: list[str] = []
        self.acknowledged: set[str] = set()
        self.saved: dict[str, set[str]] = {}
        self.thieves: dict[int, socket.socket] = {}
        self.frozen: set[int] = set()
        self.read_of_log = 0
        tables = "".join(f"[services.{name}]\nport = {port}\n" for name, port in self.ports.items())
        # A service on a full disk is not ready; the default of a minute would make each such step that long.
        times = "startup_timeout_s = 15\nprobe_interval_s = 1\ngrace_period_s = 5\n"
        tables = "".join(f"{table}\n{times}" for table in tables.rstrip().replace("\n[", "\n\n[").split("\n\n"))
        (project / "toombos.toml").write_text(f'extends = "toombos"\n{tables}')
        env = project / ".env"
        env.write_text("".join(f"{name}={value}\n" for name, value in SECRETS.items()))
        env.chmod(0o600)

    def toombos(self, *args: str) -> dict[str, Any]:
        """Run a command, note it with its exit code, and return its JSON document."""
        (document,) = self.at_once(args)
        return document

    def at_once(self, *commands: tuple[str, ...]) -> list[dict[str, Any]]:
        """Run commands at the same time; check their exit codes and that each prints one JSON document."""
        acknowledged = set(self.acknowledged)
        begun = [(args, begin_toombos(*args, "--json", cwd=self.project)) for args in commands]
        documents = []
        for args, process in begun:
            try:
                out, err = process.communicate(timeout=LONGEST_STEP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                raise AssertionError(f"{' '.join(args)} did not end in {LONGEST_STEP_S:g} s\n{out}\n{err}") from None
            self.history[-1] += f"  [{' '.join(args)} -> {process.returncode}]"
            self.outputs.append(out + err)
            assert process.returncode in EXIT_CODES[args[0]], f"exit {process.returncode}\n{out}\n{err}"
            document = json.loads(out)
            assert document["exit_code"] == process.returncode
            documents.append(document)
            for key in ("archive", "safety_backup"):
                if archive := (document["data"] or {}).get(key):
                    self.saved.setdefault(Path(archive).name, acknowledged)
        return documents

    def tagged(self) -> dict[int, str]:
        """Return the living processes with this project's tag, as pid and service."""
        living = [pid for pid, row in processes.process_table().items() if not row.zombie]
        found = processes.find_tagged(run_id_prefix(self.project), living)
        return {pid: tag.split(":")[1] for pid, tag in found.items()}

    def supervisors(self) -> list[int]:
        """Return the supervisors of this project."""
        wanted = f"-m toombos_cli.supervisor {self.project} "
        rows = processes.process_table()
        return [pid for pid in rows if wanted in f"{processes.command_line(pid)} " and not rows[pid].zombie]

    def stored(self) -> set[str] | None:
        """Return the generations in the database, or None if it cannot be read now."""
        path = self.project / "data" / "generator.db"
        if not path.exists():
            return set()
        try:
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
                return {row[0] for row in database.execute("select content_id from generations")}
        except sqlite3.OperationalError:  # its journal cannot be opened on a full disk
            return None

    @property
    def ballast(self) -> Path:
        return self.project / "ballast"

    def release(self) -> None:
        """Undo what no later step would: ballast, stolen ports, suspended processes."""
        for thief in self.thieves.values():
            thief.close()
        self.thieves.clear()
        for pid in self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.frozen.clear()
        self.ballast.unlink(missing_ok=True)


# Steps ---------------------------------------------------------------------------------------------------------------


def start(life: Life) -> None:
    life.toombos("start", "--dry-run")


def start_one(life: Life) -> None:
    life.toombos("start", "--dry-run", life.random.choice(SERVICES))


def stop(life: Life) -> None:
    document = life.toombos("stop")
    if document["exit_code"] == 0:
        assert life.tagged() == {}, "stop left a process behind"


def stop_one(life: Life) -> None:
    life.toombos("stop", life.random.choice(SERVICES))


def restart(life: Life) -> None:
    life.toombos("restart", "--dry-run", *life.random.choice([(), (life.random.choice(SERVICES),)]))


def two_at_once(life: Life) -> None:
    pairs = [("start", "--dry-run"), ("stop",), ("restart", "--dry-run"), ("status",), ("health",), ("backup",)]
    life.at_once(*life.random.sample(pairs, 2))


def look(life: Life) -> None:
    life.toombos(life.random.choice(["health", "diagnose"]))


def kill_a_service(life: Life) -> None:
    kill(life, life.random.choice([*life.tagged(), 0]), signal.SIGKILL)


def suspend_a_service(life: Life) -> None:
    pid = life.random.choice([*life.tagged(), 0])
    if kill(life, pid, signal.SIGSTOP):
        life.frozen.add(pid)


def kill_the_supervisor(life: Life) -> None:
    for pid in life.supervisors():
        kill(life, pid, signal.SIGKILL)


def end_the_supervisor(life: Life) -> None:
    """SIGTERM stops every service, unless a supervisor dies of SIGKILL before it has done so."""
    supervisors = life.supervisors()
    for pid in supervisors:
        kill(life, pid, signal.SIGTERM)
    wait_for(lambda: not life.supervisors(), within_s=SETTLES_WITHIN_S, what="the end of the supervisor")
    if supervisors:
        assert life.tagged() == {}, "SIGTERM to the supervisor left a process behind"


def kill_everything(life: Life) -> None:
    """A power cut, as far as processes are concerned."""
    for pid in (*life.supervisors(), *life.tagged()):
        kill(life, pid, signal.SIGKILL)


def steal_a_port(life: Life) -> None:
    port = life.random.choice(list(life.ports.values()))
    thief = socket.socket()
    thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        thief.bind(("127.0.0.1", port))
    except OSError:
        thief.close()
    else:
        thief.listen()
        life.thieves[port] = thief


def damage_the_state(life: Life) -> None:
    path = life.project / "run" / "state.json"
    if path.exists():
        content = path.read_bytes()
        cut = life.random.randrange(len(content) + 1)
        with contextlib.suppress(OSError):
            path.write_bytes(life.random.choice([content[:cut], b"", b"{}", b"[" * 5000, b"\0" * 4096]))


def remove_the_state(life: Life) -> None:
    for path in (life.project / "run").glob("state.json*"):
        path.unlink(missing_ok=True)


def remove_the_run_directory(life: Life) -> None:
    if not (life.project / "run" / "restore.json").exists():  # it is the only memory of an interrupted restore
        shutil.rmtree(life.project / "run", ignore_errors=True)


def fill_the_disk(life: Life) -> None:
    if life.has_disk:
        with contextlib.suppress(OSError), life.ballast.open("ab", buffering=0) as ballast:
            while True:
                ballast.write(b"x" * 65536)


def release(life: Life) -> None:
    life.release()


def generate(life: Life) -> None:
    """Ask for previews, each of which is stored before it is acknowledged."""
    url = f"http://127.0.0.1:{life.ports['generator']}/api/v2/generate-content"
    headers = {"X-API-Key": SECRETS["API_KEY"]}
    body = {"preview_only": True, "include_preview": False}
    with httpx.Client(trust_env=False, headers=headers) as client:
        for _ in range(40):
            try:
                response = client.post(url, json=body, timeout=2 if life.frozen or life.thieves else 20)
            except httpx.TransportError:
                return
            if response.status_code == 200:
                life.acknowledged.add(response.json()["content_id"])


def back_up(life: Life) -> None:
    life.toombos("backup")


def restore(life: Life) -> None:
    document = life.toombos("restore", "--latest-good", "--yes")
    restored_from = (document["data"] or {}).get("restored_from")
    stored = life.stored()
    if restored_from and stored is not None and not life.acknowledged <= stored:
        missing = life.saved[Path(restored_from).name] - stored
        assert not missing, f"the restored database lacks {len(missing)} generations of its archive"
        life.acknowledged &= stored


def kill(life: Life, pid: int, number: int) -> bool:
    """Send the signal, and after SIGKILL wait until the process is gone; report whether it reached one."""
    try:
        if pid:
            os.kill(pid, number)
    except ProcessLookupError:
        return False
    if number == signal.SIGKILL:
        life.frozen.discard(pid)
        wait_for(lambda: processes.identify(pid) is None)
    return bool(pid)


STEPS: dict[Callable[[Life], None], int] = {
    start: 12,
    start_one: 2,
    stop: 3,
    stop_one: 2,
    restart: 3,
    two_at_once: 3,
    look: 3,
    generate: 12,
    back_up: 4,
    restore: 2,
    kill_a_service: 5,
    suspend_a_service: 1,
    kill_the_supervisor: 5,
    end_the_supervisor: 1,
    kill_everything: 1,
    steal_a_port: 2,
    damage_the_state: 3,
    remove_the_state: 1,
    remove_the_run_directory: 1,
    fill_the_disk: 2,
    release: 5,
}
"""What may happen, and how often."""


# Invariants ----------------------------------------------------------------------------------------------------------


def no_traceback(life: Life) -> None:
    log = life.project / "run" / "supervisor.log"
    logged = log.read_text("utf-8", "replace") if log.exists() else ""
    for text in (*life.outputs, logged):
        assert "Traceback" not in text, text[-4000:]
        assert "a bug in toombos" not in text, text[-4000:]


def no_secret(life: Life) -> None:
    files = [path for name in ("run", "logs") for path in (life.project / name).rglob("*") if path.is_file()]
    texts = {str(path): path.read_bytes().decode("utf-8", "replace") for path in files}
    for place, text in (*texts.items(), *(("output", text) for text in life.outputs)):
        for name, secret in SECRETS.items():
            assert secret not in text, f"{name} is in {place}"


def private_modes(life: Life) -> None:
    for name in ("run", "logs", "backups"):
        top = life.project / name
        for path in (top, *top.rglob("*")) if top.exists() else ():
            with contextlib.suppress(FileNotFoundError):  # a running service or supervisor replaces its files
                found = path.lstat()
                is_private = stat.S_ISLNK(found.st_mode) or not found.st_mode & 0o077
                assert is_private, f"{stat.filemode(found.st_mode)} {path}"


def one_supervisor(life: Life) -> None:
    wait_for(lambda: len(life.supervisors()) <= 1, within_s=SETTLES_WITHIN_S, what="a single supervisor")


def status_is_true(life: Life) -> None:
    """What status says is what the process table says; a service that is being restarted may take a moment."""
    deadline = time.monotonic() + SETTLES_WITHIN_S
    while (difference := _difference(life)) is not None:
        assert time.monotonic() < deadline, difference
        time.sleep(0.2)


def _difference(life: Life) -> str | None:
    life.history[-1] += " "
    document = life.toombos("status")
    if document["data"] is None:
        return f"status cannot be read: {document['errors']}"
    said = {row["name"]: row["pid"] for row in document["data"]["services"]}
    tagged = life.tagged()
    for name, pid in said.items():
        if pid is not None and tagged.get(pid) != name:
            return f"status says that {name} is pid {pid}, which is {tagged.get(pid)}"
        if pid is None and name in tagged.values():
            return f"status says that {name} does not run, and it does: {tagged}"
        owners = {x.pid for x in processes.listeners_at("127.0.0.1", life.ports.get(name, 0))}
        if pid is None and owners & tagged.keys():
            return f"status says that {name} does not run, and it listens: {owners}"
    return None if set(tagged.values()) <= said.keys() else f"status does not show all of {tagged}"


def nothing_acknowledged_is_lost(life: Life) -> None:
    stored = life.stored()
    if stored is not None:
        lost = life.acknowledged - stored
        assert not lost, f"{len(lost)} of {len(life.acknowledged)} acknowledged generations are lost"


INVARIANTS = (
    one_supervisor,
    status_is_true,
    nothing_acknowledged_is_lost,
    private_modes,
    no_secret,
    no_traceback,
)
"""What holds after every step. That commands end in time with a documented code and print JSON, `at_once` checks."""


@contextlib.contextmanager
def place_of_its_own(directory: Path) -> Iterator[bool]:
    """Mount a small disk at `directory`, and yield whether that was possible."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", str(directory)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(directory)], check=True)


def live(project: Path, seed: int, steps: int) -> None:
    """Live through this number of steps, check every invariant after each, and end with a working system."""
    with place_of_its_own(project) as has_disk:
        life = Life(project, seed, has_disk=has_disk)
        try:
            for number in range(steps):
                (step,) = life.random.choices(list(STEPS), list(STEPS.values()))
                take(life, f"{number} {step.__name__}", step)
            take(life, "the end: release", release)
            take(life, "the end: stop", stop)
            take(life, "the end: start", start)
            take(life, "the end: generate", generate)
            take(life, "the end: stop", stop)
        except BaseException as error:
            history = "\n".join(life.history)
            log = life.project / "run" / "supervisor.log"
            logged = log.read_text("utf-8", "replace")[-4000:] if log.exists() else ""
            raise AssertionError(f"seed {seed}, after:\n{history}\n{error}\nsupervisor.log:\n{logged}") from error
        finally:
            life.release()
            for pid in (*life.supervisors(), *life.tagged()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def take(life: Life, name: str, step: Callable[[Life], None]) -> None:
    """Take one step and check every invariant."""
    life.outputs.clear()
    life.history.append(f"{name} ({len(life.acknowledged)} generations)")
    began = time.monotonic()
    step(life)
    life.history[-1] += f" in {time.monotonic() - began:.1f} s"
    for invariant in INVARIANTS:
        invariant(life)


def test_a_short_life(tmp_path: Path) -> None:
    live(tmp_path, 7, 15)


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", [101, 202, 303, 404, 505], ids="seed {}".format)
def test_a_long_life(tmp_path: Path, seed: int) -> None:
    live(tmp_path, seed, 300)

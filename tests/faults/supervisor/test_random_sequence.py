"""Random sequences of commands and faults: no process is untracked or duplicated, and strangers stay untouched."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from toombos_cli import processes
from toombos_cli.main import main

STEPS = 40
SERVICES = ("crm", "platform", "app")
WEB = Path(__file__).parent.parent / "services" / "web.py"


class Run:
    """A seeded run that records what the operator requested and compares it with the machine after each step."""

    def __init__(self, system: Any, seed: int, strangers: "list[subprocess.Popen[bytes]]", until: Any) -> None:
        self.system = system
        self.random = random.Random(seed)
        self.strangers = strangers
        self.until = until
        self.wanted = dict.fromkeys(SERVICES, False)
        self.supervised = False
        self.done: list[str] = []

    def toombos(self, *args: str) -> int:
        return main(["--project", str(self.system.project), *args])

    def step(self) -> None:
        """Do one random action and check all invariants."""
        action = self.random.choice(ACTIONS)
        name = self.random.choice(SERVICES)
        self.done.append(f"{action.__name__[1:]} {name}")
        action(self, name)
        self.check()

    def check(self) -> None:
        if self.supervised:
            self.until(lambda: self.difference() is None, within_s=20)
        assert self.untracked() == {}
        assert [stranger.poll() for stranger in self.strangers] == [None] * len(self.strangers)

    def difference(self) -> str | None:
        """Return the first difference from the requested state, or None."""
        entries = self.entries()
        for name, wanted in self.wanted.items():
            entry = entries.get(name)
            is_up = entry is not None and entry["phase"] == "ready"
            if is_up != wanted:
                return f"{name} is {entry and entry['phase']}"
            owners = [found.pid for found in processes.listeners_at("127.0.0.1", self.system.ports[name])]
            if owners != ([entry["pid"]] if is_up and entry else []):
                return f"the port of {name} belongs to {owners}"
        return None

    def entries(self) -> dict[str, Any]:
        """Return the services in the state file; empty if nothing was started yet."""
        try:
            return dict(self.system.state()["services"])
        except FileNotFoundError:
            return {}

    def untracked(self) -> dict[int, str]:
        """Return the tagged processes that are not in the state file, including duplicates."""
        known = {entry["pid"] for entry in self.entries().values()}
        return {pid: tag for pid, tag in self.system.tagged().items() if pid not in known}

    def pid(self, name: str) -> int:
        """Return the recorded pid of the service if that process is running, else 0."""
        pid = self.entries().get(name, {"pid": 0})["pid"]
        return pid if pid in self.system.tagged() else 0


def _start(run: Run, _: str) -> None:
    assert run.toombos("start") == 0
    run.wanted, run.supervised = dict.fromkeys(SERVICES, True), True


def _start_one(run: Run, name: str) -> None:
    assert run.toombos("start", name) == 0
    revived = {other for other in SERVICES if not run.supervised and run.pid(other)}
    run.wanted |= dict.fromkeys(revived | ({name, "crm"} if name == "app" else {name}), True)
    forget_the_dead(run)
    run.supervised = True


def _restart(run: Run, name: str) -> None:
    assert run.toombos("restart", name) == 0
    run.wanted |= dict.fromkeys({name, "crm"} if name == "app" else {name}, True)
    forget_the_dead(run)
    run.supervised = True


def _stop(run: Run, _: str) -> None:
    assert run.toombos("stop") == 0
    run.wanted, run.supervised = dict.fromkeys(SERVICES, False), False


def _stop_one(run: Run, name: str) -> None:
    assert run.toombos("stop", name) == 0
    run.wanted[name] = False
    if not run.supervised:
        run.supervised = any(run.pid(other) for other in SERVICES)
        forget_the_dead(run)
    run.supervised = run.supervised and any(run.wanted.values())


def _kill(run: Run, name: str) -> None:
    if pid := run.pid(name):
        os.kill(pid, signal.SIGKILL)
        run.until(lambda: processes.identify(pid) is None)


def _kill_supervisor(run: Run, _: str) -> None:
    if run.supervised:
        run.system.kill_supervisor()
        run.supervised = False


def _freeze(run: Run, name: str) -> None:
    if pid := run.pid(name):
        os.kill(pid, signal.SIGSTOP)
        assert run.toombos("restart", name) == 0
        run.wanted |= dict.fromkeys({name, "crm"} if name == "app" else {name}, True)
        forget_the_dead(run)
        run.supervised = True


def _two_at_once(run: Run, name: str) -> None:
    both = [run.system.begin("start"), run.system.begin("restart", name)]
    for command in both:
        command.communicate(timeout=60)
    # The start may have found the service stopped by the other command; another start completes the system.
    _start(run, name)


def _damage_the_state(run: Run, _: str) -> None:
    if run.supervised:
        path = run.system.project / "run" / "state.json"
        path.write_bytes(path.read_bytes()[: run.random.randrange(200)])
        # The next change of any service rewrites the state file.
        assert run.toombos("restart", "platform") == 0
        run.wanted["platform"] = True


def forget_the_dead(run: Run) -> None:
    """Stop expecting services that died without a supervisor: only a command that names them starts them again."""
    if not run.supervised:
        for name in SERVICES:
            if run.wanted[name] and not run.pid(name):
                run.wanted[name] = False


ACTIONS: tuple[Callable[[Run, str], None], ...] = (
    _start,
    _start_one,
    _restart,
    _stop,
    _stop_one,
    _kill,
    _kill,
    _kill_supervisor,
    _freeze,
    _two_at_once,
    _damage_the_state,
)


@pytest.fixture
def strangers(tmp_path: Path) -> Iterator["list[subprocess.Popen[bytes]]"]:
    """Two processes with the same command line as a service. Any signal ends them, and both must outlive the run."""
    made = [
        subprocess.Popen(
            [sys.executable, "-P", str(WEB)],
            cwd=tmp_path,
            env={"PORT": "0", "PATH": os.environ["PATH"]},
            stdout=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    yield made
    for process in made:
        process.kill()
        process.wait()


@pytest.mark.parametrize("seed", [11, 23, 37, 58, 71])
def test_the_system_is_as_requested_after_every_step_of_a_random_sequence(
    seed: int,
    system: Any,
    eventually: Any,
    strangers: "list[subprocess.Popen[bytes]]",
    capsys: pytest.CaptureFixture[str],
) -> None:
    restart = {"backoff_initial_s": 0.02, "backoff_max_s": 0.05, "crash_loop_count": 1000}
    for name in SERVICES:
        depends_on = {"crm": "started"} if name == "app" else {}
        system.add(name, depends_on=depends_on, restart=restart, grace_period_s=1.0)
    run = Run(system, seed, strangers, eventually)
    try:
        for _ in range(STEPS):
            run.step()
    except BaseException as error:
        output = capsys.readouterr()
        history = "\n".join(run.done)
        raise AssertionError(f"seed {seed}, {run.difference()}, after:\n{history}\n{output.out}{output.err}") from error
    assert len(run.done) == STEPS

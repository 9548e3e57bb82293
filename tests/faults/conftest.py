"""A project of small test services, driven by the real `toombos` as a process of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from toombos_cli import processes
from toombos_cli.project.state import run_id_prefix

WEB = Path(__file__).parent / "services" / "web.py"


class System:
    """A project directory and what may be asked and done there."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.ports: dict[str, int] = {}
        self._tables: dict[str, dict[str, Any]] = {}
        self.top = ""

    def add(
        self, name: str, *, env: dict[str, str] | None = None, command: list[str] | None = None, **table: Any
    ) -> None:
        """Adds a service of the test's web server, misbehaving as `env` says (see services/web.py)."""
        self.ports.setdefault(name, free_port())
        self._tables[name] = {
            "command": command or ["{python}", "-P", str(WEB)],
            "port": self.ports[name],
            "startup_timeout_s": 20.0,
            "grace_period_s": 3.0,
            "env": {"PORT": "{port}"} | (env or {}),
        } | table
        self.write()

    def write(self) -> None:
        """Writes toombos.toml."""
        lines = ['name = "faults"', self.top]
        for name, table in self._tables.items():
            lines.append(f"[services.{name}]")
            lines += [f"{key} = {toml(value)}" for key, value in table.items()]
        lines += ["[modes.dry_run]", 'env = { DRY_RUN_MODE = "true" }']
        (self.project / "toombos.toml").write_text("\n".join(lines) + "\n")

    def begin(self, *args: str, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        """Begins `toombos ARGS` in the project and does not wait for it."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("TOOMBOS_", "DRY_RUN"))}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "toombos_cli", *args],
            cwd=self.project,
            env=clean | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *args: str, exit_code: int | None = None, **given: Any) -> "subprocess.CompletedProcess[str]":
        """Runs `toombos ARGS` to its end and checks its exit code where one is given."""
        process = self.begin(*args, **given)
        out, err = process.communicate(timeout=60)
        if exit_code is not None:
            assert process.returncode == exit_code, f"exit {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def status(self) -> dict[str, Any]:
        """`data` of `toombos status --json`."""
        data: dict[str, Any] = json.loads(self("status", "--json").stdout)["data"]
        return data

    def row(self, name: str) -> dict[str, Any]:
        """One service's row of status."""
        return next(row for row in self.status()["services"] if row["name"] == name)

    def state(self) -> dict[str, Any]:
        """The state file as it is."""
        content: dict[str, Any] = json.loads((self.project / "run" / "state.json").read_bytes())
        return content

    def pid(self, name: str) -> int:
        """The service's pid as written down."""
        return int(self.state()["services"][name]["pid"])

    def phase(self, name: str) -> str:
        """The service's phase as written down."""
        return str(self.state()["services"][name]["phase"])

    def came_back(self, name: str) -> bool:
        """Whether the service is ready after a restart, both as written down at one moment."""
        written = self.state()["services"][name]
        return bool(written["phase"] == "ready" and written["restarts"])

    def answer(self, name: str) -> int:
        """The pid that answers on the service's port."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/health", timeout=2) as reply:
            return int(reply.read())

    def kill_supervisor(self) -> None:
        """SIGKILL to the supervisor, and waits until it is gone."""
        pid = int(self.state()["supervisor_pid"])
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: processes.identify(pid) is None)

    def tagged(self) -> dict[int, str]:
        """All living processes that carry this project's tag, pid to tag."""
        table = processes.process_table()
        return processes.find_tagged(run_id_prefix(self.project), [p for p, row in table.items() if not row.zombie])

    def log(self, name: str) -> Path:
        """The service's log."""
        return self.project / "logs" / f"{name}.log"

    def clean_up(self) -> None:
        """Stops what runs, and ends what a failed test left, by its tag alone."""
        with contextlib.suppress(Exception):
            self("stop")
        for pid in self.tagged():
            identity = processes.identify(pid)
            if identity is not None:
                processes.send_signal(identity, signal.SIGKILL)


def toml(value: Any) -> str:
    """The value in TOML; JSON is TOML for everything but tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], object], within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the state was not reached in time"
        time.sleep(0.01)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Waits until a condition holds; fails the test when it does not within `within_s`."""
    return wait_until


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """An empty project; whatever runs there at the end is ended."""
    made = System(tmp_path)
    yield made
    made.clean_up()


@pytest.fixture
def pair(system: System) -> System:
    """Two services: `app` depends on `crm`."""
    system.add("crm")
    system.add("app", depends_on={"crm": "started"})
    return system

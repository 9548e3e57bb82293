"""A project of small test services, driven by the real `toombos` as a process of its own."""

import contextlib
import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.manifests import toml
from tests.support.ports import free_port
from tests.support.runner import begin_toombos, data_of, run_toombos
from tests.support.waiting import wait_for
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
            "env": ({} if table.get("scheme") == "none" else {"PORT": "{port}"}) | (env or {}),
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

    def begin(self, *args: str, **given: Any) -> "subprocess.Popen[str]":
        """Begins `toombos ARGS` in the project and does not wait for it."""
        return begin_toombos(*args, cwd=self.project, **given)

    def __call__(self, *args: str, exit_code: int | None = None, **given: Any) -> "subprocess.CompletedProcess[str]":
        """Runs `toombos ARGS` to its end and checks its exit code where one is given."""
        done = run_toombos(*args, cwd=self.project, **given)
        if exit_code is not None:
            assert done.returncode == exit_code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def status(self) -> dict[str, Any]:
        """`data` of `toombos status --json`."""
        return data_of(self("status", "--json"))

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
        wait_for(lambda: processes.identify(pid) is None)

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


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Waits until a condition holds; fails the test when it does not within `within_s`."""
    return wait_for


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

"""What every test may need: a free port, a temporary project, programs that may be absent, waiting with a deadline."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")
REQUIRE_ALL = os.environ.get("TOOMBOS_REQUIRE_ALL") == "1"


def needs(program: str, *, search: tuple[str, ...] = ()) -> str:
    """The path of `program`; skips the test that asked, or fails it under TOOMBOS_REQUIRE_ALL=1, when it is absent."""
    found = shutil.which(program) or next((str(p) for d in search for p in Path("/").glob(f"{d}/{program}")), None)
    if found:
        return found
    message = f"{program} is not installed"
    if REQUIRE_ALL:
        pytest.fail(message)
    pytest.skip(message)


def wait_for(condition: Callable[[], T], *, within_s: float = 10.0, what: str = "the condition") -> T:
    """The first truthy answer of `condition`; fails the test when there is none within the deadline."""
    deadline = time.monotonic() + within_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not become true within {within_s} s")
        time.sleep(0.02)


_given_ports: set[int] = set()


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on, and that this process has not been given before."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given_ports:
            _given_ports.add(port)
            return port


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty project directory whose toombos.toml gives the dry-run system free ports."""
    services = "".join(f"[services.{name}]\nport = {free_port()}\n" for name in ("crm", "platform", "generator"))
    (tmp_path / "toombos.toml").write_text(f'extends = "toombos"\n{services}')
    return tmp_path


Toombos = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def toombos(project: Path) -> Iterator[Toombos]:
    """Runs `toombos ARGS` in the project as a process of its own; stops whatever it started at the end."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("TOOMBOS_", "DRY_RUN", "USE_MOCK", "API_KEY"))}

    def run(
        *args: str, env: dict[str, str] | None = None, cwd: Path | None = None, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "toombos_cli", *args],
            cwd=cwd or project,
            env=clean | (env or {}),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    yield run
    if (project / "run").is_dir():  # without it, nothing was ever started
        run("stop")


@pytest.fixture
def nobody() -> list[str]:
    """The beginning of a command that runs as another user; skips where that one cannot read this installation."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    way = [needs("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"]
    probe = [*way, sys.executable, "-P", "-c", "import toombos_cli, typer"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("this installation can be read by its owner alone")
    return way


@pytest.fixture
def as_another_user(project: Path, nobody: list[str]) -> Toombos:
    """Runs `toombos ARGS` in the project as a user that may look into it, and not into what root has made there."""
    base = Path(tempfile.gettempdir())
    for directory in (project, *(parent for parent in project.parents if parent.is_relative_to(base))):
        directory.chmod(directory.stat().st_mode | 0o055)

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*nobody, sys.executable, "-P", "-m", "toombos_cli", *args],
            cwd=project,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip

    return run

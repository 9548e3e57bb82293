"""Real services for tests: `start_service("crm", MOCK_LATENCY_MS="50")` runs one on a free port until the test ends."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from uvicorn.server import Server

from services.common.server import uvicorn_config
from tests.support.ports import free_port
from tests.support.waiting import wait_for

_READY_WITHIN_S = 30.0
_STOP_WITHIN_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningService:
    """A service process: its address, its log so far, its project directory."""

    name: str
    url: str
    port: int
    process: subprocess.Popen[bytes]
    project: Path
    log_path: Path

    def log(self) -> str:
        return self.log_path.read_text()

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, trust_env=False, timeout=20, **options)

    def stop(self) -> int:
        """Send SIGTERM and return the exit code; if it does not end, send SIGKILL and fail the test."""
        self.process.terminate()
        try:
            return self.process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"{self.name} did not end within {_STOP_WITHIN_S} s of SIGTERM:\n{self.log()}")


@contextmanager
def serve(app: object) -> Iterator[httpx.Client]:
    """Serve an app from a thread of this process, as services are served, and yield a client for it."""
    server = Server(uvicorn_config(app, shutdown_grace_s=1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


StartService = Callable[..., RunningService]


def service_environment(**env: str) -> dict[str, str]:
    """Return an environment without this machine's settings: only what a Python process needs, and `env`."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ}
    return kept | env


def run_module(module: str, *, project: Path, log_path: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Run `python -P -m MODULE` in the project directory with exactly this environment, both streams into the log."""
    with log_path.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            cwd=project,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def launch(name: str, project: Path, *, until: str = "/ready", **env: str) -> RunningService:
    """Start `services.NAME` on a free port (unless PORT is given) and wait until the path `until` answers 200."""
    project.mkdir(parents=True, exist_ok=True)
    port = int(env.setdefault("PORT", str(free_port())))
    log_path = project / f"{name}.log"
    process = run_module(f"services.{name}", project=project, log_path=log_path, env=service_environment(**env))
    service = RunningService(
        name=name, url=f"http://127.0.0.1:{port}", port=port, process=process, project=project, log_path=log_path
    )

    def ready() -> bool:
        if process.poll() is not None:
            pytest.fail(f"{name} ended with {process.returncode} before it was ready:\n{service.log()}")
        try:
            return httpx.get(f"{service.url}{until}", trust_env=False, timeout=1).status_code == 200
        except httpx.TransportError:
            return False

    wait_for(ready, within_s=_READY_WITHIN_S, what=f"{name} {until}")
    return service


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    """Start services, each in its own project directory, and stop those still running at the end."""
    started: list[RunningService] = []

    def start(name: str, **env: str) -> RunningService:
        service = launch(name, tmp_path / f"{name}-{len(started)}", **env)
        started.append(service)
        return service

    yield start
    _end(started)


@pytest.fixture(scope="module")
def start_shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartService]:
    """Start services like `start_service`, for a whole module of tests."""
    started: list[RunningService] = []

    def start(name: str, **env: str) -> RunningService:
        service = launch(name, tmp_path_factory.mktemp(name), **env)
        started.append(service)
        return service

    yield start
    _end(started)


def _end(services: list[RunningService]) -> None:
    for service in services:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()

"""How the supervisor asks a service that starts."""

import asyncio
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.ports import free_port
from toombos_cli import probes, processes
from toombos_cli.manifest.tables.expectations import ProbeSetting
from toombos_cli.manifest.tables.service import Service
from toombos_cli.supervisor.readiness import Asker, is_asked
from toombos_cli.supervisor.service_process import Running

_BODY = b'{"status": "ok", "dry_run": true}'


class LateServer(threading.Thread):
    """Listens after a moment, and counts the requests."""

    def __init__(self, port: int, after_s: float) -> None:
        super().__init__(daemon=True)
        self.port, self.after_s, self.paths = port, after_s, list[str]()
        self.listener = socket.socket()

    def run(self) -> None:
        time.sleep(self.after_s)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(64)
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                if request := connection.recv(65_536):
                    self.paths.append(request.split()[1].decode())
                    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(_BODY)}\r\n\r\n"
                    connection.sendall(head.encode() + _BODY)


@pytest.mark.parametrize(
    ("table", "paths"),
    [({}, ["/health"]), ({"ready": "/ready"}, ["/ready", "/health"])],
    ids=["its health route says whether it is ready", "it has a route of its own for that"],
)
def test_a_starting_service_is_asked_over_http_once_it_listens_and_each_route_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: dict[str, str], paths: list[str]
) -> None:
    asked: list[str] = []
    real = probes.probe_health

    def probe(*args: Any, **given: Any) -> probes.ProbeResult:
        asked.append(given["question"])
        return real(*args, **given)

    monkeypatch.setattr(probes, "probe_health", probe)
    monkeypatch.setattr(Asker, "_stranger", lambda asker, running: None)  # the server is this process
    port = free_port()
    service = Service(name="crm", command=("true",), port=port, **table)
    server = LateServer(port, 0.5)

    async def start() -> bool | None:
        leader = processes.identify(os.getpid())
        assert leader is not None
        running = Running(service, leader, "no tag", tmp_path / "lock")
        asker = Asker(service, ProbeSetting(), lambda child, ended: None)
        server.start()
        await asker.until_ready(running, lambda detail: None)
        return await asker.read_dry_run(running)

    try:
        assert asyncio.run(start()) is True
    finally:
        server.listener.close()
    assert server.paths == paths
    assert len(asked) == len(paths)


@pytest.mark.parametrize(
    ("table", "asked"),
    [
        ({"scheme": "none"}, False),
        ({"scheme": "none", "health": {"command": ("true",)}}, True),
        ({"scheme": "tcp", "port": 8001}, True),
        ({"port": 8001}, True),
        ({"unix": "/run/app.sock"}, True),
    ],
    ids=["a worker", "a worker with a command", "a port", "HTTP", "a Unix socket"],
)
def test_what_cannot_be_asked_is_not_asked(table: dict[str, object], asked: bool) -> None:
    assert is_asked(msgspec.convert({"name": "x", "command": ["true"], **table}, Service)) is asked

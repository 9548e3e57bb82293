"""SIGKILL during a thousand generations: every acknowledged one is in the history after the restart.

SIGTERM during a publication: it is in the history as pending.
"""

import asyncio
import json
import signal
import socket
import sqlite3
from contextlib import closing

import httpx
import pytest

from tests.services.conftest import RunningService, StartService
from tests.support.waiting import wait_for

GENERATIONS = 1000
KILL_AFTER = 400
CLIENTS = 10


def generate_until_killed(service: RunningService) -> list[str]:
    """Return the ids of the acknowledged previews; the process is killed once it has acknowledged KILL_AFTER."""
    acknowledged: list[str] = []

    async def run() -> None:
        left = iter(range(GENERATIONS))

        async def worker(client: httpx.AsyncClient) -> None:
            for _ in left:
                body = {"preview_only": True, "include_preview": False}
                try:
                    response = await client.post("/api/v2/generate-content", json=body)
                except httpx.TransportError:
                    return
                acknowledged.append(response.json()["content_id"])
                if len(acknowledged) == KILL_AFTER:
                    service.process.send_signal(signal.SIGKILL)

        async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=20) as client:
            await asyncio.gather(*(worker(client) for _ in range(CLIENTS)))

    asyncio.run(run())
    assert service.process.wait(10) == -signal.SIGKILL
    assert KILL_AFTER <= len(acknowledged) < GENERATIONS
    return acknowledged


def stored_ids(service: RunningService) -> set[str]:
    with service.client() as client:
        pages = [
            client.get("/api/v2/generations", params={"limit": 500, "offset": offset}).json() for offset in (0, 500)
        ]
    return {generation["content_id"] for page in pages for generation in page["generations"]}


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_sigkill_loses_no_acknowledged_generation(
    database: str, start_service: StartService, request: pytest.FixtureRequest
) -> None:
    env = {"DRY_RUN_MODE": "true", "LOG_LEVEL": "WARNING"}
    if database == "postgresql":
        env["DATABASE_URL"] = f"postgresql://toombos@/postgres?host={request.getfixturevalue('postgres_cluster')}"
    first = start_service("generator", **env)
    if database == "sqlite":
        path = first.project / "data" / "generator.db"
        env["DATABASE_URL"] = f"sqlite:///{path}"
    acknowledged = generate_until_killed(first)
    second = start_service("generator", **env)
    assert set(acknowledged) <= stored_ids(second)
    if database == "sqlite":
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()


def test_sigterm_leaves_an_unfinished_publication_pending_and_logs_no_error(start_service: StartService) -> None:
    crm = start_service("crm", MOCK_LATENCY_MS="60000")
    generator = start_service("generator", DRY_RUN_MODE="true", SHUTDOWN_GRACE_S="0.5", MOCK_CRM_BASE_URL=crm.url)
    body = b'{"publish_web": false, "generate_social": false}'
    head = f"POST /api/v2/generate-content HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", generator.port)) as client:
        client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        wait_for(lambda: stored_ids(generator), what="the pending generation")
        assert generator.stop() == 0
    with closing(sqlite3.connect(generator.project / "data" / "generator.db")) as connection:
        assert connection.execute("SELECT status FROM generations").fetchall() == [("pending",)]
    log = [json.loads(line) for line in generator.log().splitlines()]
    assert [line for line in log if line["level"] in ("ERROR", "CRITICAL")] == []
    assert "publications cut off and left as pending: 1" in generator.log()

"""SIGKILL in the middle of a thousand generations: every acknowledged one is in the history after the restart."""

import asyncio
import signal
import sqlite3

import httpx
import pytest

from tests.services.conftest import RunningService, StartService

GENERATIONS = 1000
KILL_AFTER = 400
CLIENTS = 10


def generate_until_killed(service: RunningService) -> list[str]:
    """Ids of the previews that were acknowledged; the process is killed once it has acknowledged KILL_AFTER."""
    acknowledged: list[str] = []

    async def run() -> None:
        left = iter(range(GENERATIONS))

        async def worker(client: httpx.AsyncClient) -> None:
            for _ in left:
                body = {"preview_only": True, "include_preview": False}
                try:
                    answer = await client.post("/api/v2/generate-content", json=body)
                except httpx.TransportError:
                    return
                acknowledged.append(answer.json()["content_id"])
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

"""The stored history, the same on SQLite and on PostgreSQL."""

import asyncio
import shutil
import socket
import sqlite3
import stat
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from sqlalchemy import text

from services.generator.history.engine import open_engine
from services.generator.history.history import GenerationHistory
from services.generator.history.model import Generation, GenerationStatus, HistoryUnavailableError
from services.generator.metrics import GeneratorMetrics
from tests.services.conftest import StartService

T = TypeVar("T")


def with_history(database_url: str, use: Callable[[GenerationHistory], Awaitable[T]]) -> T:
    """Return the result of `use` with a history that is opened before and closed after it, as in a service."""

    async def run() -> T:
        metrics = GeneratorMetrics(service="generator", version="0", dry_run=True)
        history = GenerationHistory(database_url, pool_size=3, metrics=metrics)
        try:
            return await use(history)
        finally:
            await history.close()

    return asyncio.run(run())


def generation(status: GenerationStatus = GenerationStatus.PREVIEW, *, digest: str = "c" * 64) -> Generation:
    return Generation(
        content_id=str(uuid4()),
        status=status,
        generated_at=datetime.now(UTC),
        document_digest="d" * 64,
        content_digest=digest,
        options_json='{"style":"modern"}',
    )


def test_a_generation_survives_a_restart_with_its_content(database_url: str) -> None:
    stored = generation()
    with_history(database_url, lambda history: history.add(stored, '{"text":"caf\u00e9 \U0001f331"}'))
    found = with_history(database_url, lambda history: history.get(stored.content_id))
    assert found == (stored, '{"text":"café 🌱"}')


def test_an_unknown_id_has_no_generation(database_url: str) -> None:
    assert with_history(database_url, lambda history: history.get("no such id")) is None


def test_the_outcome_replaces_pending(database_url: str) -> None:
    pending = generation(GenerationStatus.PENDING)
    finished = replace(
        pending,
        status=GenerationStatus.PARTIAL,
        published_to=("web", "social"),
        results_json='{"web":{"status":"success"}}',
        errors=('email: CRM said "no"',),
    )

    async def use(history: GenerationHistory) -> tuple[object, object]:
        await history.add(pending, "{}")
        before = await history.get(pending.content_id)
        await history.finish(finished)
        return before, await history.get(pending.content_id)

    assert with_history(database_url, use) == ((pending, "{}"), (finished, "{}"))


def test_pages_have_the_newest_first_and_the_total_count(database_url: str) -> None:
    stored = [generation() for _ in range(5)]

    async def use(history: GenerationHistory) -> tuple[list[str], int, list[str]]:
        for one in stored:
            await history.add(one, "{}")
        first, last = await history.page(limit=2, offset=0), await history.page(limit=2, offset=4)
        return [g.content_id for g in first.generations], first.total, [g.content_id for g in last.generations]

    ids = [one.content_id for one in stored]
    assert with_history(database_url, use) == ([ids[4], ids[3]], 5, [ids[0]])


def test_all_concurrent_writes_are_stored(database_url: str) -> None:
    stored = [generation(digest=f"{number % 7:064d}") for number in range(300)]

    async def use(history: GenerationHistory) -> tuple[int, int]:
        await asyncio.gather(*(history.add(one, f'"{one.content_digest}"') for one in stored))
        found = await asyncio.gather(*(history.get(one.content_id) for one in stored[:30]))
        matching = sum(f is not None and f[1] == f'"{f[0].content_digest}"' for f in found)
        return (await history.page(limit=1, offset=0)).total, matching

    assert with_history(database_url, use) == (300, 30)


def test_a_repeated_write_is_stored_once(database_url: str) -> None:
    stored = generation()

    async def use(history: GenerationHistory) -> int:
        await history.add(stored, "{}")
        await history.add(stored, "{}")
        return (await history.page(limit=10, offset=0)).total

    assert with_history(database_url, use) == 1


def test_two_services_may_share_one_database(database_url: str) -> None:
    async def use(first: GenerationHistory) -> int:
        metrics = GeneratorMetrics(service="generator", version="0", dry_run=True)
        second = GenerationHistory(database_url, pool_size=2, metrics=metrics)
        writes = [history.add(generation(), "{}") for history in (first, second) for _ in range(20)]
        await asyncio.gather(*writes)
        await second.close()
        return (await first.page(limit=1, offset=0)).total

    assert with_history(database_url, use) == 40


def test_the_history_waits_while_another_service_creates_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # as the other service does before it creates the tables

    async def use(history: GenerationHistory) -> tuple[bool, int]:
        adding = asyncio.create_task(history.add(generation(), "{}"))
        done, _ = await asyncio.wait([adding], timeout=0.3)
        other.execute("ROLLBACK")
        await adding
        return bool(done), (await history.page(limit=1, offset=0)).total

    assert with_history(f"sqlite:///{path}", use) == (False, 1)
    other.close()


def test_tables_of_another_version_are_left_alone(database_url: str) -> None:
    with_history(database_url, lambda history: history.ping())
    engine = open_engine(database_url, pool_size=1)
    with engine.begin() as connection:
        connection.execute(text("UPDATE schema_version SET version = 99"))
    engine.dispose()
    with pytest.raises(HistoryUnavailableError, match="version 99"):
        with_history(database_url, lambda history: history.add(generation(), "{}"))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:////proc/no/such.db", "cannot be used: /proc/no: No such file or directory"),
        ("postgresql://toombos:s3cret-word@127.0.0.1:9/none", "refused"),
    ],
)
def test_an_unavailable_database_is_reported_without_its_password(url: str, reason: str) -> None:
    with pytest.raises(HistoryUnavailableError) as refused:
        with_history(url, lambda history: history.ping())
    assert reason in str(refused.value)
    assert "s3cret-word" not in str(refused.value)


def test_a_database_is_used_again_once_it_is_available(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.write_text("in the way")

    async def use(history: GenerationHistory) -> int:
        with pytest.raises(HistoryUnavailableError):
            await history.add(generation(), "{}")
        folder.unlink()
        await history.add(generation(), "{}")
        return (await history.page(limit=1, offset=0)).total

    assert with_history(f"sqlite:///{folder}/history.db", use) == 1


@pytest.fixture
def locking(postgres_cluster: Path) -> Iterator[tuple[str, Any]]:
    """A database, and the connection of another session whose table locks block all queries."""
    import psycopg

    name = f"locked_{uuid4().hex}"
    where = {"host": str(postgres_cluster), "user": "toombos"}
    with psycopg.connect(**where, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = f"postgresql://toombos@/{name}?host={postgres_cluster}"
    with_history(url, lambda history: history.ping())
    with psycopg.connect(**where, dbname=name) as connection:
        yield url, connection


@pytest.mark.parametrize(
    "tables", ["contents, generations", "schema_version"], ids=["while in use", "while being opened"]
)
def test_a_database_that_does_not_respond_is_abandoned_and_used_again_once_it_does(
    locking: tuple[str, Any], tables: str
) -> None:
    url, session = locking
    session.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")

    async def run() -> int:
        metrics = GeneratorMetrics(service="generator", version="0", dry_run=True)
        history = GenerationHistory(url, pool_size=3, metrics=metrics, answer_within_s=0.2)
        for refused in (history.add(generation(), "{}"), history.page(limit=1, offset=0)):
            with pytest.raises(HistoryUnavailableError, match=r"cannot be used: no response within 0\.2 s"):
                await asyncio.wait_for(refused, 30)
        session.rollback()
        await history.add(generation(), "{}")
        total = (await history.page(limit=1, offset=0)).total
        await history.close()
        return total

    assert asyncio.run(run()) == 1


def test_sigterm_ends_a_service_whose_database_does_not_respond(
    locking: tuple[str, Any], start_service: StartService
) -> None:
    url, session = locking
    service = start_service("generator", DRY_RUN_MODE="true", SHUTDOWN_GRACE_S="0.5", DATABASE_URL=url)
    session.execute("LOCK TABLE generations IN ACCESS EXCLUSIVE MODE")
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(b"GET /api/v2/generations HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with service.client() as probe:  # the response comes only after the previous request was accepted
            assert probe.get("/live").status_code == 200
        assert service.stop() == 0


def test_a_file_that_is_not_a_database_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(HistoryUnavailableError, match=f"cannot be used: {path}: file is not a database"):
        with_history(f"sqlite:///{path}", lambda history: history.add(generation(), "{}"))


@pytest.mark.parametrize("deed", ["file removed", "folder removed", "file replaced"])
def test_nothing_is_written_to_a_deleted_database(tmp_path: Path, deed: str) -> None:
    path = tmp_path / "data" / "history.db"
    url = f"sqlite:///{path}"
    restored, later = generation(), generation()
    with_history(f"sqlite:///{tmp_path}/backup.db", lambda history: history.add(restored, "{}"))

    async def use(history: GenerationHistory) -> None:
        await history.add(generation(), "{}")
        if deed == "folder removed":
            shutil.rmtree(path.parent)
        else:
            for file in path.parent.iterdir():
                file.unlink()
        if deed == "file replaced":
            shutil.copy(tmp_path / "backup.db", path)
        await history.add(later, "{}")

    with_history(url, use)
    page = with_history(url, lambda history: history.page(limit=5, offset=0))
    expected = [later, restored] if deed == "file replaced" else [later]
    assert [found.content_id for found in page.generations] == [one.content_id for one in expected]


def test_the_sqlite_files_are_private_and_have_a_write_ahead_log(tmp_path: Path) -> None:
    path = tmp_path / "data" / "history.db"
    with_history(f"sqlite:///{path}", lambda history: history.add(generation(), "{}"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()

"""Old previews leave the history beside the requests; publications, and what they need, stay for ever."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, func, select, text

from services.generator.history.engine import open_engine
from services.generator.history.history import GenerationHistory
from services.generator.history.model import Generation, GenerationStatus, Write
from services.generator.history.retention import PreviewRetention
from services.generator.history.schema import by_content, contents
from services.generator.history.schema import generations as rows
from services.generator.history.store import HistoryStore
from services.generator.metrics import GeneratorMetrics
from tests.services.conftest import RunningService, StartService
from tests.services.generator.test_history import generation, with_history
from tests.support.waiting import wait_for

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PREVIEW = GenerationStatus.PREVIEW
NO_DATABASE = "sqlite:////proc/no/such.db"


def aged(days: float, status: GenerationStatus = PREVIEW, *, digest: str = "c" * 64, now: datetime = NOW) -> Generation:
    return replace(generation(status, digest=digest), generated_at=now - timedelta(days=days))


def stored(database_url: str, *generations: Generation) -> None:
    async def use(history: GenerationHistory) -> None:
        for one in generations:
            await history.add(one, '{"text":"x"}')

    with_history(database_url, use)


def executed(database_url: str, use: Callable[[Connection], Any]) -> Any:
    engine = open_engine(database_url, pool_size=1)
    with engine.begin() as connection:
        result = use(connection)
    engine.dispose()
    return result


async def empty(history: GenerationHistory) -> None:
    """Wait until the history has no generation."""
    for _ in range(2000):
        if not (await history.page(limit=1, offset=0)).total:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the old preview was not removed")


def content_count(database_url: str) -> int:
    return executed(database_url, lambda connection: connection.scalar(select(func.count()).select_from(contents)))


@pytest.mark.parametrize(
    ("days", "age_days", "status", "kept"),
    [
        pytest.param(30, 30.01, PREVIEW, False, id="a preview older than 30 days goes"),
        pytest.param(30, 29.99, PREVIEW, True, id="a preview younger than 30 days stays"),
        pytest.param(1, 1.01, PREVIEW, False, id="a preview older than 1 day goes"),
        pytest.param(36_500, 1000, PREVIEW, True, id="a preview stays for the longest retention"),
        pytest.param(30, -1000, PREVIEW, True, id="a preview of the future stays"),
        *(
            pytest.param(1, 10_000, status, True, id=f"an old generation that is {status.value} stays")
            for status in GenerationStatus
            if status is not PREVIEW
        ),
    ],
)
def test_the_retention_removes_old_previews_alone(
    database_url: str, days: int, age_days: float, status: GenerationStatus, kept: bool
) -> None:
    one = aged(age_days, status)
    stored(database_url, one)

    async def use(history: GenerationHistory) -> tuple[int, object]:
        removed = await PreviewRetention(history, days=days).remove_old(NOW)
        return removed, await history.get(one.content_id)

    assert with_history(database_url, use) == (0 if kept else 1, (one, '{"text":"x"}') if kept else None)
    assert content_count(database_url) == (1 if kept else 0)


def test_0_days_keep_every_preview(database_url: str) -> None:
    old = aged(10_000)
    stored(database_url, old)

    async def use(history: GenerationHistory) -> bool:
        await PreviewRetention(history, days=0).run()  # nothing to do, so it returns
        return await history.get(old.content_id) is not None

    assert with_history(database_url, use)


@pytest.mark.parametrize(
    "other",
    [aged(10_000, GenerationStatus.SUCCESS), aged(10_000, GenerationStatus.PENDING), aged(1)],
    ids=["an old publication", "a publication of unknown outcome", "a young preview"],
)
def test_a_removed_preview_leaves_its_content_to(database_url: str, other: Generation) -> None:
    stored(database_url, other, aged(40), aged(40, digest="e" * 64))

    async def use(history: GenerationHistory) -> tuple[int, object]:
        removed = await PreviewRetention(history, days=30).remove_old(NOW)
        return removed, await history.get(other.content_id)

    assert with_history(database_url, use) == (2, (other, '{"text":"x"}'))
    assert content_count(database_url) == 1


def test_the_content_of_a_removed_preview_is_stored_again_by_any_service(database_url: str) -> None:
    fresh = aged(0), aged(0, GenerationStatus.PENDING)

    async def use(first: GenerationHistory) -> list[object]:
        metrics = GeneratorMetrics(service="generator", version="0", dry_run=True)
        second = GenerationHistory(database_url, pool_size=1, metrics=metrics)
        for history in (first, second):  # both know that the content is stored
            await history.add(aged(40), '{"text":"x"}')
        assert await PreviewRetention(first, days=30).remove_old(NOW) == 2
        await second.add(fresh[0], '{"text":"x"}')
        assert await PreviewRetention(second, days=30).remove_old(NOW + timedelta(days=60)) == 1
        await first.add(fresh[1], '{"text":"x"}')
        await second.close()
        return [await first.get(one.content_id) for one in fresh]

    assert with_history(database_url, use) == [None, (fresh[1], '{"text":"x"}')]


def test_old_previews_are_removed_again_and_again(database_url: str) -> None:
    async def use(history: GenerationHistory) -> None:
        removing = asyncio.create_task(PreviewRetention(history, days=30, period_s=0.01).run())
        for _ in range(3):
            await history.add(aged(31, now=datetime.now(UTC)), "{}")
            await empty(history)
        removing.cancel()

    with_history(database_url, use)


@pytest.mark.parametrize(
    ("table", "column"),
    [("generations", "generated_at"), ("contents", "digest"), ("generations", "status")],
    ids=["while looking for previews", "while removing contents", "while looking and storing"],
)
def test_a_failing_database_does_not_end_the_removal(
    database_url: str, table: str, column: str, caplog: pytest.LogCaptureFixture
) -> None:
    old = aged(31, now=datetime.now(UTC))
    stored(database_url, old)

    def rename(old_name: str, new_name: str) -> None:
        statement = text(f"ALTER TABLE {table} RENAME COLUMN {old_name} TO {new_name}")
        executed(database_url, lambda connection: connection.execute(statement))

    rename(column, "hidden")

    async def use(history: GenerationHistory) -> None:
        removing = asyncio.create_task(PreviewRetention(history, days=30, period_s=0.01).run())
        await asyncio.to_thread(
            wait_for, lambda: caplog.text.count("could not be removed") > 2, within_s=20, what="three failed attempts"
        )
        await asyncio.to_thread(rename, "hidden", column)
        await empty(history)
        removing.cancel()

    with_history(database_url, use)


def test_the_service_lives_while_its_database_fails_and_removes_later(start_service: StartService) -> None:
    generator = start_service(
        "generator", DRY_RUN_MODE="true", DATABASE_URL="sqlite:////proc/no/such.db", until="/live"
    )
    wait_for(lambda: "could not be removed" in generator.log(), within_s=10, what="the failed removal in the log")
    with generator.client() as client:
        assert client.get("/live").status_code == 200
        assert client.get("/ready").status_code == 503
    assert generator.stop() == 0


_MANY = 100_000


def fill(database_url: str) -> None:
    """Store 100,000 old previews, each with a content of its own, as a generator without a retention left them."""
    engine = open_engine(database_url, pool_size=1)
    store = HistoryStore(engine)
    store.prepare()
    old = (aged(40, digest=f"{number:064d}") for number in range(_MANY))
    store.write([Write(generation=one, content_json=f'{{"a":"{"x" * 200}"}}') for one in old])
    by_content.drop(engine)
    store.close()


def longest_wait_s(service: RunningService, request: Callable[[httpx.Client], httpx.Response], until: Any) -> float:
    """Return the longest time that one of many requests took, made one after another until the event is set."""
    longest_s = 0.0
    with service.client() as client:
        while not until.is_set():
            started_s = time.monotonic()
            assert request(client).status_code == 200
            longest_s = max(longest_s, time.monotonic() - started_s)
            until.wait(0.1)  # so that this process leaves time to the service
    return longest_s


@pytest.mark.full
def test_no_request_waits_for_the_removal_of_100_000_previews(database_url: str, start_service: StartService) -> None:
    fill(database_url)
    generator = start_service("generator", DRY_RUN_MODE="true", DATABASE_URL=database_url, until="/live")
    done, waits_s = threading.Event(), {}
    requests = {
        "live": lambda client: client.get("/live"),
        "generation": lambda client: client.post("/api/v2/generate-content", json={"preview_only": True}),
        "history": lambda client: client.get("/api/v2/generations?limit=1"),
    }

    def measure(name: str) -> None:
        waits_s[name] = longest_wait_s(generator, requests[name], done)

    threads = [threading.Thread(target=measure, args=(name,), daemon=True) for name in requests]
    for thread in threads:
        thread.start()
    removed = f"previews older than 30 days removed: {_MANY}"
    wait_for(lambda: removed in generator.log(), within_s=200, what="the removal of all old previews")
    done.set()
    for thread in threads:
        thread.join()
    assert waits_s.keys() == requests.keys()
    assert max(waits_s.values()) < 1, waits_s
    old = select(func.count()).select_from(rows).where(rows.c.generated_at < NOW.isoformat())
    assert executed(database_url, lambda connection: connection.scalar(old)) == 0
    assert content_count(database_url) == 1

"""The history for the event loop: group commit, a bounded number of threads, recovery from database outages.

Writers that wait at the same time share one transaction, so that one disk flush serves all. A write returns when it
is durable.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from services.generator.history.engine import open_engine, sqlite_file
from services.generator.history.model import Generation, GenerationPage, HistoryUnavailableError, Write
from services.generator.history.store import HistoryStore
from services.generator.metrics import GeneratorMetrics

logger = logging.getLogger("generator.database")

_MAX_BATCH = 500
_MAX_WAITING = 10_000
_QUIET_TURNS = 5
"""A batch waits for this many turns of the event loop without a new write: enough to read, parse and render requests
that have already arrived. Fewer batches mean fewer switches between threads."""
_MAX_TURNS = 200
_READERS = 2
_ANSWER_WITHIN_S = 15.0
"""Longer than SQLite waits for another process's lock."""
_CLOSE_WITHIN_S = 2.0

T = TypeVar("T")
_FileId = tuple[int, int]
"""Device and inode."""


class GenerationHistory:
    """The history. It opens its database on first use, and again after a failure or if the SQLite file was replaced."""

    def __init__(
        self,
        database_url: str,
        *,
        pool_size: int,
        metrics: GeneratorMetrics,
        answer_within_s: float = _ANSWER_WITHIN_S,
    ) -> None:
        self._database_url = database_url
        self._pool_size = pool_size
        self._metrics = metrics
        self._answer_within_s = answer_within_s
        self._write_failed = False
        self._given_up = False
        self._store: HistoryStore | None = None
        self._file: Path | None = None
        self._file_id: _FileId | None = None
        self._latest: HistoryStore | None = None
        """The store last used, even if only to open it."""
        self._opening: asyncio.Task[HistoryStore] | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="history-writer")
        self._readers = ThreadPoolExecutor(min(_READERS, pool_size), thread_name_prefix="history-reader")
        self._waiting: list[tuple[Write, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def add(self, generation: Generation, content_json: str) -> None:
        """Store a new generation, durable on return. Raise HistoryUnavailableError if nothing was stored."""
        await self._write(generation, content_json)

    async def finish(self, generation: Generation) -> None:
        """Store the outcome of a pending generation, durable on return."""
        await self._write(generation, None)

    async def get(self, content_id: str) -> tuple[Generation, str] | None:
        """Return the generation and its content as JSON text, or None."""
        return await self._call(self._readers, lambda store: store.get(content_id))

    async def page(self, *, limit: int, offset: int) -> GenerationPage:
        return await self._call(self._readers, lambda store: store.page(limit=limit, offset=offset))

    async def old_previews(self, *, before: datetime, after_id: int, limit: int) -> list[int]:
        """Return the row ids of the first previews beyond `after_id` that were generated before `before`."""
        return await self._call(
            self._readers, lambda store: store.old_previews(before=before, after_id=after_id, limit=limit)
        )

    async def remove_previews(self, ids: Sequence[int]) -> int:
        """Remove these previews and return their number. A failure says nothing about reading and storing."""
        try:
            return await self._attempt(self._writer, lambda store: store.remove_previews(ids))
        except HistoryUnavailableError:
            raise
        except Exception as error:
            raise HistoryUnavailableError(_reason(error, self._file)) from error

    async def ping(self) -> None:
        """Raise HistoryUnavailableError if the database is unusable.

        After a failed write this tests writing too, because a full disk can still be read.
        """
        if self._write_failed:
            await self._call(self._writer, lambda store: store.ping(writing=True))
            self._write_failed = False
        else:
            await self._call(self._readers, lambda store: store.ping())

    async def close(self) -> None:
        """Finish pending writes, waiting only briefly for a server that does not respond."""
        giving_up = asyncio.get_running_loop().call_later(_CLOSE_WITHIN_S, self._give_up)
        if self._flushing is not None:
            await self._flushing
        if self._opening is not None:
            await asyncio.wait({self._opening})
        await asyncio.to_thread(self._writer.shutdown)
        await asyncio.to_thread(self._readers.shutdown)
        giving_up.cancel()
        if self._store is not None:
            self._store.close()

    async def _write(self, generation: Generation, content_json: str | None) -> None:
        await self._open()
        if len(self._waiting) >= _MAX_WAITING:
            raise HistoryUnavailableError(f"{_MAX_WAITING} generations are already waiting to be stored")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((Write(generation=generation, content_json=content_json), done))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        """Write batches until no write is waiting."""
        try:
            while self._waiting:
                await self._gather()
                batch, self._waiting = self._waiting[:_MAX_BATCH], self._waiting[_MAX_BATCH:]
                failure: Exception | None = None
                try:
                    await self._call(self._writer, partial(_write_all, writes=[write for write, _ in batch]))
                except HistoryUnavailableError as error:
                    failure = error
                self._write_failed = failure is not None
                for _, done in batch:
                    if not done.done():  # its request may have been cancelled
                        done.set_result(None) if failure is None else done.set_exception(failure)
        finally:
            self._flushing = None

    async def _gather(self) -> None:
        """Let imminent writes join the batch. Without traffic this takes microseconds, unlike a timer."""
        waiting, quiet_turns = len(self._waiting), 0
        for _ in range(_MAX_TURNS):
            await asyncio.sleep(0)
            quiet_turns = quiet_turns + 1 if len(self._waiting) == waiting else 0
            waiting = len(self._waiting)
            if quiet_turns == _QUIET_TURNS or waiting >= _MAX_BATCH:
                return

    async def _call(self, executor: ThreadPoolExecutor, job: Callable[[HistoryStore], T]) -> T:
        try:
            result = await self._attempt(executor, job)
        except HistoryUnavailableError:
            raise
        except Exception as error:
            raise self._unavailable(error) from error
        self._metrics.database_up.set(1)
        return result

    async def _attempt(self, executor: ThreadPoolExecutor, job: Callable[[HistoryStore], T]) -> T:
        store = await self._open()
        try:
            return await self._run(executor, job, store)
        except Exception as error:
            if not _connection_lost(error) or self._given_up:
                raise
            return await self._run(executor, job, store)  # the pool has discarded dead connections

    async def _run(self, executor: ThreadPoolExecutor, job: Callable[[HistoryStore], T], store: HistoryStore) -> T:
        if self._given_up:
            raise ConnectionAbortedError("the service is stopping")
        self._latest = store
        loop = asyncio.get_running_loop()
        cutting_off = loop.call_later(self._answer_within_s, self._cut_off)
        try:
            return await loop.run_in_executor(executor, job, store)
        except Exception as error:
            if loop.time() >= cutting_off.when():
                raise TimeoutError(f"no response within {self._answer_within_s:g} s") from error
            raise
        finally:
            cutting_off.cancel()

    def _give_up(self) -> None:
        self._given_up = True
        self._cut_off()

    def _cut_off(self) -> None:
        if self._latest is not None:
            logger.warning("the database does not respond: closing its connections")
            self._latest.cut_off()

    async def _open(self) -> HistoryStore:
        if self._store is not None and not self._is_replaced():
            return self._store
        if self._opening is None:
            self._opening = asyncio.create_task(self._open_anew())
            self._opening.add_done_callback(
                lambda done: done.cancelled() or done.exception()
            )  # nobody may be waiting any more
        return await asyncio.shield(self._opening)  # a cancelled waiter must not stop it half-way

    async def _open_anew(self) -> HistoryStore:
        if self._store is not None:
            logger.warning("%s was removed or replaced while in use: opening it again", self._file)
            self._store.close()
            self._store = None
        try:
            store = await asyncio.get_running_loop().run_in_executor(self._writer, self._make_store)
            try:
                await self._run(self._writer, HistoryStore.prepare, store)
                self._file_id = _file_id(self._file) if self._file else None
            except Exception:
                store.close()
                raise
        except Exception as error:
            raise self._unavailable(error) from error
        finally:
            self._opening = None
        self._store = store
        logger.info("database ready")
        return store

    def _make_store(self) -> HistoryStore:
        engine = open_engine(self._database_url, pool_size=self._pool_size)
        self._file = sqlite_file(engine.url)
        return HistoryStore(engine)

    def _is_replaced(self) -> bool:
        """Report whether the open file was deleted or replaced, so that new rows would be lost with this process."""
        try:
            return self._file is not None and _file_id(self._file) != self._file_id
        except OSError as error:
            return isinstance(error, FileNotFoundError)

    def _unavailable(self, error: Exception) -> HistoryUnavailableError:
        self._metrics.database_up.set(0)
        reason = _reason(error, self._file)
        logger.error("database failed: %s", reason)
        return HistoryUnavailableError(f"the history database cannot be used: {reason}")


def _write_all(store: HistoryStore, writes: list[Write]) -> None:
    store.write(writes)


def _connection_lost(error: Exception) -> bool:
    return bool(getattr(error, "connection_invalidated", False))


def _file_id(path: Path) -> _FileId:
    status = path.stat()
    return status.st_dev, status.st_ino


def _reason(error: Exception, file: Path | None) -> str:
    """Return the file and the first line of the driver's error, without SQLAlchemy's statement and parameters."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, OSError):
        file, reason = cause.filename or file, cause.strerror or str(cause) or type(cause).__name__
    else:
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    return f"{file}: {reason}" if file else reason

"""The history's reads and writes, as plain blocking calls on one engine."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Engine, bindparam, delete, exists, func, select, text, update
from sqlalchemy.exc import IntegrityError

from services.generator.history.engine import ServerConnections
from services.generator.history.model import Generation, GenerationPage, GenerationStatus, Write
from services.generator.history.schema import by_content, contents, ensure_schema, generations

_IS_PREVIEW = generations.c.status == GenerationStatus.PREVIEW.value


class HistoryStore:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connections = ServerConnections(engine)
        insert = _dialects_insert(engine)
        self._columns = [column for column in generations.c if column.name != "id"]
        # A commit whose response was lost is repeated, and then its rows already exist.
        self._insert_content = insert(contents).on_conflict_do_nothing()
        row = insert(generations).values({column.name: bindparam(column.name) for column in self._columns})
        # The statement of every request is compiled to the driver's SQL, so that SQLAlchemy does not process its rows.
        self._insert_generation = str(row.on_conflict_do_nothing().inline().compile(dialect=engine.dialect))
        self._finish = (
            update(generations)
            .where(generations.c.content_id == bindparam("key"))
            .values({name: bindparam(f"new_{name}") for name in ("status", "published_to", "results_json", "errors")})
        )
        self._stored_contents: set[str] = set()
        self._is_indexed = False

    def prepare(self) -> None:
        """Create missing parts of the schema."""
        with self._engine.begin() as connection:
            ensure_schema(connection)

    def write(self, batch: Sequence[Write]) -> None:
        """Store the batch in one transaction, durable on return."""
        try:
            self._write(batch)
        except IntegrityError:  # another service with this database has removed a content that was known as stored
            self._stored_contents.clear()
            self._write(batch)

    def _write(self, batch: Sequence[Write]) -> None:
        new = [write for write in batch if write.content_json is not None]
        texts = {w.generation.content_digest: w.content_json for w in new}
        unknown = [{"digest": d, "content_json": t} for d, t in texts.items() if d not in self._stored_contents]
        finished = [_outcome(write.generation) for write in batch if write.content_json is None]
        with self._engine.begin() as connection:
            if self._engine.dialect.name == "sqlite":
                connection.exec_driver_sql(f"PRAGMA synchronous={_synchronous(batch)}")
            if unknown:
                connection.execute(self._insert_content, unknown)
            if new:
                connection.exec_driver_sql(self._insert_generation, [_row(write.generation) for write in new])
            if finished:
                connection.execute(self._finish, finished)
        if len(self._stored_contents) > 10_000:
            self._stored_contents.clear()
        self._stored_contents.update(texts)

    def get(self, content_id: str) -> tuple[Generation, str] | None:
        """Return the generation and its content as JSON text, or None."""
        query = select(*self._columns, contents.c.content_json).join(contents)
        with self._engine.connect() as connection:
            row = connection.execute(query.where(generations.c.content_id == content_id)).one_or_none()
        return None if row is None else (_generation(row), row.content_json)

    def page(self, *, limit: int, offset: int) -> GenerationPage:
        query = select(*self._columns).order_by(generations.c.id.desc()).limit(limit).offset(offset)
        with self._engine.connect() as connection:
            total = connection.scalar(select(func.count()).select_from(generations))
            rows = connection.execute(query).all()
        return GenerationPage(generations=tuple(_generation(row) for row in rows), total=total or 0)

    def old_previews(self, *, before: datetime, after_id: int, limit: int) -> list[int]:
        """Return the row ids of the first `limit` previews beyond `after_id` that were generated before `before`."""
        old = (
            select(generations.c.id)
            .where(generations.c.id > after_id, _IS_PREVIEW, generations.c.generated_at < before.isoformat())
            .order_by(generations.c.id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return list(connection.scalars(old))

    def remove_previews(self, ids: Sequence[int]) -> int:
        """Remove these previews, and contents that no generation has any more; return the number of previews.

        Rows that another service is using are left to the next removal.
        """
        unlocked = select(generations.c.id).where(generations.c.id.in_(ids), _IS_PREVIEW)
        with self._engine.begin() as connection:
            if not self._is_indexed:
                by_content.create(connection, checkfirst=True)
            if self._engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
            rows = delete(generations).where(generations.c.id.in_(unlocked.with_for_update(skip_locked=True)))
            removed = connection.scalars(rows.returning(generations.c.content_digest)).all()
            # Locked first: a generation that gets one of them meanwhile is seen by the next statement, or waits.
            unlocked = select(contents.c.digest).where(contents.c.digest.in_(set(removed)))
            free = connection.scalars(unlocked.with_for_update(skip_locked=True)).all()
            unused = ~exists().where(generations.c.content_digest == contents.c.digest)
            connection.execute(delete(contents).where(contents.c.digest.in_(free), unused))
        self._is_indexed = True
        self._stored_contents.difference_update(free)
        return len(removed)

    def ping(self, *, writing: bool = False) -> None:
        """Raise SQLAlchemy's errors if the tables cannot be read or, with `writing`, cannot be written."""
        with self._engine.begin() as connection:
            connection.execute(text("SELECT version FROM schema_version"))
            if writing:
                connection.execute(text("UPDATE schema_version SET version = version"))

    def cut_off(self) -> None:
        """Make calls that wait for the database server raise. Can be called from any thread."""
        self._connections.cut_off()

    def close(self) -> None:
        self._engine.dispose()


def _dialects_insert(engine: Engine) -> Any:
    """Return the dialect's INSERT with ON CONFLICT. Import only that one: PostgreSQL's takes 25 ms of every start."""
    if engine.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert
    from sqlalchemy.dialects import sqlite

    return sqlite.insert


def _synchronous(batch: Sequence[Write]) -> str:
    """Return SQLite's `synchronous` level. In WAL mode both levels survive SIGKILL; FULL also waits for the disk.

    Published content must survive a power cut because it is public. A preview can be generated again.
    """
    only_previews = all(write.generation.status is GenerationStatus.PREVIEW for write in batch)
    return "NORMAL" if only_previews else "FULL"


def _row(generation: Generation) -> dict[str, Any]:
    return {
        "content_id": generation.content_id,
        "status": generation.status.value,
        "generated_at": generation.generated_at.isoformat(),
        "document_digest": generation.document_digest,
        "content_digest": generation.content_digest,
        "options_json": generation.options_json,
        "published_to": _array(generation.published_to),
        "results_json": generation.results_json,
        "errors": _array(generation.errors),
    }


def _outcome(generation: Generation) -> dict[str, str]:
    return {
        "key": generation.content_id,
        "new_status": generation.status.value,
        "new_published_to": _array(generation.published_to),
        "new_results_json": generation.results_json,
        "new_errors": _array(generation.errors),
    }


def _generation(row: Any) -> Generation:
    return Generation(
        content_id=row.content_id,
        status=GenerationStatus(row.status),
        generated_at=datetime.fromisoformat(row.generated_at),
        document_digest=row.document_digest,
        content_digest=row.content_digest,
        options_json=row.options_json,
        published_to=tuple(json.loads(row.published_to)),
        results_json=row.results_json,
        errors=tuple(json.loads(row.errors)),
    )


def _array(values: tuple[str, ...]) -> str:
    return msgspec.json.encode(values).decode()

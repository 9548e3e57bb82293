"""Open the history's database: SQLite with a write-ahead log, or PostgreSQL, each with a bounded pool."""

import os
import socket
import sqlite3
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.pool import ConnectionPoolEntry

_BUSY_TIMEOUT_S = 10
_CONNECT_TIMEOUT_S = 5


def open_engine(database_url: str, *, pool_size: int) -> Engine:
    """Return an engine with a bounded pool.

    Raise OSError if the SQLite file's folder cannot be created, and SQLAlchemy's errors for an unusable URL.
    """
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        return _open_sqlite(url, pool_size=pool_size)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=_CONNECT_TIMEOUT_S,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": _CONNECT_TIMEOUT_S},
    )


class ServerConnections:
    """An engine's open connections to a database server, to be cut off if it stops responding.

    Nothing else ends a thread that waits for a server that is frozen, unreachable or itself waiting for a lock. SQLite
    has no server, and its calls wait for a lock for a bounded time.
    """

    def __init__(self, engine: Engine) -> None:
        self._open: set[DBAPIConnection] = set()
        if engine.dialect.name != "sqlite":
            event.listen(engine, "connect", lambda connection, _record: self._open.add(connection))
            event.listen(engine, "close", lambda connection, _record: self._open.discard(connection))

    def cut_off(self) -> None:
        """Close the sockets: waiting threads get the driver's error, as if the server had disconnected."""
        for connection in self._open.copy():
            with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as twin:  # may just be closing
                twin.shutdown(socket.SHUT_RDWR)


def sqlite_file(url: URL) -> Path | None:
    """Return the file of a SQLite database, or None if it is in memory or not SQLite."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith((":memory:", "file:")):
        return None
    return Path(url.database)


def _open_sqlite(url: URL, *, pool_size: int) -> Engine:
    file = sqlite_file(url)
    if file is not None:
        _create_private(file)
    in_memory = url.database in (None, "", ":memory:")
    pool = {} if in_memory else {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": _CONNECT_TIMEOUT_S}
    engine = create_engine(
        url,
        hide_parameters=True,
        paramstyle="named",  # rows are mappings, as they are for psycopg
        connect_args={"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False},
        **pool,
    )
    event.listen(engine, "connect", _set_pragmas)
    return engine


def _create_private(path: Path) -> None:
    """Create the file and its folder, private to this user; SQLite gives its -wal and -shm files the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _set_pragmas(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    _write_ahead(cursor)
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _write_ahead(cursor: DBAPICursor) -> None:
    """Switch to WAL, with retries: SQLite reports `locked` at once while another process switches a new file."""
    deadline_s = monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > deadline_s:
                raise
            sleep(0.01)
        else:
            return

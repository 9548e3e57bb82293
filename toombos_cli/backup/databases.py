"""SQLite: consistent copies of a live database, and their integrity check.

A plain file copy of a live database is malformed (10 of 10 measured). The copy here is made inside one read
transaction: otherwise sqlite3_backup restarts whenever another process commits (2,687 restarts in 6 s measured).
"""

import os
import shutil
import sqlite3
import time
import urllib.parse
from contextlib import closing
from pathlib import Path

from toombos_cli.backup.archive.format import DatabaseRecord
from toombos_cli.backup.observer import BackupObserver
from toombos_cli.base.sqlite_files import COMPANIONS, rests_in_wal_mode
from toombos_cli.base.text import printable, seconds

_STEP_PAGES = 1024
_LOCK_WAIT_S = 30.0


def snapshot(source: bytes, target: Path, observer: BackupObserver, *, deadline_s: float = 600.0) -> DatabaseRecord:
    """Copy a database that may be in use to `target` and check the copy. In WAL mode, writers are not blocked.

    Raises sqlite3.DatabaseError if the source cannot be read as a database, TimeoutError at the deadline.
    """
    observer.step("snapshot")
    # A reader creates -shm and -wal, which only a connection that may write removes again when it is the last.
    mode = "rw" if rests_in_wal_mode(source) else "ro"
    try:
        _copy(source, target, mode, observer, deadline_s)
    except sqlite3.OperationalError as error:
        # Rolling back the journal of a crash writes to the database, so it is done in a copy, never in the live file.
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
        aside = os.fsencode(target) + b".aside"
        for suffix in (b"", *COMPANIONS):
            if os.path.exists(source + suffix):
                shutil.copyfile(source + suffix, aside + suffix)
        _copy(aside, target, "rw", observer, deadline_s)
    return judge(target)


def judge(path: Path | bytes) -> DatabaseRecord:
    """Run integrity_check and count the rows of a database that nobody else has open. Creates no companion files.

    What needs a collation, function or module of the application's own cannot be checked here: `unjudged` says so.
    """
    with closing(_connect(os.fsencode(path), "mode=ro&immutable=1")) as database:
        database.text_factory = _text
        try:
            complaint, unjudged = _complaint(database)
            if complaint:
                return DatabaseRecord(integrity=complaint)
            names = [str(row[0]) for row in database.execute(_TABLES)]
            counts = {name: _count(database, name) for name in names}
        except sqlite3.DatabaseError as error:
            return DatabaseRecord(integrity=str(error))
    tables = {printable(os.fsencode(name)): count for name, count in counts.items() if count is not None}
    return DatabaseRecord(integrity="ok", tables=tables, unjudged=unjudged)


def _text(value: bytes) -> str:
    """Return text that need not be valid UTF-8: SQLite stores any bytes."""
    return value.decode(errors="surrogateescape")


def _complaint(database: sqlite3.Connection) -> tuple[str, str]:
    """Return the first complaint of integrity_check, and why it could not look at everything; "" means none."""
    try:
        return _check(database, "1"), ""
    except sqlite3.OperationalError as error:
        if not _needs_application(error):
            raise
        unjudged = str(error)
    for (name,) in database.execute(_TABLES).fetchall():
        try:
            complaint = _check(database, _quoted(name))
        except UnicodeEncodeError:
            continue
        except sqlite3.OperationalError as error:
            if not _needs_application(error):
                raise
            complaint = ""
            _read_rows(database, name)
        if complaint:
            return complaint, ""
    return "", unjudged


def _check(database: sqlite3.Connection, what: str) -> str:
    complaint = str(database.execute(f"PRAGMA integrity_check({what})").fetchone()[0])
    return "" if complaint == "ok" else complaint


def _read_rows(database: sqlite3.Connection, table: str) -> None:
    """Read every row without an index. Raise sqlite3.DatabaseError if the pages are damaged."""
    try:
        for _ in database.execute(f"SELECT * FROM {_quoted(table)} NOT INDEXED"):  # noqa: S608  (a quoted name)
            pass
    except sqlite3.OperationalError as error:
        if not _needs_application(error):
            raise


def _needs_application(error: sqlite3.OperationalError) -> bool:
    """Report whether SQL did not compile here: damage, locks and disk errors have codes of their own."""
    return error.sqlite_errorcode == sqlite3.SQLITE_ERROR or error.sqlite_errorcode == _MISSING_COLLATION


_MISSING_COLLATION = sqlite3.SQLITE_ERROR | 1 << 8  # SQLITE_ERROR_MISSING_COLLSEQ

_TABLES = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    " AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
)


def _copy(source: bytes, target: Path, mode: str, observer: BackupObserver, deadline_s: float) -> None:
    end = time.monotonic() + deadline_s
    target.unlink(missing_ok=True)

    def progress(status: int, remaining: int, total: int) -> None:
        if time.monotonic() > end:
            raise TimeoutError(f"the snapshot took longer than {seconds(deadline_s)}")

    with (
        closing(_connect(source, f"mode={mode}", min(deadline_s, _LOCK_WAIT_S))) as live,
        closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        copy.execute("PRAGMA synchronous = OFF")
        copy.execute("PRAGMA journal_mode = OFF")
        live.execute("BEGIN")
        live.execute("SELECT count(*) FROM sqlite_master").fetchone()
        live.backup(copy, pages=_STEP_PAGES, progress=progress)


def _connect(path: bytes, parameters: str, lock_wait_s: float = 0.0) -> sqlite3.Connection:
    uri = f"file:{urllib.parse.quote_from_bytes(path)}?{parameters}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=lock_wait_s)


def _count(database: sqlite3.Connection, table: str) -> int | None:
    """Return the number of rows, or None if it cannot be counted here."""
    try:
        row = database.execute(f"SELECT count(*) FROM {_quoted(table)} NOT INDEXED").fetchone()  # noqa: S608  (a quoted name)
    except sqlite3.OperationalError as error:
        if not _needs_application(error):
            raise
        return None
    except UnicodeEncodeError:  # the name is no UTF-8, so that it cannot stand in a statement
        return None
    return int(row[0])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

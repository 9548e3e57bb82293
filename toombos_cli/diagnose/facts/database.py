"""The services' databases: whether each can be reached, queried and written, and has free connections."""

import os
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
from msgspec.structs import replace

from toombos_cli import processes
from toombos_cli.base.errors import type_and_place
from toombos_cli.diagnose.facts.configuration import SETTINGS
from toombos_cli.diagnose.facts.source import Fact, Facts
from toombos_cli.diagnose.facts.system import SYSTEM
from toombos_cli.diagnose.known.catalogue import catalogue, first_match
from toombos_cli.manifest.tables.known import LineKind
from toombos_cli.probes import Reason
from toombos_cli.probes.tcp import probe_tcp
from toombos_cli.settings.databases import Database, DatabaseKind, Server
from toombos_cli.settings.display import masked_url

_TIMEOUT_S = 1.5
_PENDING_BYTE = 0x40000000
"""The first of the bytes of a file that SQLite locks (https://www.sqlite.org/fileformat2.html#the_lock_byte_page)."""
_LOOKS, _LOOK_S = 8, 0.13
_WAITS = """
SELECT a.pid, a.usename, a.application_name, a.state, extract(epoch FROM now() - a.state_change), count(DISTINCT w.pid)
FROM pg_locks w, unnest(pg_blocking_pids(w.pid)) AS b(pid) JOIN pg_stat_activity a ON a.pid = b.pid
WHERE NOT w.granted {long} AND pg_blocking_pids(a.pid) = '{{}}'
GROUP BY 1, 2, 3, 4, 5 ORDER BY 6 DESC LIMIT 5
"""
_LONG, _LONG_SINCE = "AND w.waitstart < now() - interval '1 second'", 140000
"""How long a wait must last, and the first version of PostgreSQL that says it to every user."""
"""The sessions for which others have waited for more than a second, and which wait for nobody themselves."""
_SESSIONS = """
SELECT coalesce(nullif(application_name, ''), 'a client') || ' as ' || coalesce(usename, '?') ||
 CASE WHEN bool_and(state LIKE 'idle%') THEN ', idle' ELSE '' END, count(*)
FROM pg_stat_activity
WHERE usesysid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend' AND pid <> pg_backend_pid()
GROUP BY application_name, usename ORDER BY 2 DESC LIMIT 3
"""
"""Who has sessions; an ordinary user does not see the state and the type of those of others."""
_MOST_CLIENTS = 3
_DAMAGED = ("XX001", "XX002")
"""PostgreSQL's data_corrupted and index_corrupted."""
_CHECKED_BYTES = 8 * 1024 * 1024
"""Larger SQLite files are not checked for damage, because that reads the whole file."""


class LockHolder(msgspec.Struct, frozen=True, kw_only=True):
    """A process or a session that others wait for; `pid` is that of the process, or PostgreSQL's own of the session.

    `service` is the one that the process belongs to, or "". `waiting` counts the sessions that wait, 0 if unknown.
    """

    pid: int
    who: str
    service: str = ""
    waiting: int = 0


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds connections of a database server: a process of this machine, or what a session says that it is.

    `service` is the one that the process belongs to, or "".
    """

    who: str
    service: str = ""
    connections: int


class DatabaseFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One database. `kind` is "" if no service has one. `url` has no password.

    `undecryptable` says why its URL cannot be read. `ping` is "" if SELECT 1 succeeded, else why not; `damaged` says
    whether its file is damaged, and `exhausted` whether the server refuses more connections. `reached` is the reason of
    the TCP probe of a server.
    `removed` lists removed files that a service still has open: the original name, and /proc/PID/fd/N.
    `served_by` is the service of the manifest that listens at the URL's address.
    """

    name: str = ""
    kind: str = ""
    url: str = ""
    undecryptable: str = ""
    path: str = ""
    exists: bool = True
    reached: str = ""
    ping: str = ""
    damaged: bool = False
    exhausted: bool = False
    ping_skipped: str = ""
    permission: str = ""
    connections: int | None = None
    max_connections: int | None = None
    services: tuple[str, ...] = ()
    served_by: str = ""
    removed: tuple[tuple[str, str], ...] = ()
    clients: tuple[Client, ...] = ()
    """Who holds most of its connections, if few are left."""
    holders: tuple[LockHolder, ...] = ()
    """Who has held its lock for a second: the writer of a SQLite file, or a session for which others wait."""


def _gather(facts: Facts) -> tuple[DatabaseFacts, ...]:
    found: dict[int, DatabaseFacts] = {}
    databases = facts.get(SETTINGS).databases

    def look(number: int, database: Database) -> None:
        try:
            found[number] = _one(facts, database)
        except Exception as error:  # a bug that one database reveals must not affect the others
            ping = f"it could not be examined: {type_and_place(error)}"
            found[number] = DatabaseFacts(name=database.name, services=database.services, ping=ping)

    threads = [Thread(target=look, args=one, daemon=True) for one in enumerate(databases)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tuple(found[number] for number in range(len(databases)))


def _one(facts: Facts, database: Database) -> DatabaseFacts:
    url = masked_url(database.url) if "://" in database.url else ""
    scheme = re.split(r"[+:]", url)[0]
    found = DatabaseFacts(name=database.name, kind=scheme or "other", url=url, services=database.services)
    if database.undecryptable:
        return replace(found, undecryptable=database.undecryptable)
    if database.kind is DatabaseKind.SQLITE:
        found = _sqlite(found, database.path)
        if not found.exists:
            return replace(found, removed=_still_open(facts, found))
        return replace(found, holders=_writers(facts, Path(found.path))) if found.path else found
    return _server(facts, found, database.server)


def _sqlite(found: DatabaseFacts, path: Path | None) -> DatabaseFacts:
    if path is None:
        return replace(found, ping_skipped="it is in memory")
    found = replace(found, path=str(path), permission=_permission(path), exists=path.exists())
    if not path.exists():
        return replace(found, ping_skipped="it does not exist yet")
    problem, damaged = _ping_sqlite(path)
    return replace(found, ping=problem, damaged=damaged)


def _still_open(facts: Facts, found: DatabaseFacts) -> tuple[tuple[str, str], ...]:
    """Return the removed files of the database (and its WAL) that a service still has open, by name, or ()."""
    system = facts.get(SYSTEM).services
    path = os.path.realpath(found.path)
    pids = [pid for name in found.services for pid in system[name].pids]
    files: dict[str, str] = {}
    for pid in pids:
        for entry in sorted(Path("/proc", str(pid), "fd").glob("*")):
            with suppress(OSError):
                target = os.readlink(entry)  # noqa: PTH115  (a text that is not a path: "NAME (deleted)")
                name = target.removesuffix(" (deleted)")
                if name != target and name in (path, f"{path}-wal"):
                    files.setdefault(name, str(entry))
    return tuple(sorted(files.items())) if path in files else ()


def _writers(facts: Facts, path: Path) -> tuple[LockHolder, ...]:
    """Return the processes that hold the write lock of a SQLite file during a whole second."""
    pids = lock_owners(path)
    for _ in range(_LOOKS):
        if not pids:
            return ()
        time.sleep(_LOOK_S)
        pids &= lock_owners(path)
    system = facts.get(SYSTEM).services
    return tuple(
        LockHolder(
            pid=pid,
            who=processes.command_line(pid) or "a process",
            service=next((name for name, service in system.items() if pid in service.pids), ""),
        )
        for pid in sorted(pids)
    )


def lock_owners(path: Path) -> set[int]:
    """Return the pids that hold the lock for writing of a SQLite file, with a rollback journal or with a WAL."""
    wanted = {}
    for name, first, last in ((path, _PENDING_BYTE, _PENDING_BYTE + 511), (Path(f"{path}-shm"), 120, 120)):
        with suppress(OSError):
            wanted[str(name.stat().st_ino)] = (first, last)
    try:
        lines = Path("/proc/locks").read_text("ascii").splitlines()
    except OSError:
        return set()
    owners = set()
    for words in map(str.split, lines):
        if len(words) == 8 and words[1:4] == ["POSIX", "ADVISORY", "WRITE"]:
            first, last = wanted.get(words[5].rpartition(":")[2], (1, 0))
            end = last if words[7] == "EOF" else int(words[7])
            if int(words[6]) <= last and end >= first:
                owners.add(int(words[4]))
    return owners


def _permission(path: Path) -> str:
    """Return why this user cannot write the file, or "". SQLite also writes files beside it."""
    if path.is_dir():
        return f"{path} is a directory"
    directory = next((d for d in path.parents if d.exists()), Path("/"))
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return f"{path} is not readable and writable by this user"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"{directory} is not writable by this user"
    return ""


def _ping_sqlite(path: Path) -> tuple[str, bool]:
    """Return why a query fails, or "", and whether the file is damaged."""
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.5)
        try:
            # Read the schema, to detect a file that is not a database or is damaged at its head.
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            checked = path.stat().st_size <= _CHECKED_BYTES
            answer = connection.execute("PRAGMA quick_check(1)").fetchone() if checked else ("ok",)
        finally:
            connection.close()
    except sqlite3.Error as error:
        return str(error), getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    damaged = answer[0] != "ok"
    return f"damaged: {answer[0].splitlines()[0]}" if damaged else "", damaged


def _server(facts: Facts, found: DatabaseFacts, server: Server | None) -> DatabaseFacts:
    if server is None or server.port is None:
        return replace(found, ping_skipped="its URL cannot be read")
    if not server.host.startswith("/"):  # the directory of a Unix socket has no port to try
        found = _reached(facts, found, server.host, server.port)
        if found.reached != "ok":
            return found
    if server.kind is not DatabaseKind.POSTGRESQL:
        return replace(found, ping_skipped="only PostgreSQL and SQLite are queried")
    found = _postgres(found, server)
    if found.ping and refuses_connections(facts, found.ping):
        return replace(found, exhausted=True, clients=_clients(facts, server.port))
    return found


def refuses_connections(facts: Facts, message: str) -> bool:
    """Return whether the error of a database means that all of its connections are in use, in the knowledge base."""
    known = catalogue(facts.manifest.diagnose.known)
    match = first_match(known.possible([message]), message, complains=True, is_last_word=True, programs={})
    return match is not None and match[0].line.kind is LineKind.POOL


def _clients(facts: Facts, port: int) -> tuple[Client, ...]:
    """Return the processes of this machine that hold connections to a port, those of a service together."""
    system = facts.get(SYSTEM).services
    held: Counter[tuple[str, str]] = Counter()
    for pid, connections in processes.clients_of(port).items():
        service = next((name for name, found in system.items() if pid in found.pids), "")
        who = service or f"pid {pid} ({processes.command_line(pid) or 'ended'})"
        if pid != os.getpid():
            held[service, who] += connections
    return tuple(Client(who=w, service=s, connections=n) for (s, w), n in held.most_common(_MOST_CLIENTS))


def _reached(facts: Facts, found: DatabaseFacts, host: str, port: int) -> DatabaseFacts:
    every = facts.manifest.services.values()
    served_by = (s.name for s in every if s.port == port and processes.conflicts(s.host, host))
    found = replace(found, served_by=next(served_by, ""))
    answer = probe_tcp(host, port, timeout_s=_TIMEOUT_S)
    if answer.reason is not Reason.OK:
        return replace(found, reached=answer.reason.value, ping=answer.detail)
    return replace(found, reached="ok")


def _postgres(found: DatabaseFacts, server: Server) -> DatabaseFacts:
    try:
        import psycopg
    except ImportError:
        return replace(found, ping_skipped="psycopg is not installed: pip install toombos[postgres]")
    # Not through SQLAlchemy, whose import alone would take a quarter of the time limit.
    password = server.password or None
    try:
        with psycopg.connect(server.libpq_url(), password=password, connect_timeout=2) as connection:
            waits = _WAITS.format(long=_LONG if connection.info.server_version >= _LONG_SINCE else "")
            holders = tuple(_blocking(connection.execute(waits).fetchall()))
            sessions = connection.execute(_SESSIONS).fetchall()
            row = connection.execute(
                "SELECT (SELECT count(*) FROM pg_stat_activity WHERE usesysid IS NOT NULL AND"
                "  coalesce(backend_type, 'client backend') = 'client backend'),"
                " current_setting('max_connections')::int,"
                " has_schema_privilege(current_user, 'public', 'CREATE')"
            ).fetchone()
    except psycopg.Error as error:
        damaged = error.sqlstate in _DAMAGED
        return replace(found, ping=(str(error).strip().splitlines() or ["it failed"])[0], damaged=damaged)
    used, limit, may_create = row or (None, None, True)
    clients = tuple(Client(who=who, connections=count) for who, count in sessions)
    permission = "" if may_create else "this user may not create tables in the schema public"
    found = replace(found, permission=permission, connections=used, max_connections=limit)
    return replace(found, holders=holders, clients=clients)


def _blocking(rows: Iterable[tuple[Any, ...]]) -> Iterator[LockHolder]:
    """Yield each session that others wait for."""
    for pid, user, program, state, since_s, waiting in rows:
        since = f", {state} for {int(since_s)} s" if state else ""  # an ordinary user does not see that of others
        who = f"{program or 'a client'} as {user}{since}"
        yield LockHolder(pid=pid, who=who, waiting=waiting)


DATABASES: Fact[tuple[DatabaseFacts, ...]] = Fact("database", tuple[DatabaseFacts, ...], _gather)

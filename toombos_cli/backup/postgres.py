"""PostgreSQL through its own programs: pg_dump and row counts in one snapshot, and a restore in one transaction.

Passwords are passed in the environment or a private file, never in an argument that `ps` shows.
"""

import contextlib
import os
import re
import secrets
import subprocess
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

from toombos_cli.backup.archive.format import DatabaseRecord
from toombos_cli.backup.postgres_in_place import NEEDS, MissingOnServer, drop_all, missing_query
from toombos_cli.base.errors import OperationError, RefusedError
from toombos_cli.base.programs import find_program
from toombos_cli.base.quoting import joined
from toombos_cli.base.text import seconds
from toombos_cli.base.untrusted import decode_untrusted
from toombos_cli.processes import conflicts
from toombos_cli.settings.databases import DatabaseKind, Server

DUMP_ROOT = ".toombos"
DUMP_NAME = b".toombos/postgresql.dump"
_PLACES = "usr/lib/postgresql/*/bin"  # on Debian, pg_dump is here and not always on PATH
_MARKER = "public.toombos_restore"
_LOCK_WAIT_S = 30.0
_STARTING_S = 120.0
_LOOK_S = 0.1
_REJECTS = 1  # the exit code of pg_isready while a server starts up
_LOCK_NOT_AVAILABLE = "55P03"  # https://www.postgresql.org/docs/current/errcodes-appendix.html
_LOCKERS = """
SELECT format('pid %s (%s, %s, %s)', pid, usename, coalesce(nullif(application_name, ''), 'unnamed'), state)
FROM pg_stat_activity a WHERE pid <> pg_backend_pid() AND datname = current_database() AND EXISTS
  (SELECT FROM pg_locks l WHERE l.pid = a.pid AND locktype = 'relation' AND relation >= 16384) ORDER BY 1
"""
_COUNTS = """
SELECT format('%I.%I', schemaname, tablename) || chr(9) ||
       (xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c FROM %I.%I', schemaname, tablename),
                                            false, true, '')))[1]
FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename <> 'toombos_restore'
ORDER BY 1;
"""


_END_SESSION = """
SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = {key} AND classid = 0
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid()
"""


class LockTimeoutError(OperationError):
    """Another session kept a table locked for too long."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A PostgreSQL database, created from its URL by `from_url`."""

    dsn: str
    password: str | None = field(repr=False)
    key_password: str | None = field(default=None, repr=False)
    """The password of the client's private key (`sslpassword`)."""
    name: str = "DATABASE_URL"
    """The variable that names it, for messages."""

    @classmethod
    def from_url(cls, url: str | None, *, name: str = "DATABASE_URL") -> "Postgres | None":
        """None for a URL of another kind of database; SQLAlchemy's `postgresql+driver://` is understood."""
        server = Server.parse(url or "")
        if server is None or server.kind is not DatabaseKind.POSTGRESQL:
            return None
        key_password = dict(server.parameters).get("sslpassword")
        return cls(server.libpq_url(), server.password or None, key_password, name)

    @property
    def role(self) -> str:
        """The role that connects, "" for libpq's default."""
        server = Server.parse(self.dsn)
        return unquote(server.user) if server else ""

    def is_at(self, port: int, hosts: Collection[str]) -> bool:
        """Report whether it is the server of this machine at this port; `hosts` may be directories of sockets."""
        server = Server.parse(self.dsn)
        if server is None or server.port != port:
            return False
        return server.host in hosts or any(not host.startswith("/") and conflicts(server.host, host) for host in hosts)

    def dump(self, target: Path, timeout_s: float) -> DatabaseRecord:
        """Write a dump in custom format and count the rows of the same snapshot. Raises OperationError."""
        self._wait_while_it_starts(timeout_s)
        with self._environment() as environment:
            return self._dump(target, timeout_s, environment)

    def _dump(self, target: Path, timeout_s: float, environment: dict[str, str]) -> DatabaseRecord:
        psql = subprocess.Popen(
            [postgres_program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.dsn],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        too_late = threading.Timer(timeout_s, psql.kill)
        too_late.start()
        try:
            if psql.stdin is None or psql.stdout is None:
                raise AssertionError("psql was started with pipes")
            psql.stdin.write("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSELECT pg_export_snapshot();\n")
            psql.stdin.write("SELECT current_setting('server_version_num')::int / 10000;\n")
            psql.stdin.flush()
            snapshot, major = psql.stdout.readline().strip(), psql.stdout.readline().strip()
            too_late.cancel()  # each of the next steps has its own limit
            if not major:
                said = _said(psql.communicate()[1]) or f"no answer within {seconds(timeout_s)}"
                raise self._unreachable(said)
            options = ["--format=custom", "--compress=0", f"--snapshot={snapshot}"]
            options += [f"--exclude-table={_MARKER}", f"--file={target}", self.dsn]
            self._run("pg_dump", options, timeout_s, at_least=int(major))
            told, complaint = psql.communicate(NEEDS + _COUNTS + "COMMIT;\n", timeout=timeout_s)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            raise OperationError(f"no answer within {seconds(timeout_s)}", where=self.name) from None
        finally:
            too_late.cancel()
            psql.kill()
            psql.communicate()
        if psql.returncode:
            raise OperationError(f"the rows could not be counted: {_said(complaint)}", where=self.name)
        needs, *counts = told.splitlines()
        rows = (line.rpartition("\t") for line in counts)
        tables = {table: int(count) for table, _, count in rows}
        return DatabaseRecord(integrity="ok", tables=tables, needs=decode_untrusted(needs, dict[str, tuple[str, ...]]))

    def refuse_what_is_missing(self, record: DatabaseRecord, timeout_s: float) -> MissingOnServer:
        """Return what a restore has to leave as it is. Raise RefusedError if the server lacks what the dump needs.

        Raise OperationError with the commands that create the database if it does not exist.
        """
        self._wait_while_it_starts(timeout_s)
        try:
            told = self._psql(["-c", missing_query(record.needs)], timeout_s)
        except OperationError as error:
            raise self._unreachable(str(error)) from None
        missing = decode_untrusted(told, MissingOnServer)
        if missing.reasons:
            raise RefusedError(
                f"the PostgreSQL database cannot be restored: {'; '.join(missing.reasons)}",
                where=self.name,
                hint=self._as_superuser(missing.remedy) if missing.remedy else "set DATABASE_URL to a superuser's",
            )
        return missing

    def _wait_while_it_starts(self, timeout_s: float) -> None:
        """Wait while the server is there and takes no connections yet: after a crash it first repeats its log."""
        end = time.monotonic() + min(timeout_s, _STARTING_S)
        while self._is_ready() == _REJECTS and time.monotonic() < end:
            time.sleep(_LOOK_S)

    def _is_ready(self) -> int:
        argv = [postgres_program("pg_isready"), "-q", *self._place()]
        return subprocess.run(argv, check=False, timeout=10).returncode

    def _as_superuser(self, sql: str) -> str:
        server = Server.parse(self.dsn)
        database = unquote(server.database) if server else ""
        return joined(["psql", *self._place(), "-U", "postgres", "-d", database, "-c", sql])

    def _place(self) -> tuple[str, ...]:
        server = Server.parse(self.dsn)
        return ("-h", server.host, "-p", str(server.port or 5432)) if server else ()

    def _unreachable(self, reason: str) -> OperationError:
        """Return an error with what to type: whether the server runs, or how role and database are created."""
        server, place = Server.parse(self.dsn), self._place()
        if self._is_ready() or server is None:
            return OperationError(reason, where=self.name, hint=joined(["pg_isready", *place]))
        role = self.role or "postgres"
        create = [["createuser", *place, "-U", "postgres", "--login", "--pwprompt", role]] if role != "postgres" else []
        create += [["createdb", *place, "-U", "postgres", "-O", role, unquote(server.database) or role]]
        hint = f"if it does not exist yet: {'; '.join(map(joined, create))}"
        return OperationError(reason, where=self.name, hint=hint)

    def try_restore(self, dump: Path, record: DatabaseRecord, timeout_s: float) -> None:
        """Restore a dump into a scratch database beside this one, compare its rows, and drop it.

        Raise OperationError if that is not possible or something differs.
        """
        scratch = f"toombos_drill_{secrets.token_hex(4)}"
        self._psql(["-c", f"CREATE DATABASE {scratch} TEMPLATE template0"], timeout_s)
        try:
            server = Server.parse(self.dsn)
            if server is None:
                raise AssertionError("from_url parsed it")
            kept = tuple(parameter for parameter in server.parameters if parameter[0] != "dbname")
            there = replace(self, dsn=replace(server, database=scratch, parameters=kept).libpq_url())
            missing = there.refuse_what_is_missing(record, timeout_s)
            there._load(dump, missing.kept, "", timeout_s)
            counts = there._psql(["-c", _COUNTS], timeout_s)
        finally:
            self._psql(["-c", f"DROP DATABASE {scratch}"], timeout_s)
        rows = (line.rpartition("\t") for line in counts.splitlines())
        if {table: int(count) for table, _, count in rows} != record.tables:
            raise OperationError("the scratch database has other rows than the dump's record", where=self.name)

    def check(self, dump: Path, timeout_s: float) -> None:
        """Raise OperationError if the dump cannot be read."""
        self._run("pg_restore", ["--list", str(dump)], timeout_s)

    def restore(self, dump: Path, kept: tuple[str, ...], marker: str, timeout_s: float) -> None:
        """Replace the whole database in one transaction, which also commits the marker (see `has_marker`).

        The extensions in `kept` stay as they are.

        Raises OperationError, also if another session keeps its tables locked.
        """
        try:
            self._load(dump, kept, marker, timeout_s)
        except LockTimeoutError:
            raise OperationError(f"lock timeout: {self._lockers(timeout_s)}", where=self.name) from None

    def _load(self, dump: Path, kept: tuple[str, ...], marker: str, timeout_s: float) -> None:
        """Empty the database, set the marker if there is one, and run the dump's script, all in one transaction.

        The script ends the transaction itself: with large objects in it, it would end one around each of them else.
        """
        contents, script = dump.with_suffix(".list"), dump.with_suffix(".sql")
        entries = self._run("pg_restore", ["--list", str(dump)], timeout_s).splitlines(keepends=True)
        of_extension = re.compile(r"\d+; \d+ \d+ (?:COMMENT - )?EXTENSION(?: -)? (\S+) ")
        contents.write_text("".join(e for e in entries if not ((m := of_extension.match(e)) and m[1] in kept)))
        options = ["--single-transaction", f"--use-list={contents}", f"--file={script}", str(dump)]
        self._run("pg_restore", options, timeout_s)
        wait_ms = int(min(timeout_s / 2, _LOCK_WAIT_S) * 1000)
        statements = [f"SET lock_timeout = {wait_ms};", drop_all(kept)]
        if marker:
            statements += [f"CREATE TABLE {_MARKER} (id text);"]
            statements += [f"INSERT INTO {_MARKER} VALUES ('{marker}');"]  # noqa: S608  (hexadecimal digits of our own)
        statements += [f"\\i {script.name}"]
        self._run_under_lock(marker, "\n".join(statements), script.parent, timeout_s)

    def _run_under_lock(self, marker: str, statements: str, directory: Path, timeout_s: float) -> None:
        """Run statements that end their transaction, in a session that holds the marker's lock as long as it lasts.

        They are sent once it holds the lock: killed before, we leave no session that begins later; killed afterwards,
        one that `has_marker` finds.
        """
        argv = [postgres_program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-d", self.dsn]
        with self._environment() as environment:
            psql = subprocess.Popen(
                argv,
                cwd=directory,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            end, first = time.monotonic() + timeout_s, ""
            too_late = threading.Timer(timeout_s, psql.kill)
            too_late.start()
            try:
                if psql.stdin is None or psql.stdout is None:
                    raise AssertionError("psql was started with pipes")
                psql.stdin.write(f"\\o /dev/null\nBEGIN;\n{_lock_of(marker)};\n\\echo begun\n")
                psql.stdin.flush()
                first = psql.stdout.readline()
                told, _ = psql.communicate(statements if first == "begun\n" else "")
            except BrokenPipeError:
                told = psql.communicate()[0]
            finally:
                too_late.cancel()
                psql.kill()
                psql.wait()
        if psql.returncode:
            if time.monotonic() > end:
                raise OperationError(f"psql did not end within {seconds(timeout_s)}", where=self.name)
            raise self._failure("psql", told if first == "begun\n" else first + told)

    def _lockers(self, timeout_s: float) -> str:
        """Return which sessions hold locks in the database, for a message."""
        rows = self._psql(["-c", _LOCKERS], timeout_s).splitlines()
        return f"tables are locked by {', '.join(rows)}" if rows else "tables were locked by another session"

    def has_marker(self, marker: str, timeout_s: float) -> bool:
        """Report whether the transaction with this marker was committed; end its session first if there still is one.

        The session outlives a killed toombos, and could otherwise commit after this answer.
        """
        self._wait_while_it_starts(timeout_s)
        wait_ms = int(min(timeout_s / 2, _LOCK_WAIT_S) * 1000)
        end_it = _END_SESSION.format(key=_key_of(marker))
        self._psql(["-c", end_it, "-c", f"SET lock_timeout = {wait_ms}", "-c", _lock_of(marker)], timeout_s)
        if self._psql(["-c", f"SELECT to_regclass('{_MARKER}')"], timeout_s).strip() == "":
            return False
        query = f"SELECT count(*) FROM {_MARKER} WHERE id = '{marker}'"  # noqa: S608  (hexadecimal digits of our own)
        return self._psql(["-c", query], timeout_s).strip() != "0"

    def drop_marker(self, timeout_s: float) -> None:
        """Drop the table of markers."""
        self._psql(["-c", f"DROP TABLE IF EXISTS {_MARKER}"], timeout_s)

    def _psql(self, options: Sequence[str], timeout_s: float) -> str:
        return self._run("psql", ["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.dsn, *options], timeout_s)

    def _run(self, program: str, options: Sequence[str], timeout_s: float, at_least: int = 0) -> str:
        try:
            with self._environment() as environment:
                done = subprocess.run(
                    [postgres_program(program, at_least), *options],
                    env=environment,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=timeout_s,
                    check=False,
                    stdin=subprocess.DEVNULL,
                )
        except subprocess.TimeoutExpired:
            raise OperationError(f"{program} did not end within {seconds(timeout_s)}", where=self.name) from None
        if done.returncode:
            raise self._failure(program, done.stderr)
        return done.stdout

    def _failure(self, program: str, told: str) -> OperationError:
        locked = re.search(rf"\b{_LOCK_NOT_AVAILABLE}:", told)
        kind = LockTimeoutError if locked else OperationError
        return kind(f"{program}: {_said(told)}", where=self.name)

    @contextlib.contextmanager
    def _environment(self) -> Iterator[dict[str, str]]:
        """Yield the environment of a program for the block. What no variable can say stands in a private file."""
        quiet = {"PGOPTIONS": "--client-min-messages=warning", "PGCONNECT_TIMEOUT": "10"}
        environment = os.environ | quiet | ({"PGPASSWORD": self.password} if self.password else {})
        if not self.key_password:
            yield environment
            return
        with tempfile.NamedTemporaryFile("w", prefix="toombos-", encoding="utf-8") as file:
            file.write(f"[toombos]\nsslpassword={self.key_password}\n")
            file.flush()
            yield environment | {"PGSERVICEFILE": file.name, "PGSERVICE": "toombos"}


def postgres_program(name: str, at_least: int = 0) -> str:
    """Return the path of one of PostgreSQL's programs, of at least this major version if it is not 0.

    Raise OperationError if it is not installed.
    """
    found = find_program(name)
    if found and (not at_least or _major(found) >= at_least):
        return found
    versions = {int(path.parts[-3].partition(".")[0]): str(path) for path in Path("/").glob(f"{_PLACES}/{name}")}
    newest = max(versions, default=0)
    if newest >= max(at_least, 1):
        return versions[newest]
    if found is None and not newest:
        message = f"{name} is not installed, and the settings name a PostgreSQL database"
        raise OperationError(message, hint=f"which {name}")
    raise OperationError(
        f"the server is PostgreSQL {at_least}, and the newest {name} here is of version "
        f"{max(newest, _major(found) if found else 0)}",
        hint=f"apt-get install postgresql-client-{at_least}",
    )


def _key_of(marker: str) -> int:
    """Return the number of a marker's advisory lock."""
    return int(marker[:7] or "0", 16)


def _lock_of(marker: str) -> str:
    return f"SELECT pg_advisory_xact_lock({_key_of(marker)})"


def _major(program: str) -> int:
    """Return the major version of one of PostgreSQL's programs, 0 if it does not say it."""
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    version = re.search(r"\) (\d+)", told)
    return int(version[1]) if version else 0


def _said(text: str) -> str:
    """Return what a program said, its first lines in one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines[:3]) or "failed without a message"

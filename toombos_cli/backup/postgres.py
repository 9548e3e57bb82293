"""PostgreSQL through its own programs: pg_dump and row counts in one snapshot, and a restore in one transaction.

Passwords are passed in the environment or a private file, never in an argument that `ps` shows.
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toombos_cli.backup.archive.format import DatabaseRecord
from toombos_cli.base.errors import OperationError
from toombos_cli.base.programs import find_program
from toombos_cli.settings.databases import DatabaseKind, Server

DUMP_ROOT = ".toombos"
DUMP_NAME = b".toombos/postgresql.dump"
_PLACES = "usr/lib/postgresql/*/bin"  # on Debian, pg_dump is here and not always on PATH
_MARKER = "public.toombos_restore"
_LOCK_WAIT_S = 30.0
# `pg_restore --clean` drops only what the dump contains, and fails if something newer depends on it.
_DROP_ALL = """
DO $$
DECLARE name text;
BEGIN
  FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
  LOOP EXECUTE format('DROP SCHEMA %I CASCADE', name);
  END LOOP;
END $$;
CREATE SCHEMA public;
GRANT USAGE ON SCHEMA public TO PUBLIC;
"""
_COUNTS = """
SELECT format('%I.%I', schemaname, tablename) || chr(9) ||
       (xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c FROM %I.%I', schemaname, tablename),
                                            false, true, '')))[1]
FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename <> 'toombos_restore'
ORDER BY 1;
"""


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

    def dump(self, target: Path, timeout_s: float) -> DatabaseRecord:
        """Write a dump in custom format and count the rows of the same snapshot. Raises OperationError."""
        with self._environment() as environment:
            return self._dump(target, timeout_s, environment)

    def _dump(self, target: Path, timeout_s: float, environment: dict[str, str]) -> DatabaseRecord:
        psql = subprocess.Popen(
            [_program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.dsn],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        try:
            if psql.stdin is None or psql.stdout is None:
                raise AssertionError("psql was started with pipes")
            psql.stdin.write("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSELECT pg_export_snapshot();\n")
            psql.stdin.flush()
            snapshot = psql.stdout.readline().strip()
            if not snapshot:
                raise OperationError(_first_line(psql.communicate()[1]), where=self.name)
            options = ["--format=custom", "--compress=0", "--no-owner", "--no-privileges", f"--snapshot={snapshot}"]
            options += [f"--exclude-table={_MARKER}", f"--file={target}", self.dsn]
            self._run("pg_dump", options, timeout_s)
            counts, _ = psql.communicate(_COUNTS + "COMMIT;\n", timeout=timeout_s)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            raise OperationError(f"no answer within {timeout_s:g} s", where=self.name) from None
        finally:
            psql.kill()
            psql.communicate()
        rows = (line.rpartition("\t") for line in counts.splitlines())
        return DatabaseRecord(integrity="ok", tables={table: int(count) for table, _, count in rows})

    def check(self, dump: Path, timeout_s: float) -> None:
        """Raise OperationError if the dump cannot be read."""
        self._run("pg_restore", ["--list", str(dump)], timeout_s)

    def restore(self, dump: Path, marker: str, timeout_s: float) -> None:
        """Replace the whole database in one transaction, which also commits the marker (see `has_marker`).

        Raises OperationError, also if another session keeps its tables locked.
        """
        script = dump.with_suffix(".sql")
        self._run("pg_restore", ["--no-owner", "--no-privileges", f"--file={script}", str(dump)], timeout_s)
        wait_ms = int(min(timeout_s / 2, _LOCK_WAIT_S) * 1000)
        statements = ["-c", f"SET lock_timeout = {wait_ms}", "-c", _DROP_ALL, "-f", str(script)]
        statements += ["-c", f"CREATE TABLE {_MARKER} (id text)"]
        statements += ["-c", f"INSERT INTO {_MARKER} VALUES ('{marker}')"]  # noqa: S608  (hexadecimal digits of our own)
        self._psql(["--single-transaction", *statements], timeout_s)

    def has_marker(self, marker: str, timeout_s: float) -> bool:
        """Report whether the transaction with this marker was committed."""
        if self._psql(["-c", f"SELECT to_regclass('{_MARKER}')"], timeout_s).strip() == "":
            return False
        query = f"SELECT count(*) FROM {_MARKER} WHERE id = '{marker}'"  # noqa: S608  (hexadecimal digits of our own)
        return self._psql(["-c", query], timeout_s).strip() != "0"

    def drop_marker(self, timeout_s: float) -> None:
        """Drop the table of markers."""
        self._psql(["-c", f"DROP TABLE IF EXISTS {_MARKER}"], timeout_s)

    def _psql(self, options: Sequence[str], timeout_s: float) -> str:
        return self._run("psql", ["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.dsn, *options], timeout_s)

    def _run(self, program: str, options: Sequence[str], timeout_s: float) -> str:
        try:
            with self._environment() as environment:
                done = subprocess.run(
                    [_program(program), *options],
                    env=environment,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=timeout_s,
                    check=False,
                    stdin=subprocess.DEVNULL,
                )
        except subprocess.TimeoutExpired:
            raise OperationError(f"{program} did not end within {timeout_s:g} s", where=self.name) from None
        if done.returncode:
            raise OperationError(f"{program}: {_first_line(done.stderr)}", where=self.name)
        return done.stdout

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


def _program(name: str) -> str:
    found = find_program(name)
    if found is None:
        candidates = sorted(Path("/").glob(f"{_PLACES}/{name}"), reverse=True)
        found = str(candidates[0]) if candidates else None
    if found is None:
        raise OperationError(
            f"{name} is not installed, and the settings name a PostgreSQL database", hint=f"which {name}"
        )
    return found


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "failed without a message")

"""Everything in a PostgreSQL database comes back in place, or the restore is refused before anything."""

# Statements are constants of this module, put together.
# ruff: noqa: S608
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backup_site import NoServices, Site
from tests.support.databases import postgres_program, running_postgres
from toombos_cli.backup.create import BackupPlan, create_backup
from toombos_cli.backup.maintenance import run_drill
from toombos_cli.backup.observer import Silent
from toombos_cli.backup.postgres import Postgres
from toombos_cli.backup.reports import DrillReport
from toombos_cli.backup.restore import restore
from toombos_cli.backup.restore_request import RestoreRequest
from toombos_cli.base.errors import OperationError, RefusedError
from toombos_cli.base.results import Verdict


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running_postgres() as port:
        yield port


class Database:
    """A new database of the role `app`, and a site whose settings name it."""

    def __init__(self, project: Path, port: int) -> None:
        self.site, self._port = Site(project).fill("old"), port
        self.sql("DROP DATABASE IF EXISTS d", role="owner", database="postgres")
        for role in ("app", "reporting", "other", "gone"):
            create = f"CREATE ROLE {role} LOGIN"
            body = f"BEGIN {create}; EXCEPTION WHEN duplicate_object THEN NULL; END"
            self.sql(f"DO $$ {body} $$", role="owner", database="postgres")
        self.sql("CREATE DATABASE d OWNER app", role="owner", database="postgres")
        self.use("app")

    def use(self, role: str) -> None:
        self.postgres = Postgres.from_url(f"postgresql://{role}@127.0.0.1:{self._port}/d")

    def sql(self, statement: str, role: str = "app", database: str = "d") -> str:
        url = f"postgresql://{role}@127.0.0.1:{self._port}/{database}"
        argv = [postgres_program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr}"

    def backup(self) -> str:
        plan = BackupPlan(place=self.site.place, scope=self.site.scope, postgres=self.postgres)
        report = create_backup(plan, Silent())
        assert report.known_good, report.unreadable
        return report.archive

    def restore(self, archive: str) -> None:
        place, scope = self.site.place, self.site.scope
        request = RestoreRequest(place=place, scope=scope, archive=Path(archive), postgres=self.postgres)
        restore(request, NoServices(), Silent())

    def drill(self, archive: str) -> DrillReport:
        return run_drill(self.site.place, Path(archive), Silent(), postgres=self.postgres)


@pytest.fixture
def database(tmp_path: Path, port: int) -> Database:
    return Database(tmp_path, port)


TABLE = "CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t VALUES (1), (2); "
OWNER = "SELECT relowner::regrole FROM pg_class WHERE relname = 't'"
WHOLE = {
    "a grant to another role": (
        TABLE + "GRANT SELECT ON t TO reporting",
        "REVOKE ALL ON t FROM reporting",
        ("SELECT count(*) FROM t", "2", "reporting"),
    ),
    "default privileges": (
        TABLE + "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO reporting",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM reporting",
        ("SELECT defaclacl::text FROM pg_default_acl", "{reporting=r/app}", "app"),
    ),
    "no default privileges, which somebody gave since": (
        TABLE,
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO reporting;"
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO reporting",
        ("SELECT count(*) FROM pg_default_acl", "0", "app"),
    ),
    "no access to the schema public, which somebody gave since": (
        TABLE,
        "GRANT CREATE ON SCHEMA public TO reporting",
        ("SELECT has_schema_privilege('reporting', 'public', 'CREATE')", "f", "app"),
    ),
    "large objects": (
        TABLE + "CREATE TABLE files (o oid); INSERT INTO files VALUES (lo_from_bytea(0, 'hello'))",
        "SELECT lo_unlink(o) FROM files; SELECT lo_from_bytea(0, 'newer')",
        ("SELECT string_agg(encode(lo_get(oid), 'escape'), ',') FROM pg_largeobject_metadata", "hello", "app"),
    ),
    "a publication": (
        TABLE + "CREATE PUBLICATION p FOR TABLE t",
        "CREATE PUBLICATION q",
        ("SELECT string_agg(pubname || '/' || tablename, ',') FROM pg_publication_tables", "p/t", "app"),
    ),
    "types, functions, views, sequences and triggers in public and elsewhere": (
        TABLE + "CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('well'); CREATE DOMAIN pos AS int CHECK (VALUE > 0);"
        "CREATE TYPE pair AS (a int, b pos); CREATE FUNCTION f(x int) RETURNS int LANGUAGE sql AS 'SELECT x + 1';"
        "CREATE AGGREGATE total(int) (sfunc = int4pl, stype = int); CREATE VIEW v AS SELECT f(n) FROM t;"
        "CREATE MATERIALIZED VIEW m AS SELECT * FROM v; CREATE SEQUENCE q; CREATE STATISTICS st ON n, (n + 1) FROM t;"
        "CREATE OPERATOR @+ (procedure = int4pl, leftarg = int, rightarg = int)",
        "DROP VIEW v CASCADE; ALTER TYPE s.mood ADD VALUE 'ill'; CREATE PROCEDURE later() LANGUAGE sql AS 'SELECT 1'",
        (
            "SELECT (SELECT count(*) FROM m), to_regproc('later') IS NULL, 1 @+ 2, enum_range(NULL::s.mood)",
            "2|t|3|{well}",
            "app",
        ),
    ),
    "a trusted extension of its own": (
        TABLE + "CREATE EXTENSION citext; CREATE TABLE c (x citext); INSERT INTO c VALUES ('A')",
        "DROP EXTENSION citext CASCADE",
        ("SELECT count(*) FROM c WHERE x = 'a'", "1", "app"),
    ),
}


@pytest.mark.parametrize("what", WHOLE)
def test_a_restore_in_place_brings_back(what: str, database: Database) -> None:
    before, change, (question, answer, role) = WHOLE[what]
    assert "failed" not in database.sql(before)
    archive = database.backup()
    assert "failed" not in database.sql(change + "; DELETE FROM t WHERE n = 1")
    database.restore(archive)
    assert database.sql(question, role) == answer
    assert database.sql("SELECT count(*) FROM t") == "2"
    assert database.sql(OWNER) == "app"


def test_a_superuser_gives_each_object_back_to_its_owner(database: Database) -> None:
    database.sql(TABLE)
    database.use("owner")
    archive = database.backup()
    database.sql("DROP TABLE t")
    database.restore(archive)
    assert database.sql("SELECT count(*) FROM t") == "2"
    assert database.sql(OWNER) == "app"


def test_the_extension_of_a_superuser_stays(database: Database) -> None:
    database.sql(TABLE)
    database.sql("CREATE EXTENSION pg_stat_statements", role="owner")
    archive = database.backup()
    database.sql("DELETE FROM t")
    database.restore(archive)
    assert database.sql("SELECT count(*) FROM t") == "2"
    assert database.sql("SELECT count(*) FROM pg_extension WHERE extname = 'pg_stat_statements'") == "1"


REFUSED = {
    "a schema of another role": (
        "CREATE SCHEMA audit AUTHORIZATION other; GRANT USAGE ON SCHEMA audit TO app",
        "SELECT 1",
        "audit",
    ),
    "a role that is gone": (
        "GRANT SELECT ON t TO gone",
        "DROP OWNED BY gone; DROP ROLE gone",
        "no role gone",
    ),
    "an extension that only a superuser creates": (
        "CREATE EXTENSION pg_stat_statements",
        "DROP EXTENSION pg_stat_statements",
        "cannot create the extension pg_stat_statements",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_restore_is_refused_before_anything_if_it_needs(what: str, database: Database) -> None:
    before, change, reason = REFUSED[what]
    database.sql(TABLE)
    assert "failed" not in database.sql(before, role="owner")
    archive = database.backup()
    database.site.fill("new")
    tree = database.site.tree()
    database.sql(f"{change}; DELETE FROM t", role="owner")
    with pytest.raises(RefusedError, match=reason):
        database.restore(archive)
    assert database.site.tree() == tree
    assert database.sql("SELECT count(*) FROM t") == "0"
    assert [path.name for path in database.site.project.glob(".toombos*")] == []


def test_a_missing_database_is_an_error_with_the_commands_that_create_it(database: Database) -> None:
    database.sql(TABLE)
    archive = database.backup()
    database.sql("DROP DATABASE d", role="owner", database="postgres")
    with pytest.raises(OperationError) as caught:
        database.restore(archive)
    assert "createdb" in (caught.value.problems[0].hint or "")


def test_a_drill_restores_the_dump_and_says_if_it_could_not(database: Database) -> None:
    database.sql(TABLE + "CREATE TABLE files (o oid); INSERT INTO files VALUES (lo_from_bytea(0, 'hello'))")
    archive = database.backup()
    report = database.drill(archive)  # the role may not create databases
    assert (report.verdict, "permission denied" in report.not_restored) == (Verdict.WARN, True)
    database.use("owner")
    report = database.drill(archive)
    assert (report.verdict, report.not_restored) == (Verdict.PASS, "")
    names = database.sql("SELECT string_agg(datname, ',') FROM pg_database WHERE datname ~ 'drill'", "owner")
    assert names == ""

"""The PostgreSQL database in DATABASE_URL: dumped with its row counts, restored completely or not at all."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.backup_site import NoServices, Site
from tests.support.databases import running_postgres
from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.runner import Toombos, begin_toombos, data_of, run_toombos
from tests.support.waiting import wait_for
from toombos_cli.backup.create import BackupPlan, create_backup
from toombos_cli.backup.observer import Silent
from toombos_cli.backup.postgres import Postgres
from toombos_cli.backup.restore import restore
from toombos_cli.backup.restore_request import RestoreRequest
from toombos_cli.backup.transaction.rollback import settle_restore
from toombos_cli.base.errors import OperationError, RefusedError

PROGRAMS = ("usr/lib/postgresql/*/bin",)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Yield the URL of a database on a private server."""
    with running_postgres() as port:
        yield f"postgresql+psycopg://owner:sekret@127.0.0.1:{port}/postgres"


class Server:
    """A site with a database of two tables."""

    def __init__(self, project: Path, url: str) -> None:
        self.site = Site(project).fill("old")
        self.postgres = Postgres.from_url(url)
        assert self.postgres is not None
        self.sql(
            "DROP TABLE IF EXISTS one, two CASCADE; CREATE TABLE one (n int primary key);"
            "CREATE TABLE two (n int references one); INSERT INTO one VALUES (1), (2); INSERT INTO two VALUES (1)"
        )

    def sql(self, statement: str) -> str:
        assert self.postgres is not None
        return self.postgres._psql(["-c", statement], 30).strip()

    def backup(self, observer: Silent | None = None) -> str:
        plan = BackupPlan(place=self.site.place, scope=self.site.scope, postgres=self.postgres)
        return create_backup(plan, observer or Silent()).archive

    def request(self, archive: str) -> RestoreRequest:
        place, scope = self.site.place, self.site.scope
        return RestoreRequest(place=place, scope=scope, archive=Path(archive), postgres=self.postgres)

    def rows(self) -> str:
        return self.sql("SELECT string_agg(n::text, ',' ORDER BY n) FROM one")


@pytest.fixture
def server(tmp_path: Path, cluster: str) -> Server:
    return Server(tmp_path, cluster)


def test_a_dump_contains_the_row_counts_and_can_be_restored(server: Server) -> None:
    plan = BackupPlan(place=server.site.place, scope=server.site.scope, postgres=server.postgres)
    report = create_backup(plan, Silent())
    dump = next(one for one in report.databases if one.path == ".toombos/postgresql.dump")
    assert (dump.integrity, dump.tables) == ("ok", {"public.one": 2, "public.two": 1})
    server.sql("INSERT INTO one VALUES (3); DROP TABLE two")
    server.site.fill("new")
    done = restore(server.request(report.archive), NoServices(), Silent())
    assert server.rows() == "1,2"
    assert server.sql("SELECT count(*) FROM two") == "1"
    assert server.site.words() == ["old"]
    rows = [(one.table, one.before, one.after) for one in done.rows if one.database == ".toombos/postgresql.dump"]
    assert rows == [("public.one", 3, 2), ("public.two", None, 1)]
    assert server.sql("SELECT to_regclass('public.toombos_restore')") == ""
    assert done.safety_backup is not None
    restore(server.request(done.safety_backup), NoServices(), Silent())
    assert server.rows() == "1,2,3"
    assert not (server.site.project / ".toombos").exists()


def test_a_restore_changes_nothing_while_another_session_locks_the_database(server: Server) -> None:
    archive = server.backup()
    server.site.fill("new")
    server.sql("INSERT INTO one VALUES (3)")
    before = server.site.tree()
    assert server.postgres is not None
    session = subprocess.Popen(
        [needs("psql", search=PROGRAMS), "-XAtq", "-d", server.postgres.dsn],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert session.stdin is not None
        assert session.stdout is not None
        session.stdin.write("BEGIN; LOCK TABLE one IN ROW EXCLUSIVE MODE; SELECT 'held';\n")
        session.stdin.flush()
        assert session.stdout.readline() == "held\n"
        with pytest.raises(OperationError, match="lock timeout"):
            restore(replace(server.request(archive), database_timeout_s=4), NoServices(), Silent())
    finally:
        session.kill()
        session.communicate()
    assert server.site.tree() == before
    assert server.rows() == "1,2,3"


class Crash(BaseException):
    """Simulates a kill: nothing after it is executed."""


@pytest.mark.parametrize(("step", "rows", "word"), [("restore database", "1,2,3", "new"), ("commit", "1,2", "old")])
def test_the_servers_commit_decides_an_interrupted_restore(
    server: Server, step: str, rows: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = server.backup()
    server.site.fill("new")
    server.sql("INSERT INTO one VALUES (3)")

    class Killed(Silent):
        def step(self, name: str, total_bytes: int = 0) -> None:
            if name == step:
                raise Crash

    monkeypatch.setattr("toombos_cli.backup.transaction.attempt.Attempt._undo", lambda self, cause: None)
    with pytest.raises(Crash):
        restore(server.request(archive), NoServices(), Killed())
    monkeypatch.undo()
    assert server.site.place.journal.exists()
    with pytest.raises(OperationError, match="DATABASE_URL"):
        settle_restore(server.site.place, Silent())
    settle_restore(server.site.place, Silent(), server.postgres)
    assert server.rows() == rows
    assert (server.site.project / ".env").read_text() == f"WORD={word}\n"


def test_a_session_of_a_killed_restore_does_not_commit_after_the_files_were_put_back(
    tmp_path: Path, cluster: str
) -> None:
    """psql outlives the toombos that started it."""
    postgres = Postgres.from_url(cluster)
    assert postgres is not None

    def sql(statement: str) -> str:
        return postgres._psql(["-c", statement], 30).strip()

    sql(
        "DROP TABLE IF EXISTS one, two; CREATE TABLE one AS SELECT 1 AS n;"
        "CREATE FUNCTION slow(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN "
        "PERFORM pg_sleep(3); RETURN n; END$$; CREATE INDEX slowly ON one (slow(n))"
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "toombos.toml").write_text('[services.idle]\ncommand = ["true"]\nscheme = "none"\n')
    (tmp_path / ".env").write_text(f"DATABASE_URL={cluster}\n")
    (tmp_path / ".env").chmod(0o600)
    (tmp_path / "data" / "n").write_text("1")
    archive = data_of(run_toombos("backup", "--json", cwd=tmp_path))["archive"]
    (tmp_path / "data" / "n").write_text("2")
    sql("DROP INDEX slowly; UPDATE one SET n = 2")
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with begin_toombos("restore", archive, "--yes", cwd=tmp_path) as restoring:
        wait_for(lambda: sql(f"SELECT count(*) {others} AND query LIKE 'CREATE INDEX%'") == "1", within_s=30)
        restoring.kill()
    done = run_toombos("restore", "--recover", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: sql(f"SELECT count(*) {others}") == "0", within_s=30)
    assert sql("SELECT n FROM one") == (tmp_path / "data" / "n").read_text()
    sql("DROP FUNCTION slow CASCADE")


def test_restoring_an_archive_with_a_dump_needs_a_database_server(server: Server) -> None:
    archive = server.backup()
    with pytest.raises(RefusedError, match="DATABASE_URL"):
        restore(replace(server.request(archive), postgres=None), NoServices(), Silent())


def test_a_machine_without_the_database_gets_the_commands_that_create_it(server: Server) -> None:
    archive = server.backup()
    assert server.postgres is not None
    missing = replace(server.postgres, dsn=server.postgres.dsn.replace("/postgres", "/shop"))
    before = server.site.tree()
    with pytest.raises(OperationError, match="does not exist") as raised:
        restore(replace(server.request(archive), postgres=missing), NoServices(), Silent())
    hint = raised.value.problems[0].hint or ""
    assert " -U postgres --login --pwprompt owner; createdb -h 127.0.0.1 -p " in hint
    assert hint.endswith(" -U postgres -O owner shop")
    assert "sekret" not in hint
    assert server.site.tree() == before


def test_a_server_that_does_not_respond_makes_the_archive_incomplete(server: Server) -> None:
    postgres = Postgres.from_url(f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    plan = BackupPlan(place=server.site.place, scope=server.site.scope, postgres=postgres)
    report = create_backup(plan, Silent())
    assert [one.path for one in report.unreadable] == [".toombos/postgresql.dump"]
    assert not report.known_good


def test_the_command_reads_the_server_from_the_env_file_and_never_shows_its_password(
    project: Path, toombos: Toombos, cluster: str
) -> None:
    (project / ".env").write_text(f"DATABASE_URL={cluster}\n")
    done = toombos("backup", "--json")
    assert done.returncode == 0, done.stdout
    assert ".toombos/postgresql.dump" in done.stdout
    assert "sekret" not in done.stdout + done.stderr


FORWARDER = """
import socket, sys, threading
own, server = map(int, sys.argv[1:])
def pump(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)
listener = socket.create_server(("127.0.0.1", own))
while True:
    near, far = listener.accept()[0], socket.create_connection(("127.0.0.1", server))
    threading.Thread(target=pump, args=(near, far), daemon=True).start()
    threading.Thread(target=pump, args=(far, near), daemon=True).start()
"""


def test_a_service_that_serves_the_database_runs_until_the_database_is_restored(
    tmp_path: Path, toombos: Toombos, cluster: str
) -> None:
    own, web = free_port(), free_port()
    server = urlsplit(cluster).port
    (tmp_path / "forward.py").write_text(FORWARDER)
    (tmp_path / ".env").write_text(f"DATABASE_URL={cluster.replace(f':{server}/', f':{own}/')}\n")
    (tmp_path / "toombos.toml").write_text(
        f"""\
[services.db]
command = ["{{python}}", "forward.py", "{{port}}", "{server}"]
port = {own}
scheme = "tcp"

[services.web]
command = ["{{python}}", "-m", "http.server", "{{port}}", "--bind", "{{host}}"]
port = {web}
health = "/"
depends_on = ["db"]
"""
    )

    def pids() -> dict[str, int]:
        found = json.loads(toombos("status", "--json").stdout)["data"]["services"]
        return {row["name"]: row["pid"] for row in found}

    assert toombos("start").returncode == 0
    before = pids()
    assert toombos("backup").returncode == 0
    done = toombos("restore", "--latest-good", "--yes")
    assert done.returncode == 0, done.stderr
    assert "started and ready: db, web" in done.stdout
    assert not {None, *before.values()} & set(pids().values())


@pytest.mark.parametrize("url", [None, "", "sqlite:///data/history.db", "mysql://x/y"])
def test_the_url_of_another_database_is_not_a_postgresql_url(url: str | None) -> None:
    assert Postgres.from_url(url) is None


def test_the_password_is_kept_out_of_the_arguments() -> None:
    postgres = Postgres.from_url("postgresql+psycopg://me:p%40ss@db:5433/app?sslmode=require")
    assert postgres == Postgres("postgresql://me@db:5433/app?sslmode=require", "p@ss")

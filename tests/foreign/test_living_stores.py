"""A backup of a running database's own directory brings back one moment of it, or says that it does not."""

# The statements are made of numbers.
# ruff: noqa: S608
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.databases import as_postgres, postgres_program, redis_cli, redis_server
from tests.support.foreign import ForeignSystem
from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.runner import data_of
from tests.support.waiting import wait_for


@pytest.fixture
def system() -> Iterator[ForeignSystem]:
    """Yield a system in a directory that the user of a database server can reach."""
    project = Path(tempfile.mkdtemp(prefix="living-"))
    project.chmod(0o755)
    (project / "data").mkdir()
    foreign = ForeignSystem(project)
    try:
        yield foreign
    finally:
        foreign.stop()
        shutil.rmtree(project, ignore_errors=True)


def ask(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, cwd="/").stdout.strip()


@contextmanager
def writing(write: Callable[[int], object]) -> Iterator[None]:
    """Call `write` with 1, 2, 3... all the time that the block runs, beginning before it."""
    stop, begun = threading.Event(), threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            write(number)
            begun.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert begun.wait(20)
        yield
    finally:
        stop.set()
        thread.join()


def add_postgres(system: ForeignSystem, **keys: object) -> Callable[[str], str]:
    """Add a PostgreSQL in data/pg to the system, start it, and return what runs SQL in it."""
    data = system.project / "data" / "pg"
    data.mkdir()
    become = as_postgres(data)
    initdb = [*become, postgres_program("initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8"]
    ask(*initdb)
    options = ["-D", "{project}/data/pg", "-p", "{port}", "-h", "127.0.0.1", "-k", "", "-c", "fsync=off"]
    is_ready = [postgres_program("pg_isready"), "-h", "127.0.0.1", "-p", "{port}"]  # it listens before it has recovered
    command = [*become, postgres_program("postgres"), *options]
    port = system.add("db", command, scheme="tcp", health={"command": is_ready}, **keys)
    system.start()
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    return lambda statement: ask(postgres_program("psql"), "-XAtq", "-d", url, "-c", statement)


SUMS = "SELECT count(*), sum(n) = (SELECT sum(n) FROM b) FROM a"


@pytest.mark.parametrize("settings", ["", "DATABASE_URL=postgresql://postgres@127.0.0.1:{port}/postgres\n"])
def test_a_postgresql_directory_comes_back_as_of_one_moment(settings: str, system: ForeignSystem) -> None:
    sql = add_postgres(system)
    (system.project / ".env").write_text(settings.format(port=system.services["db"]["port"]))
    sql("CREATE TABLE a AS SELECT i, 0 AS n FROM generate_series(1, 5000) i; CREATE TABLE b AS SELECT * FROM a")

    def move(number: int) -> None:
        sql(f"BEGIN; UPDATE a SET n = n + 1 WHERE i <= {number}; UPDATE b SET n = n + 1 WHERE i <= {number}; COMMIT")
        sql("CHECKPOINT")

    with writing(move):
        report = data_of(system("backup", "--json", exit_code=0))
    assert (report["unreadable"], report["known_good"]) == ([], True)
    sql("DROP TABLE a")
    system("restore", "--latest-good", "--yes", exit_code=0)
    assert sql(SUMS) == "5000|t"
    assert (system.project / "data" / "pg").stat().st_uid == Path(f"/proc/{system.pid('db')}").stat().st_uid


@pytest.mark.parametrize("settings", ["", "DATABASE_URL=postgresql://postgres@127.0.0.1:{port}/postgres\n"])
def test_tablespaces_in_the_roots_belong_to_their_postgresql(settings: str, system: ForeignSystem) -> None:
    sql = add_postgres(system)
    place = system.project / "data" / "space = 1"
    place.mkdir()
    as_postgres(place)
    (system.project / ".env").write_text(settings.format(port=system.services["db"]["port"]))
    sql(f"CREATE TABLESPACE apart LOCATION '{place}'")
    sql(
        "CREATE TABLE a TABLESPACE apart AS SELECT i, 0 AS n FROM generate_series(1, 5000) i; CREATE TABLE b AS TABLE a"
    )

    def move(number: int) -> None:
        sql(f"BEGIN; UPDATE a SET n = n + 1 WHERE i <= {number}; UPDATE b SET n = n + 1 WHERE i <= {number}; COMMIT")

    with writing(move):
        report = data_of(system("backup", "--json", exit_code=0))
    assert (report["unreadable"], report["known_good"]) == ([], True)
    sql("DELETE FROM a")
    system("restore", "--latest-good", "--yes", exit_code=0)
    assert sql(SUMS) == "5000|t"


def test_a_tablespace_outside_the_roots_makes_the_backup_incomplete(system: ForeignSystem) -> None:
    sql = add_postgres(system)
    place = system.project / "space"
    place.mkdir()
    as_postgres(place)
    sql(f"CREATE TABLESPACE apart LOCATION '{place}'")
    report = data_of(system("backup", "--json", exit_code=4))
    ((path, reason),) = [(one["path"], one["reason"]) for one in report["unreadable"]]
    assert path == "data/pg"
    assert f"its tablespace {place} is in no root" in reason


@pytest.mark.parametrize("options", [("--save", "900 1"), ("--appendonly", "yes"), ("--dbfilename", "odd.rdb")])
def test_a_redis_comes_back_as_of_one_moment(options: tuple[str, ...], system: ForeignSystem) -> None:
    (system.project / "data" / "redis").mkdir()
    save = () if options[0] == "--save" else ("--save", "900 1")
    place = ("--dir", "{project}/data/redis", "--requirepass", "hush-hush")
    port = system.add("cache", redis_server(*place, *save, *options), scheme="tcp")
    system.start()
    words = [word.format(host="127.0.0.1", port=port) for word in redis_cli("--no-auth-warning", "-a", "hush-hush")]

    with writing(lambda number: ask(*words, "MSET", "x", str(number), "y", str(number))):
        report = data_of(system("backup", "--json", exit_code=0))
    assert (report["unreadable"], report["known_good"]) == ([], True)
    ask(*words, "FLUSHALL")
    system("restore", "--latest-good", "--yes", exit_code=0)
    x, y = ask(*words, "MGET", "x", "y").splitlines()
    assert int(x) >= 1
    assert x == y


def test_a_restore_over_a_redis_that_toombos_did_not_start_is_refused(system: ForeignSystem) -> None:
    place, port = system.project / "data" / "redis", free_port()
    place.mkdir()
    argv = [word.format(host="127.0.0.1", port=port) for word in redis_server("--dir", str(place), "--save", "900 1")]
    words = [word.format(host="127.0.0.1", port=port) for word in redis_cli()]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as redis:
        try:
            wait_for(
                lambda: subprocess.run([*words, "SET", "a", "1"], capture_output=True, check=False).returncode == 0
            )
            system.add("app", ["true"], scheme="none")
            system("backup", exit_code=0)
            ask(*words, "SET", "a", "2")
            done = system("restore", "--latest-good", "--yes", exit_code=5)
            assert f"pid {redis.pid}" in done.stderr
            assert ask(*words, "GET", "a") == "2"
        finally:
            redis.kill()


HELD = {
    "MariaDB": (("ibdata1", "undo001"), "ibdata1"),
    "MongoDB": (("WiredTiger", "WiredTiger.wt", "mongod.lock"), "WiredTiger.wt"),
    "LMDB": (("data.mdb", "lock.mdb"), "data.mdb"),
    "RocksDB": (("CURRENT", "LOCK", "000003.log"), "000003.log"),
    "Prometheus": (("chunks_head/000001", "wal/00000000", "lock"), "wal/00000000"),
    "etcd": (("member/snap/db", "member/wal/0.wal"), "member/snap/db"),
}
HOLDER = "import sys, time; f = open(sys.argv[1], 'ab'); time.sleep(9e5)"


@pytest.fixture(scope="module")
def many() -> Iterator[ForeignSystem]:
    """Yield a system with a directory of each kind, each held by a service that has a file of it open."""
    project = Path(tempfile.mkdtemp(prefix="living-"))
    system = ForeignSystem(project)
    for kind, (files, held) in HELD.items():
        for name in files:
            path = project / "data" / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"MANIFEST-000001\n")
        system.add(kind.lower(), ["{python}", "-c", HOLDER, f"{{project}}/data/{kind}/{held}"], scheme="none")
    (project / "data" / "note.txt").write_text("a file of nobody")
    system.start()
    try:
        yield system
    finally:
        system.stop()
        shutil.rmtree(project, ignore_errors=True)


def test_a_running_store_without_a_way_is_left_out_and_the_backup_is_incomplete(many: ForeignSystem) -> None:
    report = data_of(many("backup", "--json", exit_code=4))
    left_out = {one["path"]: one["reason"] for one in report["unreadable"]}
    assert left_out.keys() == {f"data/{kind}" for kind in HELD}
    assert report["known_good"] is False
    assert all("[services." in reason for reason in left_out.values())


def test_a_service_that_may_be_stopped_is_stopped_while_its_store_is_read(many: ForeignSystem) -> None:
    before = {kind: many.pid(kind.lower()) for kind in HELD}
    for kind in HELD:
        many.change(kind.lower(), backup={"stop": True})
    report = data_of(many("backup", "--json", exit_code=0))
    assert (report["unreadable"], report["known_good"]) == ([], True)
    assert {kind: many.pid(kind.lower()) != pid for kind, pid in before.items()} == dict.fromkeys(HELD, True)
    names = {row["phase"] for row in data_of(many("status", "--json"))["services"]}
    assert names == {"ready"}


@pytest.mark.parametrize("stop", [False, True], ids=["while it runs", "while it is stopped"])
def test_a_mariadb_comes_back_as_of_one_moment(stop: bool, system: ForeignSystem) -> None:
    if not stop:
        needs("mariadb-backup")
    data = system.project / "data" / "my"
    user = () if os.geteuid() else ("--user=mysql",)
    install = [needs("mariadb-install-db"), "--no-defaults", *user, f"--datadir={data}"]
    ask(*install, "--auth-root-authentication-method=normal")
    command = [needs("mariadbd"), "--no-defaults", *user, "--datadir={project}/data/my", f"--socket={data}/socket"]
    command += ["--port={port}", "--bind-address=127.0.0.1"]
    system.add("db", command, scheme="tcp", backup={"stop": stop})
    system.start()
    words = [needs("mariadb"), "--no-defaults", "-N", "-u", "root", "-S", f"{data}/socket", "-e"]
    ask(*words, "CREATE DATABASE d; CREATE TABLE d.t (n int) ENGINE = InnoDB; CREATE TABLE d.u LIKE d.t")

    def write(number: int) -> None:
        insert = f"INSERT INTO d.t VALUES ({number}); INSERT INTO d.u VALUES ({number})"
        subprocess.run([*words, f"BEGIN; {insert}; COMMIT"], capture_output=True, check=False)  # it may be stopped

    pid = system.pid("db")
    with writing(write):
        report = data_of(system("backup", "--json", exit_code=0))
    assert (report["unreadable"], report["known_good"]) == ([], True)
    assert (system.pid("db") == pid) is not stop
    ask(*words, "DROP DATABASE d")
    system("restore", "--latest-good", "--yes", exit_code=0)
    count, equal = ask(*words, "SELECT count(*), sum(n) = (SELECT sum(n) FROM d.u) FROM d.t").split()
    assert (int(count) >= 1, equal) == (True, "1")


def test_the_hooks_of_a_backup(system: ForeignSystem) -> None:
    note = ["{python}", "-c", "print('what the service keeps')"]
    system.add("app", ["{python}", "-c", "import time; time.sleep(9e5)"], scheme="none", backup={"command": note})
    system.tables["backup"] = {"before": ["sh", "-c", "echo b >> steps"], "after": ["sh", "-c", "echo a >> steps"]}
    system.write()
    steps = system.project / "steps"
    archive = data_of(system("backup", "--json", exit_code=0))["archive"]
    assert steps.read_text() == "b\na\n"
    done = system("restore", archive, "--yes", exit_code=0)
    assert ".toombos/app.backup was not restored" in done.stderr
    system("restore", archive, "--only", ".toombos/app.backup", "--yes", exit_code=0)
    assert (system.project / ".toombos" / "app.backup").read_text() == "what the service keeps\n"


FAILING = {
    "before fails": ({"before": ["false"]}, {}, 4, 0),
    "after fails": ({"after": ["sh", "-c", "echo no >&2; exit 3"]}, {}, 4, 1),
    "a command that fails": ({}, {"command": ["sh", "-c", "echo half; exit 1"]}, 4, 1),
    "a command that prints nothing": ({}, {"command": ["true"]}, 4, 1),
    "a command that does not exist": ({}, {"command": ["no-such-program"]}, 4, 1),
    "a command that never ends": ({"snapshot_timeout_s": 0.5}, {"command": ["sleep", "600"]}, 4, 1),
}


@pytest.mark.parametrize("what", FAILING)
def test_a_hook_that_fails_is_no_good_backup(what: str, system: ForeignSystem) -> None:
    table, backup, exit_code, archives = FAILING[what]
    (system.project / "data" / "note.txt").write_text("x")
    system.add("app", ["true"], scheme="none", backup=backup)
    system.tables["backup"] = table
    system.write()
    system("backup", exit_code=exit_code)
    found = json.loads(system("backup", "list", "--json").stdout)["data"]["archives"]
    assert len(found) == archives
    assert [one for one in found if one["known_good"]] == ([found[0]] if what == "after fails" else [])


def test_a_store_at_rest_is_saved_as_files(system: ForeignSystem) -> None:
    sql = add_postgres(system)
    sql("CREATE TABLE a AS SELECT 1 AS n")
    system("stop", exit_code=0)
    pid_file = system.project / "data" / "pg" / "postmaster.pid"
    pid_file.write_text("1\n")  # of another program: a crash left the file behind
    report = data_of(system("backup", "--json", exit_code=0))
    assert report["known_good"]
    pid_file.unlink()
    shutil.rmtree(system.project / "data" / "pg")
    system("restore", "--latest-good", "--yes", exit_code=0)
    pid_file.unlink(missing_ok=True)
    system.start()
    assert sql("SELECT n FROM a") == "1"

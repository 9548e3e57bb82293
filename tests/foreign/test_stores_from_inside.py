"""What PostgreSQL, Redis and SQLite say about themselves: each fault in the real program, beside healthy ones."""

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from threading import Thread
from typing import Any

import pytest

from tests.support.databases import postgres_cluster, redis_server
from tests.support.foreign import ForeignSystem
from tests.support.programs import needs
from tests.support.runner import data_of
from tests.support.waiting import wait_for

_WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("pragma journal_mode=" + sys.argv[2])
connection.execute("create table if not exists t (n)")
while True:
    connection.execute("begin immediate")
    connection.execute("insert into t values (1)")
    if sys.argv[3] == "holds":
        open(sys.argv[1] + ".held", "w").close()
        time.sleep(1e6)
    connection.execute("commit")
    time.sleep(0.02)
"""
WRITERS = {
    "stuck": ("delete", "holds"),
    "stuck-wal": ("wal", "holds"),
    "tidy": ("delete", "ends"),
    "tidy-wal": ("wal", "ends"),
}
REDISES = {
    "full": ("--maxmemory", "3mb"),
    "cache": ("--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"),
    "plain": (),
}
Findings = list[dict[str, Any]]


def ask(port: int, *words: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as redis:
        redis.sendall(f"{' '.join(words)}\r\n".encode())
        return redis.recv(4096)


def fill(port: int) -> None:
    """Write until nothing more is accepted, or a good deal was."""
    for number in range(400):
        if not ask(port, "SET", f"key{number}", "x" * 10000).startswith(b"+"):
            return


@pytest.fixture(scope="module")
def system(shared: ForeignSystem) -> Iterator[ForeignSystem]:
    needs("redis-server")
    (shared.project / "writer.py").write_text(_WRITER)
    (shared.project / "data").mkdir()
    for name, words in WRITERS.items():
        url = f"sqlite:///data/{name}.db"
        command = [sys.executable, "writer.py", f"data/{name}.db", *words]
        shared.add(name, command, scheme="none", env={"DATABASE_URL": url})
    ports = {name: shared.add(name, redis_server(*options), scheme="tcp") for name, options in REDISES.items()}
    ports["turned"] = shared.add("turned", redis_server(), scheme="tcp")
    ports["meant"] = shared.add("meant", redis_server("--replicaof", "127.0.0.1", str(ports["plain"])), scheme="tcp")
    locked = redis_server("--requirepass", "right-5Gh2Kq9")
    url = f"redis://:wrong@127.0.0.1:{shared.add('locked', locked, scheme='tcp')}/0"
    shared.add("client", ["sleep", "1000000"], scheme="none", env={"CACHE_URL": url})
    with postgres_cluster() as command:
        port = shared.add("pg", command, scheme="tcp", stop_signal="INT")
        pg = f"postgresql://shop@127.0.0.1:{port}/postgres"
        shared.add("shop", ["sleep", "1000000"], scheme="none", env={"DATABASE_URL": pg}, depends_on=["pg"])
        shared.start()
        fill(ports["full"])
        fill(ports["cache"])
        assert ask(ports["turned"], "REPLICAOF", "127.0.0.1", str(ports["plain"])).startswith(b"+OK")
        link = lambda: b"master_link_status:up" in ask(ports["meant"], "INFO", "replication")  # noqa: E731
        wait_for(link, what="the replica")
        for name in ("stuck", "stuck-wal"):
            wait_for((shared.project / "data" / f"{name}.db.held").exists, what="the lock")
        yield shared
        shared.stop()


@pytest.fixture(scope="module")
def found(system: ForeignSystem) -> Findings:
    return wrong(system)


def wrong(system: ForeignSystem, *more: str) -> Findings:
    findings = data_of(system("diagnose", "--json", "--only", "database", *more))["findings"]
    return [f for f in findings if f["verdict"] in ("warn", "fail", "error")]


ROWS = {
    "a Redis without memory for writes": ("redis.memory", "full", "noeviction"),
    "a Redis that became a replica": ("redis.role", "turned", "is a replica of"),
    "a password that Redis rejects": ("redis.password", "locked", "CACHE_URL"),
    "a transaction that holds a SQLite file": ("db.locks", "stuck", "has held the write lock"),
    "a transaction that holds a SQLite file with a WAL": ("db.locks", "stuck-wal", "has held the write lock"),
}


@pytest.mark.parametrize(("check", "service", "words"), ROWS.values(), ids=ROWS)
def test_a_fault_is_found_by_asking_the_store(found: Findings, check: str, service: str, words: str):
    (finding,) = (f for f in found if f["service"] == service and not f["explained_by"])
    assert (finding["id"], words in finding["reason"]) == (check, True)


def test_nothing_is_said_about_the_healthy_stores(found: Findings):
    assert {f["service"] for f in found} == {service for _, service, _ in ROWS.values()}


@pytest.mark.parametrize("service", ["full", "turned"])
def test_the_fix_for_a_redis_works_as_printed_and_can_be_undone(system: ForeignSystem, found: Findings, service: str):
    needs("redis-cli")
    fix = next(f["fix"] for f in found if f["service"] == service)
    subprocess.run(["bash", "-c", fix["command"]], check=True, capture_output=True)
    assert not [f for f in wrong(system) if f["service"] == service]
    subprocess.run(["bash", "-c", fix["undo"]], check=True, capture_output=True)


def test_the_fix_for_a_stuck_writer_frees_the_file(system: ForeignSystem, found: Findings):
    fix = next(f["fix"] for f in found if f["service"] == "stuck")
    assert fix["command"].endswith("restart stuck")
    held = system.project / "data" / "stuck.db"
    with sqlite3.connect(held, timeout=0) as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("begin immediate")


def test_the_session_that_others_wait_for_is_named(system: ForeignSystem):
    psycopg = pytest.importorskip("psycopg")
    url = system.services["shop"]["env"]["DATABASE_URL"]
    with psycopg.connect(url, application_name="forgetful") as holder, psycopg.connect(url) as waiter:
        holder.execute("create table if not exists t (n int); insert into t values (1)")
        holder.commit()
        holder.execute("lock table t")
        waiting = Thread(target=lambda: waiter.execute("select * from t").fetchall())
        waiting.start()
        try:
            reasons = wait_for(lambda: [f["reason"] for f in wrong(system) if f["id"] == "db.locks"][0:1], within_s=30)
            shop = [f for f in wrong(system) if f["service"] == "shop"]
            assert [f["id"] for f in shop] == ["db.locks"], reasons
            assert "forgetful" in shop[0]["reason"]
            assert "idle in transaction" in shop[0]["reason"]
            assert f"({holder.info.backend_pid})" in shop[0]["fix"]["advice"]
        finally:
            holder.rollback()
            waiting.join()
    assert not [f for f in wrong(system) if f["service"] == "shop"]


def test_a_database_without_a_free_connection_is_the_only_root_and_names_who_holds_them(system: ForeignSystem):
    psycopg = pytest.importorskip("psycopg")
    url = system.services["shop"]["env"]["DATABASE_URL"]
    with ExitStack() as stack:
        with suppress(psycopg.OperationalError):
            while True:
                stack.enter_context(psycopg.connect(url, application_name="greedy"))
        roots = [f for f in wrong(system, "--only", "logs") if not f["explained_by"] and f["service"] in ("pg", "shop")]
        assert [(f["id"], f["verdict"], f["service"]) for f in roots] == [("db.pool", "fail", "pg")]
        assert f"pid {os.getpid()}" in roots[0]["reason"]
        assert "max_connections" in roots[0]["fix"]["advice"]
    assert not [f for f in wrong(system) if f["service"] in ("pg", "shop")]


def test_nearly_used_connections_are_counted_for_a_user_without_rights(system: ForeignSystem):
    psycopg = pytest.importorskip("psycopg")
    url = system.services["shop"]["env"]["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("create role clerk login; grant all on schema public to clerk")
        limit = int(owner.execute("show max_connections").fetchone()[0])
        before = system.services["shop"]["env"]
        system.change("shop", env={"DATABASE_URL": url.replace("shop@", "clerk@")})
        try:
            with ExitStack() as stack:
                for _ in range(limit - 6):
                    stack.enter_context(psycopg.connect(url, application_name="greedy"))
                (finding,) = (f for f in wrong(system) if f["service"] == "shop")
            assert finding["id"] == "db.pool"
            assert f"{limit - 6} by greedy as shop" in finding["reason"]
        finally:
            system.change("shop", env=before)

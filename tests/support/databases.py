"""PostgreSQL and Redis as services of a manifest."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.programs import needs

_PROGRAMS = ("usr/lib/postgresql/*/bin",)


def postgres_program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs, or skip the test."""
    return needs(name, search=_PROGRAMS)


def as_postgres(directory: Path) -> list[str]:
    """Return how to run PostgreSQL's server, which refuses to run as root, and give its user the directory."""
    if os.geteuid() != 0:
        return []
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    os.chown(directory, user.pw_uid, user.pw_gid)
    return [needs("setpriv"), "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]


@contextmanager
def cluster_of_postgres() -> Iterator[tuple[list[str], Path]]:
    """Yield the command of a new PostgreSQL with a socket, for a service with `user = "postgres"`, and its data."""
    with postgres_cluster("postgres") as command:
        data = Path(command[command.index("-D") + 1])
        yield [*command[command.index("-D") - 1 :], "-k", str(data.parent)], data


@contextmanager
def postgres_cluster(owner: str = "shop") -> Iterator[list[str]]:
    """Yield the command that runs a new PostgreSQL in the foreground, on `{host}` and `{port}` and on no socket."""
    directory = Path(tempfile.mkdtemp(prefix="pg-"))  # the server's user must be able to reach it
    try:
        become = as_postgres(directory)
        initdb = [*become, postgres_program("initdb"), "-D", str(directory / "data"), "-U", owner, "-A", "trust", "-N"]
        done = subprocess.run([*initdb, "-E", "UTF8", "--locale=C"], cwd="/", capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        options = ["-p", "{port}", "-h", "{host}", "-k", "", "-c", "fsync=off"]
        yield [*become, postgres_program("postgres"), "-D", str(directory / "data"), *options]
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def redis_server(*options: str) -> list[str]:
    """Return the command that runs a Redis which stores nothing by itself."""
    return [needs("redis-server"), "--port", "{port}", "--bind", "{host}", "--save", "", "--daemonize", "no", *options]


def redis_cli(*words: str) -> list[str]:
    """Return the command that asks the Redis of the service; an error in its reply is an exit code other than 0."""
    return [needs("redis-cli"), "-e", "-h", "{host}", "-p", "{port}", *words]


@contextmanager
def running_postgres(owner: str = "owner") -> Iterator[int]:
    """Yield the port of a private PostgreSQL that trusts everybody; its superuser is `owner`."""
    home, port = tempfile.mkdtemp(prefix="pg-"), free_port()
    become = as_postgres(Path(home))
    options = f"-p {port} -h 127.0.0.1 -k {home} -c fsync=off -c wal_level=logical"
    control = [*become, postgres_program("pg_ctl"), "-D", f"{home}/data"]

    def run(*argv: str) -> None:
        subprocess.run(argv, check=True, capture_output=True, cwd=home)

    try:
        run(*become, postgres_program("initdb"), "-D", f"{home}/data", "-U", owner, "-A", "trust", "-N")
        run(*control, "-l", f"{home}/log", "-w", "-o", options, "start")
        try:
            yield port
        finally:
            run(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)

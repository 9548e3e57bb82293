"""A real PostgreSQL for the tests alone, and databases by URL for SQLite and PostgreSQL."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.programs import needs

_SERVER_PROGRAMS = ("usr/lib/postgresql/*/bin",)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Path]:
    """The socket directory of a private PostgreSQL without a TCP port; deleted at the end."""
    initdb = needs("initdb", search=_SERVER_PROGRAMS)
    pg_ctl = needs("pg_ctl", search=_SERVER_PROGRAMS)
    directory = Path(tempfile.mkdtemp(prefix="pg"))  # short: the path of a socket is limited to 107 bytes
    as_server = _server_user(directory)
    data, options = directory / "data", f"-k {directory} -h '' -c fsync=off"
    try:
        _run([*as_server, initdb, "-D", str(data), "-U", "toombos", "-A", "trust", "-E", "UTF8", "--locale=C"])
        _run([*as_server, pg_ctl, "-D", str(data), "-l", str(directory / "log"), "-o", options, "-w", "start"])
        try:
            yield directory
        finally:
            _run([*as_server, pg_ctl, "-D", str(data), "-m", "immediate", "-w", "stop"])
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _server_user(directory: Path) -> list[str]:
    """Return how to run PostgreSQL's programs: they refuse to run as root, so root runs them as `postgres`."""
    if os.geteuid() != 0:
        return []
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    os.chown(directory, user.pw_uid, user.pw_gid)
    return [needs("setpriv"), "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/data/history.db"
    import psycopg

    sockets = request.getfixturevalue("postgres_cluster")
    name = f"history_{uuid4().hex}"
    with psycopg.connect(host=str(sockets), user="toombos", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://toombos@/{name}?host={sockets}"

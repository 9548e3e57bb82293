"""A real PostgreSQL for the tests alone, and databases by URL for SQLite and PostgreSQL."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.databases import as_postgres, postgres_program


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Path]:
    """The socket directory of a private PostgreSQL without a TCP port; deleted at the end."""
    initdb, pg_ctl = postgres_program("initdb"), postgres_program("pg_ctl")
    directory = Path(tempfile.mkdtemp(prefix="pg"))  # short: the path of a socket is limited to 107 bytes
    as_server = as_postgres(directory)
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

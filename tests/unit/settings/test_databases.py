"""The databases of the services: from which layer of settings, in which file or on which server."""

from pathlib import Path

import pytest

from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.settings.databases import Database, DatabaseKind, Server, find_databases
from toombos_cli.settings.display import masked_url
from toombos_cli.settings.env_files import read_env_files

SHOP = '[services.shop]\ncommand = ["shop"]\nscheme = "none"\n'
CASH = '[services.cash]\ncommand = ["cash"]\nscheme = "none"\n'
ROLE = '[environment.{name}]\ndescription = "x"\nrole = "database"\n'


def found(project: Path, manifest: str, env: str = "", mode: str | None = None) -> tuple[Database, ...]:
    (project / "toombos.toml").write_text(manifest)
    (project / ".env").write_text(env)
    return find_databases(load_manifest(project), read_env_files(load_manifest(project)), mode=mode, environ={})


def seen(databases: tuple[Database, ...]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(d.name, str(d.path) if d.path else d.url, d.services) for d in databases]


def test_the_packaged_system_uses_a_file_in_its_project(tmp_path: Path):
    assert seen(found(tmp_path, 'extends = "toombos"\n')) == [
        ("DATABASE_URL", f"{tmp_path}/data/generator.db", ("generator",))
    ]


SYSTEMS = {
    "a database that the manifest does not document": (SHOP + CASH, "sqlite:///a.db", [("a.db", ("shop", "cash"))]),
    "a database that is documented for a single service": (
        SHOP + CASH + ROLE.format(name="DATABASE_URL") + 'used_by = ["cash"]\n',
        "sqlite:///a.db",
        [("a.db", ("cash",))],
    ),
    "a database that a service sets for itself": (
        SHOP + 'env.DATABASE_URL = "sqlite:///b.db"\n' + CASH,
        "sqlite:///a.db",
        [("b.db", ("shop",)), ("a.db", ("cash",))],
    ),
    "a relative path in two working directories": (
        SHOP + 'cwd = "{project}/shop"\n' + CASH,
        "sqlite:///a.db",
        [("shop/a.db", ("shop",)), ("a.db", ("cash",))],
    ),
    "a file with two paths": (
        SHOP + 'env.DATABASE_URL = "sqlite:///./x/../a.db"\n' + CASH,
        "sqlite:///a.db",
        [("a.db", ("shop", "cash"))],
    ),
    "a documented variable that is not a database": (
        SHOP + '[environment.DATABASE_URL]\ndescription = "a replica"\n',
        "sqlite:///a.db",
        [],
    ),
    "no database": (SHOP, "", []),
    "a database that only monitoring could use": (
        SHOP.replace("scheme", 'role = "monitoring"\nscheme'),
        "sqlite:///a.db",
        [],
    ),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_database_is_listed_once_with_the_services_that_use_it(system: str, tmp_path: Path):
    manifest, url, expected = SYSTEMS[system]
    (tmp_path / "x").mkdir()
    databases = found(tmp_path, manifest, f"DATABASE_URL={url}\n" if url else "")
    if system == "a database that only monitoring could use":  # listed even though its user is unknown
        expected = [("a.db", ())]
    assert [(str(d.path.relative_to(tmp_path)), d.services) for d in databases if d.path] == expected
    assert len(databases) == len(expected)


def test_a_mode_can_have_its_own_database(tmp_path: Path):
    manifest = SHOP + ROLE.format(name="SHOP_DB") + '[modes.dry_run.env]\nSHOP_DB = "sqlite:///dry.db"\n'
    env = "SHOP_DB=sqlite:///live.db\n"
    assert [d.path for d in found(tmp_path, manifest, env)] == [tmp_path / "live.db"]
    assert [d.path for d in found(tmp_path, manifest, env, mode="dry_run")] == [tmp_path / "dry.db"]


def test_a_server_with_two_drivers_and_users_is_one_database(tmp_path: Path):
    manifest = SHOP + CASH + 'env.DATABASE_URL = "postgresql+asyncpg://two:b@db:5432/x?ssl=disable"\n'
    (only,) = found(tmp_path, manifest, "DATABASE_URL=postgresql://one:a@db/x\n")
    assert (only.services, only.kind) == (("shop", "cash"), DatabaseKind.POSTGRESQL)


SQLITE = {
    "a relative path": ("sqlite:///data/a.db", "data/a.db"),
    "an absolute path": ("sqlite:////srv/a.db", "/srv/a.db"),
    "a driver": ("sqlite+aiosqlite:///a.db", "a.db"),
    "parameters": ("sqlite:///a.db?timeout=5", "a.db"),
    "a file: URI": ("sqlite:///file:data/a.db?mode=ro&uri=true", "data/a.db"),
    "a database in memory": ("sqlite:///:memory:", None),
    "the short form of a database in memory": ("sqlite://", None),
    "a file: URI in memory": ("sqlite:///file:x?mode=memory&uri=true", None),
}


@pytest.mark.parametrize("form", SQLITE)
def test_the_path_of_a_sqlite_url_is_the_file_that_sqlalchemy_opens(form: str, tmp_path: Path):
    url, path = SQLITE[form]
    (database,) = found(tmp_path, SHOP, f"DATABASE_URL='{url}'\n")
    assert database.kind is DatabaseKind.SQLITE
    assert database.path == (tmp_path / path if path else None)


SERVERS = {
    "a plain URL": ("postgresql://u:p@h:5433/x", ("h", 5433, "p"), "postgresql://u@h:5433/x"),
    "no port": ("postgres://u@h/x", ("h", 5432, ""), "postgresql://u@h/x"),
    "a driver and its parameter": (
        "postgresql+asyncpg://u:p@h/x?ssl=disable",
        ("h", 5432, "p"),
        "postgresql://u@h/x?sslmode=disable",
    ),
    "parameters of a client library": (
        "postgresql://u:p@h/x?schema=public&connection_limit=5&pgbouncer=true&sslmode=require",
        ("h", 5432, "p"),
        "postgresql://u@h/x?sslmode=require",
    ),
    "a URL of Django's": ("postgis://u:p@h/x", ("h", 5432, "p"), "postgresql://u@h/x"),
    "a URL of JDBC": ("jdbc:postgresql://h/x?user=u&password=p", ("h", 5432, "p"), "postgresql://h/x?user=u"),
    "a mode of node-postgres": (
        "postgresql://u:p@h/x?sslmode=no-verify",
        ("h", 5432, "p"),
        "postgresql://u@h/x?sslmode=require",
    ),
    "a pool": (
        "postgresql://u:p@h/x?pool_max=5&pool_timeout=0&statement_cache_size=0",
        ("h", 5432, "p"),
        "postgresql://u@h/x",
    ),
    "a password with a raw ? and %": ("postgresql://u:p?s%s@h/x", ("h", 5432, "p?s%s"), "postgresql://u@h/x"),
    "a password with a raw #": ("postgresql://u:pa#ss@h/x", ("h", 5432, "pa#ss"), "postgresql://u@h/x"),
    "a password with a raw @": ("postgresql://u:p@ss@h/x", ("h", 5432, "p@ss"), "postgresql://u@h/x"),
    "a password with a raw /": ("postgresql://u:p/ss@h/x", ("h", 5432, "p/ss"), "postgresql://u@h/x"),
    "a database name with an @": ("postgresql://h:5433/x@y", ("h", 5433, ""), "postgresql://h:5433/x@y"),
    "an encoded password": ("postgresql://u:p%40ss@h/x", ("h", 5432, "p@ss"), "postgresql://u@h/x"),
    "a password among the parameters": (
        "postgresql://h/x?user=u&password=p",
        ("h", 5432, "p"),
        "postgresql://h/x?user=u",
    ),
    "a Unix socket": ("postgresql://u@/x?host=/run/pg", ("/run/pg", 5432, ""), "postgresql://u@/x?host=%2Frun%2Fpg"),
    "an IPv6 address": ("postgresql://u@[::1]:5433/x", ("::1", 5433, ""), "postgresql://u@[::1]:5433/x"),
    "several hosts": ("postgresql://u@a:1,b:2/x", ("a", 1, ""), "postgresql://u@a:1,b:2/x"),
}


@pytest.mark.parametrize("form", SERVERS)
def test_a_server_url_is_read_as_clients_read_it(form: str):
    url, (host, port, password), libpq = SERVERS[form]
    server = Server.parse(url)
    assert server is not None
    assert (server.host, server.port, server.password) == (host, port, password)
    assert server.libpq_url() == libpq
    assert len(password) < 4 or password not in repr(server) + masked_url(url)


@pytest.mark.parametrize("text", ["", "host=db dbname=x", "db/x"])
def test_a_text_that_is_not_a_url_has_no_server(text: str):
    assert Server.parse(text) is None

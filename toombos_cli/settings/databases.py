"""The databases of the system's services, for backup, restore, diagnose and `config check` alike."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode

from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import Service
from toombos_cli.settings.env_files import EnvFiles
from toombos_cli.settings.values import Value, decrypted, effective_values, key_names

CONVENTIONAL_NAME = "DATABASE_URL"
"""This variable names a database even if the manifest does not document it."""
_POSTGRESQL = ("postgresql", "postgres", "postgis", "pgsql", "psql")
"""What URLs of PostgreSQL begin with; the last three are for Django."""
_PORTS = {**dict.fromkeys(_POSTGRESQL, 5432), "mysql": 3306, "mariadb": 3306, "mongodb": 27017, "redis": 6379}
_SQLITE = re.compile(r"sqlite3?(?:\+\w+)?:///([^?]*)(?:\?(.*))?", re.DOTALL)
# The user and password of a URL, after its `://`. A password may contain anything: it ends at the last `@` before the
# host. Digits before a slash are a port.
USERINFO = r"(?:(?P<user>[^:@/?#]*)(?P<password>:(?!\d+[/?#]).*?)?@(?=[^@/?]*(?:[/?]|$)))?"
_SERVER = re.compile(
    rf"(?P<scheme>[A-Za-z][\w+.-]*)://{USERINFO}(?P<hosts>[^/?]*)(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS; libpq rejects every other name.
_LIBPQ = (
    "host|hostaddr|port|dbname|user|password|passfile|require_auth|channel_binding|connect_timeout|client_encoding"
    "|options|application_name|fallback_application_name|keepalives(_idle|_interval|_count)?|tcp_user_timeout"
    "|replication|gssencmode|requiressl|ssl(mode|negotiation|compression|cert|key|password|certmode|rootcert|crl|sni)"
    "|sslcrldir|requirepeer|(ssl_)?(min|max)_protocol_version|krbsrvname|gsslib|gssdelegation|service"
    "|target_session_attrs|load_balance_hosts"
)
_SECRET_PARAMETERS = ("password", "sslpassword")


def _is_shown(parameter: str) -> bool:
    """Report whether a parameter may stand in an argument, which every user of the machine can read."""
    return parameter not in _SECRET_PARAMETERS and re.fullmatch(_LIBPQ, parameter) is not None


class DatabaseKind(StrEnum):
    """The kind of database that a URL names; OTHER includes text that is not a URL."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The database server that a URL names; `password` is plain text.

    `named_host` is the first host in the URL, a directory for a Unix socket, "" if there is none. `port` is the port
    of that host, or the default port of the kind of database, or None if that is unknown.
    """

    scheme: str
    user: str
    password: str = field(repr=False)
    hosts: str
    named_host: str
    port: int | None
    database: str
    parameters: tuple[tuple[str, str], ...] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> "Server | None":
        """Return the server that a URL names, or None if the text is not a URL or its port is not a number."""
        match = _SERVER.fullmatch(url.removeprefix("jdbc:"))
        if match is None:
            return None
        scheme = match["scheme"].lower()
        parameters = dict(parse_qsl(match["query"] or "", keep_blank_values=True))
        host, port = _first_host(match["hosts"], parameters)
        if port and not (port.isdecimal() and int(port) < 65536):
            return None
        return cls(
            scheme=scheme,
            user=match["user"] or "",
            password=unquote((match["password"] or "")[1:]) or parameters.pop("password", ""),
            hosts=match["hosts"],
            named_host=host,
            port=int(port) if port else _PORTS.get(scheme.partition("+")[0]),
            database=match["database"] or "",
            parameters=tuple(parameters.items()),
        )

    @property
    def kind(self) -> DatabaseKind:
        """The kind of database, whatever driver the URL names."""
        dialect = self.scheme.partition("+")[0]
        return DatabaseKind.POSTGRESQL if dialect in _POSTGRESQL else DatabaseKind.OTHER

    @property
    def host(self) -> str:
        """The first host, or this machine if the URL names none."""
        return self.named_host or "localhost"

    def libpq_url(self) -> str:
        """Return the URL for libpq: without driver and secrets, with only the parameters that libpq knows."""
        given = dict(self.parameters)
        if "ssl" in given and "sslmode" not in given:  # asyncpg's name
            given["sslmode"] = {"true": "require", "false": "disable"}.get(given["ssl"], given["ssl"])
        if given.get("sslmode") == "no-verify":  # node-postgres' name
            given["sslmode"] = "require"
        query = urlencode({name: value for name, value in given.items() if _is_shown(name)})
        user = f"{self.user}@" if self.user else ""
        return f"postgresql://{user}{self.hosts}/{self.database}" + (f"?{query}" if query else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database; `services` are the services that get its URL.

    `name` is the variable that names it, `value` the variable as set. `url` is plain text, or "" with the reason in
    `undecryptable`. `path` is the absolute path of a SQLite file, None for a database in memory.
    """

    name: str
    value: Value
    kind: DatabaseKind
    url: str = field(default="", repr=False)
    undecryptable: str = ""
    services: tuple[str, ...] = ()
    path: Path | None = None
    server: Server | None = None

    @property
    def label(self) -> str:
        """The variable and its services: one name may mean different databases for different services."""
        return f"{self.name} ({', '.join(self.services)})" if self.services else self.name


def _first_host(hosts: str, parameters: Mapping[str, str]) -> tuple[str, str]:
    """Return host and port as written, "" if missing; parameters supply what the URL's authority leaves out."""
    first = hosts.partition(",")[0]
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", first)
    host, _, port = first.partition(":")
    if bracketed:
        host, port = bracketed[1], bracketed[2] or ""
    return (
        unquote(host) or parameters.get("host", "").partition(",")[0],
        port or parameters.get("port", "").partition(",")[0],
    )


def find_databases(
    manifest: Manifest, env_files: EnvFiles, *, mode: str | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Database, ...]:
    """Return each database once, including those without a known user.

    The variables with the role `database` name them, and DATABASE_URL if the manifest does not document it. A relative
    SQLite path is resolved against the working directory of the service.
    """
    found: dict[object, Database] = {}
    for name in _names(manifest):
        for service in _users(manifest, name) or (None,):
            values = effective_values(manifest, service, env_files, mode=mode, environ=environ)
            if name not in values or not values[name].value:
                continue
            clear = decrypted(manifest, {n: values[n] for n in {name, *key_names(manifest)} & values.keys()})
            database = _described(manifest, service, values[name], clear.values.get(name, ""))
            database = replace(database, undecryptable=clear.undecryptable.get(name, ""))
            same = found.setdefault(_identity(database), database)
            services = dict.fromkeys((*same.services, *database.services))
            found[_identity(database)] = replace(same, services=tuple(services))
    return tuple(found.values())


def _names(manifest: Manifest) -> tuple[str, ...]:
    names = [name for name, variable in manifest.environment.items() if variable.role == "database"]
    return tuple(names) if CONVENTIONAL_NAME in manifest.environment else (*names, CONVENTIONAL_NAME)


def _users(manifest: Manifest, name: str) -> tuple[Service, ...]:
    """Return the services that read a variable: those the manifest names, or else all except monitoring."""
    named = manifest.environment[name].used_by if name in manifest.environment else ()
    return tuple(
        service
        for service in manifest.services.values()
        if name in service.env
        or name in service.default_env
        or (service.name in named if named else service.role != "monitoring")
    )


def _described(manifest: Manifest, service: Service | None, value: Value, url: str) -> Database:
    directory = Path(service.cwd) if service else manifest.project
    services = (service.name,) if service else ()
    if re.match(r"sqlite3?(\+\w+)?:", url):
        path = _sqlite_path(url, directory)
        return Database(name=value.name, value=value, kind=DatabaseKind.SQLITE, url=url, services=services, path=path)
    server = Server.parse(url)
    kind = server.kind if server else DatabaseKind.OTHER
    return Database(name=value.name, value=value, kind=kind, url=url, services=services, server=server)


def _sqlite_path(url: str, directory: Path) -> Path | None:
    """Return the file of a URL as SQLAlchemy reads it, `file:` URIs included, or None for a database in memory."""
    match = _SQLITE.fullmatch(url)
    path = match[1] if match else ""
    if match and path.startswith("file:"):
        path = unquote(path.removeprefix("file:"))
        path = "" if "mode=memory" in (match[2] or "") else path
    if path in ("", ":memory:"):
        return None
    return Path(os.path.normpath(directory / path))


def _identity(database: Database) -> object:
    """Return a key that is equal for two URLs of the same database, whatever user and driver they name."""
    if database.path is not None:
        return os.path.realpath(database.path)
    if database.server is not None and database.kind is DatabaseKind.POSTGRESQL:
        server = database.server
        return server.host, server.port, dict(server.parameters).get("dbname") or server.database or server.user
    return database.name, database.url or database.value.value

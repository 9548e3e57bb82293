"""What a backup or restore of a project covers, from its manifest and settings: files, databases, keys, places."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from msgspec.structs import replace

from toombos_cli.backup.archive.encryption import Keys
from toombos_cli.backup.archive.format import Root
from toombos_cli.backup.archive.safety import is_within
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.postgres import Postgres
from toombos_cli.backup.selection import Scope, live_path
from toombos_cli.base.errors import ConfigurationError
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.reading.loader import load_manifest, packaged_manifest
from toombos_cli.manifest.tables.backup import BackupScope
from toombos_cli.project.mode import mode_now
from toombos_cli.settings.databases import Database, DatabaseKind, Server, find_databases
from toombos_cli.settings.env_file import ENV_FILE
from toombos_cli.settings.env_files import env_file_paths, read_env_files
from toombos_cli.settings.values import clear_values


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The databases of a system, sorted by how a backup saves them.

    `sqlite` are files in the project, by their names in an archive. `postgres` is dumped and restored. `unsaved` maps
    each database that cannot be saved, by its variable, to the reason. `several_servers` means more than one PostgreSQL
    database, and an archive does not record which one its dump comes from. `databases` are all of them.
    """

    sqlite: frozenset[bytes] = frozenset()
    postgres: Postgres | None = None
    several_servers: bool = False
    unsaved: Mapping[bytes, str] = field(default_factory=dict)
    databases: tuple[Database, ...] = ()

    @property
    def restorable(self) -> Postgres | None:
        """The database that a dump is restored to, or None."""
        return None if self.several_servers else self.postgres


def readable_manifest(project: Path) -> Manifest:
    """Return the project's manifest, or if it is unreadable the packaged one with the default `[backup]` table."""
    try:
        return load_manifest(project)
    except ConfigurationError:
        return replace(packaged_manifest(project), backup=BackupScope())


def make_place(manifest: Manifest) -> Place:
    """Return the place of the project's archives."""
    return Place(manifest.project, manifest.project / manifest.backup.directory)


def make_keys(manifest: Manifest) -> Keys:
    """Return the age recipients and identity file of the `[backup]` table."""
    table = manifest.backup
    identity = manifest.project / table.age_identity if table.age_identity else None
    return Keys(recipients=table.age_recipients, identity=identity)


def make_scope(manifest: Manifest, stores: Stores, *, all_logs: bool = False) -> Scope:
    """Return the roots of the `[backup]` table, and the SQLite databases and env files elsewhere in the project.

    `all_logs` includes logs of any age.
    """
    table, project = manifest.backup, manifest.project
    roots = [
        Root(path=path, log_days=float(table.log_days) if path in table.log_roots and not all_logs else None)
        for path in dict.fromkeys((*table.roots, *table.log_roots))
    ]
    names = [root.path.encode() for root in roots]
    outside = [name for name in sorted(stores.sqlite) if not any(is_within(name, root) for root in names)]
    roots += [Root(path=os.fsdecode(name)) for name in outside if os.path.lexists(live_path(project, name))]
    roots += [Root(path=os.fsdecode(name)) for name in _env_files(manifest) if name not in names]
    return Scope(
        project=project,
        roots=tuple(roots),
        exclude=table.exclude,
        writes_exclude=("backup", "exclude") in manifest.source.written,
        backup_directory=make_place(manifest).directory,
        databases=stores.sqlite,
    )


def _env_files(manifest: Manifest) -> list[bytes]:
    """Return the names of the env files in the project; they are saved wherever `.env` is."""
    if ENV_FILE not in manifest.backup.roots:
        return []
    project = os.path.realpath(manifest.project)
    paths = [os.path.normpath(path) for path in env_file_paths(manifest)]
    return [os.fsencode(os.path.relpath(path, project)) for path in paths if path.startswith(f"{project}/")]


def find_stores(manifest: Manifest, *, lenient: bool = False) -> Stores:
    """Return the databases of the services in the mode that the system runs in.

    Raise ConfigurationError if an env file is unreadable; with `lenient`, that is the reason why no database is saved.
    """
    try:
        databases = find_databases(manifest, read_env_files(manifest), mode=mode_now(manifest))
    except ConfigurationError as error:
        if not lenient:
            raise
        return Stores(unsaved={b"the databases that env files name": str(error)})
    return take_stores(manifest, databases)


def redis_passwords(manifest: Manifest) -> tuple[str, ...]:
    """Return the passwords of Redis that the services know: those of URLs, and of `--requirepass`."""
    env_files, mode = read_env_files(manifest), mode_now(manifest)
    found: dict[str, None] = {}
    for service in manifest.services.values():
        words = service.command
        found |= {word: None for option, word in pairwise(words) if option == "--requirepass"}
        for value in clear_values(manifest, service, env_files, mode=mode).values.values():
            server = Server.parse(value) if value.startswith(("redis://", "rediss://")) else None
            if server and server.password:
                found[server.password] = None
    return tuple(found)


def take_stores(manifest: Manifest, databases: tuple[Database, ...]) -> Stores:
    """Sort databases by how a backup saves them."""
    sqlite, unsaved = set(), {}
    servers = [database for database in databases if database.kind is DatabaseKind.POSTGRESQL]
    dumped = servers[0] if servers else None
    for database in databases:
        if database is dumped:
            continue
        if database.kind is DatabaseKind.SQLITE:
            name = _archive_name(manifest, database.path) if database.path else None
            if name is not None:
                sqlite.add(name)
            elif database.path and database.path.exists():
                unsaved[database.label.encode()] = f"{database.path} is outside the project and the backup's roots"
        else:
            unsaved[database.label.encode()] = _reason(database, dumped)
    postgres = Postgres.from_url(dumped.url, name=dumped.name) if dumped else None
    return Stores(
        sqlite=frozenset(sqlite),
        postgres=postgres,
        several_servers=len(servers) > 1,
        unsaved=unsaved,
        databases=databases,
    )


def _reason(database: Database, dumped: Database | None) -> str:
    if database.undecryptable:
        return f"is encrypted and cannot be decrypted: {database.undecryptable}"
    if database.kind is DatabaseKind.POSTGRESQL and dumped:
        return f"an archive contains only one PostgreSQL database, the one of {dumped.label}"
    if database.server is None:
        return "is not a database URL"
    return f"toombos cannot back up {database.server.scheme} databases; remove the role database to ignore it"


def _archive_name(manifest: Manifest, path: Path) -> bytes | None:
    """Return a file's name in an archive, relative to a root (links followed) or the project; None outside both."""
    real = os.path.realpath(os.fsencode(path))
    for root in dict.fromkeys((*manifest.backup.roots, *manifest.backup.log_roots)):
        directory = live_path(manifest.project, root.encode())
        if is_within(real, directory):
            return root.encode() + real[len(directory) :]
    project = os.path.realpath(os.fsencode(manifest.project))
    return real[len(project) + 1 :] if is_within(real, project) else None

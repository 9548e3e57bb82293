"""What a backup or restore of a project is about, from its manifest and settings: files, databases, keys, places."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from toombos_cli.backup.archive.encryption import Keys
from toombos_cli.backup.archive.format import Root
from toombos_cli.backup.directory.paths import Place
from toombos_cli.backup.postgres import Postgres
from toombos_cli.backup.selection import Scope
from toombos_cli.base.errors import ConfigurationError
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.reading.loader import load_manifest, packaged_manifest
from toombos_cli.manifest.tables.backup import BackupScope
from toombos_cli.settings.env_file import read_env_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The databases of a system as a backup takes them: files below the project, and one that is dumped."""

    sqlite: frozenset[bytes] = frozenset()
    postgres: Postgres | None = None


def readable_manifest(project: Path) -> Manifest:
    """Return the project's manifest; where that cannot be read, the packaged one with the default `[backup]` table."""
    try:
        return load_manifest(project)
    except ConfigurationError:
        return replace(packaged_manifest(project), backup=BackupScope())


def make_place(manifest: Manifest) -> Place:
    """Return where the project's archives lie."""
    return Place(manifest.project, manifest.project / manifest.backup.directory)


def make_keys(manifest: Manifest) -> Keys:
    """Return the age recipients and identity file of the `[backup]` table."""
    table = manifest.backup
    identity = manifest.project / table.age_identity if table.age_identity else None
    return Keys(recipients=table.age_recipients, identity=identity)


def make_scope(manifest: Manifest, stores: Stores, *, all_logs: bool = False) -> Scope:
    """Return the roots of the `[backup]` table; `all_logs` takes logs of any age."""
    table = manifest.backup
    roots = tuple(
        Root(path=path, log_days=float(table.log_days) if path in table.log_roots and not all_logs else None)
        for path in dict.fromkeys((*table.roots, *table.log_roots))
    )
    return Scope(
        project=manifest.project,
        roots=roots,
        exclude=table.exclude,
        backup_directory=make_place(manifest).directory,
        databases=stores.sqlite,
    )


def find_stores(manifest: Manifest, *, lenient: bool = False) -> Stores:
    """Return the databases that the settings name. Raises ConfigurationError for a `.env` that cannot be read.

    With `lenient` they are then unknown.
    """
    try:
        values = read_env_file(manifest.project).values
    except ConfigurationError:
        if not lenient:
            raise
        return Stores()
    names = set()
    for name, variable in manifest.environment.items():
        if variable.role == "database":
            url = os.environ.get(name) or values.get(name) or variable.default or ""
            if found := re.match(r"sqlite(?:\+\w+)?:///([^?]+)", url):
                names.add(os.fsencode(os.path.relpath(manifest.project / found[1], manifest.project)))
    postgres = Postgres.from_url(os.environ.get("DATABASE_URL") or values.get("DATABASE_URL"))
    return Stores(sqlite=frozenset(names), postgres=postgres)

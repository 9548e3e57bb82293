"""From the manifest's `[backup]` table to what the backup feature takes."""

from typing import TYPE_CHECKING

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.cli.invocation import Invocation
from toombos_cli.manifest.tables.backup import BackupScope

if TYPE_CHECKING:
    from toombos_cli.backup.archive.encryption import Keys
    from toombos_cli.backup.directory.paths import Place
    from toombos_cli.backup.maintenance_reports import RemoteReport
    from toombos_cli.backup.postgres import Postgres
    from toombos_cli.backup.selection import Scope


def make_place(invocation: Invocation, settings: BackupScope | None = None) -> "Place":
    """Where this project's archives lie."""
    from toombos_cli.backup.directory.paths import Place

    settings = settings or invocation.manifest.backup
    return Place(invocation.project, invocation.project / settings.directory)


def find_keys(invocation: Invocation, settings: BackupScope) -> "Keys":
    """The manifest's age recipients and identity file."""
    from toombos_cli.backup.archive.encryption import Keys

    identity = (invocation.project / settings.age_identity) if settings.age_identity else None
    return Keys(recipients=settings.age_recipients, identity=identity)


def find_remote(invocation: Invocation) -> "RemoteReport | None":
    """What the manifest's remote holds; None where it names none."""
    from toombos_cli.backup.directory.remote_sync import look_at_remote
    from toombos_cli.backup.directory.store import utc_now

    return look_at_remote(invocation.manifest.backup.remote, make_place(invocation), utc_now())


def find_postgres(invocation: Invocation) -> "Postgres | None":
    """The PostgreSQL database that DATABASE_URL names, in the environment or in `.env`; None for any other."""
    import os

    from toombos_cli.backup.postgres import Postgres
    from toombos_cli.settings.env_file import read_env_file

    return Postgres.from_url(
        os.environ.get("DATABASE_URL") or read_env_file(invocation.project).values.get("DATABASE_URL")
    )


def find_sqlite(invocation: Invocation) -> frozenset[bytes]:
    """The SQLite databases that the settings name, as paths below the project."""
    import os
    import re

    from toombos_cli.settings.env_file import read_env_file

    values = read_env_file(invocation.project).values
    names = set()
    for name, variable in invocation.manifest.environment.items():
        if variable.role == "database":
            url = os.environ.get(name) or values.get(name) or variable.default or ""
            found = re.match(r"sqlite(?:\+\w+)?:///([^?]+)", url)
            if found:
                path = os.path.relpath(invocation.project / found[1], invocation.project)
                names.add(os.fsencode(path))
    return frozenset(names)


def make_scope(invocation: Invocation, *, lenient: bool = False) -> tuple[BackupScope, "Scope"]:
    """The table and the scope that it describes.

    `lenient`: a manifest that cannot be read is replaced by the defaults, and logs of any age are taken.
    """
    from toombos_cli.backup.archive.format import Root
    from toombos_cli.backup.selection import Scope

    try:
        settings, databases = invocation.manifest.backup, find_sqlite(invocation)
    except ConfigurationError:
        if not lenient:
            raise
        settings, databases = BackupScope(), frozenset[bytes]()
    roots = tuple(
        Root(path=path, log_days=float(settings.log_days) if path in settings.log_roots and not lenient else None)
        for path in dict.fromkeys((*settings.roots, *settings.log_roots))
    )
    scope = Scope(
        project=invocation.project,
        roots=roots,
        exclude=settings.exclude,
        backup_directory=make_place(invocation, settings).directory,
        databases=databases,
        written=_written_roots(invocation, settings),
    )
    return settings, scope


def _written_roots(invocation: Invocation, settings: BackupScope) -> frozenset[str]:
    """The roots that the project's own `toombos.toml` names; none of those that it inherits."""
    try:
        written = invocation.manifest.source.written
    except ConfigurationError:  # an emergency backup with the default roots
        return frozenset()
    keys = ("roots", "log_roots")
    return frozenset(root for key in keys if ("backup", key) in written for root in getattr(settings, key))

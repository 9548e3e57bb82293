"""Each database of a service: whether it can be reached, queried and written, and has free connections."""

from collections.abc import Callable, Iterator

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import Fix, advice, shell, toombos
from toombos_cli.base.quoting import joined
from toombos_cli.diagnose.facts.database import DATABASES, DatabaseFacts
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.diagnose.facts.system import SYSTEM
from toombos_cli.project.commands import logs

_GROUP = "database"
_NEARLY_ALL = 0.85


def _each(judge: Callable[[Facts, DatabaseFacts], Iterator[Finding]]) -> Callable[[Facts], Iterator[Finding]]:
    """Turn a function that checks one database into a check of all; without any, it gets one of no kind."""

    def check(facts: Facts) -> Iterator[Finding]:
        for found in facts.get(DATABASES) or (DatabaseFacts(),):
            yield from judge(facts, found)

    return check


@_each
def server(facts: Facts, found: DatabaseFacts) -> Iterator[Finding]:
    """The database server takes connections; SQLite has none."""
    if found.undecryptable:
        yield fail(
            f"{found.name} is encrypted and cannot be decrypted: {found.undecryptable}",
            _at(found),
            service=_user(found),
            cause="a service that reads it refuses to start",
            fix=advice(f"set the key that it was encrypted with: {toombos(facts.manifest.project, 'config', 'check')}"),
        )
    elif not found.reached:
        yield skip(_without_server(found))
    elif stopped := _stopped_server(facts, found):
        yield skip(stopped)
    elif found.reached != "ok":
        yield fail(
            f"the database server does not answer: {found.ping}",
            _at(found),
            service=_user(found),
            cause="it is not running, or the URL names a different host or port",
            fix=advice(
                f"{_look(facts, found)}, or correct {found.name}: {toombos(facts.manifest.project, 'config', 'show')}"
            ),
        )


@_each
def permission(facts: Facts, found: DatabaseFacts) -> Iterator[Finding]:
    """The services' user can write to the database."""
    if not found.kind:
        yield skip("no database is configured")
    elif found.permission:
        yield fail(
            f"the database cannot be written: {found.permission}",
            _at(found),
            service=_user(found),
            cause="nothing that is generated can be stored",
            fix=advice(
                "make it writable for the user that runs the services (chown, chmod u+w)"
                if found.path
                else "GRANT CREATE ON SCHEMA public TO the user of the URL"
            ),
        )


@_each
def ping(facts: Facts, found: DatabaseFacts) -> Iterator[Finding]:
    """A query is answered."""
    if found.removed:
        yield _removed(facts, found)
    elif not found.kind or found.ping_skipped or found.undecryptable:
        yield skip(found.ping_skipped or found.undecryptable or "no database is configured")
    elif stopped := _stopped_server(facts, found):
        yield skip(stopped)
    elif found.exhausted:
        yield skip(f"it accepts no further connection: {found.ping}")
    elif found.ping:
        yield fail(
            f"the database does not answer a query: {found.ping}",
            _at(found),
            service=_user(found),
            cause="its file is damaged"
            if found.damaged
            else "the name, user or password in the URL is wrong, or see the server's message above",
            fix=advice(
                f"restore the last good copy: {toombos(facts.manifest.project, 'restore', '--latest-good')}"
                if found.damaged
                else f"check the connection string: {toombos(facts.manifest.project, 'config', 'show')}"
            ),
        )
    else:
        yield ok(f"{found.url} answers")


@_each
def locks(facts: Facts, found: DatabaseFacts) -> Iterator[Finding]:
    """Nobody holds a lock for which others wait."""
    for holder in found.holders:
        if found.path:
            whose = holder.service or f"pid {holder.pid}"
            yield warn(
                f"{whose} ({holder.who}) has held the write lock of {found.path} for more than a second",
                _at(found),
                service=_user(found),
                cause="nobody else can write meanwhile (database is locked): a transaction that is not ended",
                fix=toombos(facts.manifest.project, "restart", holder.service)
                if holder.service
                else advice(f"let it end its transaction, or end it: kill {holder.pid}"),
            )
        else:
            yield warn(
                f"{holder.waiting} sessions of {found.name} wait for a lock of session {holder.pid} ({holder.who})",
                _at(found),
                service=_user(found),
                cause="its transaction has changed what they want to change, and is not ended",
                fix=advice(f"let it end its transaction, or end it in psql: select pg_terminate_backend({holder.pid})"),
            )


def _without_server(found: DatabaseFacts) -> str:
    if not found.kind:
        return "no database server is configured"
    if found.kind.startswith("sqlite"):
        return f"{found.kind} needs no server"
    return found.ping_skipped or "it is reached by a Unix socket"


def _stopped_server(facts: Facts, found: DatabaseFacts) -> str:
    """Return why not to check a server that is a stopped service of the manifest: other checks report it."""
    stopped = found.served_by and not facts.get(SYSTEM).services[found.served_by].runs
    return f"{found.served_by} serves the database and is not running" if stopped else ""


def _look(facts: Facts, found: DatabaseFacts) -> str:
    if found.served_by:
        return logs(facts.manifest, found.served_by).command
    return "start it (sudo systemctl start postgresql, or docker start NAME)"


def _removed(facts: Facts, found: DatabaseFacts) -> Finding:
    """The file is deleted, but its content exists while the service has it open."""
    pid = found.removed[0][1].split("/")[2]
    restart = toombos(facts.manifest.project, "restart", _user(found))
    copies = "; ".join(joined(("cp", opened, name)) for name, opened in found.removed)
    return fail(
        "the database file was removed while the service is using it",
        *(Evidence(source=opened, text=f"{name} (deleted)") for name, opened in found.removed),
        service=_user(found),
        cause="its data is lost as soon as the service stops; the fix suspends the service and copies the file back",
        fix=shell(f"kill -STOP {pid}; {copies}; kill -CONT {pid}; {restart}"),
    )


@_each
def pool(facts: Facts, found: DatabaseFacts) -> Iterator[Finding]:
    """The server has free connections."""
    if found.exhausted:
        yield _exhausted(facts, found)
        return
    if found.connections is None or not found.max_connections:
        yield skip("only a running PostgreSQL server reports its connections")
        return
    figures = f"{found.connections} of {found.max_connections} connections are in use"
    if found.connections > _NEARLY_ALL * found.max_connections:
        yield warn(
            f"{figures}{_held_by(found)}",
            _at(found),
            service=_user(found),
            cause="new connections will be refused",
            fix=_fewer_connections(facts, found),
        )
    else:
        yield ok(figures)


def _exhausted(facts: Facts, found: DatabaseFacts) -> Finding:
    """The server refuses every further connection."""
    return fail(
        f"no connection of the database server is free{_held_by(found)}",
        Evidence(source=found.url, text=found.ping),
        service=found.served_by or _user(found),
        cause="its clients hold all that it allows (max_connections), or all that is allowed for this user or database",
        fix=_fewer_connections(facts, found),
    )


def _held_by(found: DatabaseFacts) -> str:
    held = (f"{client.connections} by {client.who}" for client in found.clients)
    return f"; held: {', '.join(held)}" if found.clients else ""


def _fewer_connections(facts: Facts, found: DatabaseFacts) -> Fix:
    """Return what frees connections: the client that holds the most, or the query that names it."""
    if not found.clients:
        who = "see who holds them (select application_name, state, count(*) from pg_stat_activity group by 1, 2)"
        return advice(f"{who}; let the clients keep fewer, or raise max_connections of the server")
    first = found.clients[0]
    now = f" (at once: {toombos(facts.manifest.project, 'restart', first.service)})" if first.service else ""
    return advice(f"let {first.who} keep fewer connections{now}, or raise max_connections of the server")


def _at(found: DatabaseFacts) -> Evidence:
    return Evidence(source=found.path or found.url, text=found.name)


def _user(found: DatabaseFacts) -> str:
    return found.services[0] if found.services else ""


CHECKS = (
    Check(
        id="db.service",
        title="the database server runs",
        group=_GROUP,
        run=server,
        follows=("load", "dsn", "types", "dns"),
    ),
    Check(id="db.perm", title="the database can be written", group=_GROUP, run=permission, follows=("dsn", "res.disk")),
    Check(id="db.locks", title="nobody waits for a lock", group=_GROUP, run=locks, follows=("db.service",)),
    Check(
        id="db.ping",
        title="the database answers",
        group=_GROUP,
        run=ping,
        follows=("dsn", "types", "db.service", "db.perm", "db.locks", "res.disk"),
    ),
    Check(
        id="db.pool",
        title="the database has free connections",
        group=_GROUP,
        run=pool,
        follows=("db.service", "db.ping"),
    ),
)

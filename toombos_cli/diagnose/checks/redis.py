"""Redis, by its own report: it accepts writes, saves its data, and has room for clients."""

from collections.abc import Callable, Iterator

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import Fix, advice, command
from toombos_cli.base.text import size
from toombos_cli.diagnose.facts.redis import REDIS, RedisFacts
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.project.commands import logs

_GROUP = "database"
_NEARLY_ALL = 0.95


def _each(judge: Callable[[Facts, RedisFacts], Iterator[Finding]]) -> Callable[[Facts], Iterator[Finding]]:
    """Turn a function that checks one Redis into a check of all."""

    def check(facts: Facts) -> Iterator[Finding]:
        found = facts.get(REDIS)
        if not found:
            yield skip("no Redis answers at an address that is known")
        for one in found:
            yield from judge(facts, one)

    return check


@_each
def password(facts: Facts, one: RedisFacts) -> Iterator[Finding]:
    """The password of the settings is accepted."""
    if one.refusal and one.variable:
        yield fail(
            f"{_name(one)} rejects the password in {one.variable}: {one.refusal[1:]}",
            _at(one),
            service=one.service,
            cause="it was started with another password (requirepass), or the user may not report",
            fix=advice(f"correct {one.variable} in .env, or requirepass of Redis"),
        )
    elif one.refusal:
        yield skip(f"{_name(one)} does not report to a client without a password: {one.refusal[1:]}")


@_each
def memory(facts: Facts, one: RedisFacts) -> Iterator[Finding]:
    """There is memory left for what is written, or old keys make room for it."""
    limit, used = one.number("maxmemory"), one.number("used_memory")
    figures = f"{_name(one)} uses {size(used)}" + (f" of {size(limit)} (maxmemory)" if limit else "")
    if limit and used > _NEARLY_ALL * limit and one.info.get("maxmemory_policy") == "noeviction":
        yield fail(
            f"{figures}, and evicts nothing (noeviction)",
            _at(one),
            service=one.service,
            cause="it refuses what its clients write: OOM command not allowed",
            fix=_set(one, "maxmemory", str(2 * limit), before=str(limit)),
        )
    elif one.info:
        yield ok(figures, service=one.service)


@_each
def role(facts: Facts, one: RedisFacts) -> Iterator[Finding]:
    """It is a replica only if it is meant to be one, and then has its master."""
    if one.info.get("role") != "slave":
        return
    master = f"{one.info.get('master_host', '')}:{one.info.get('master_port', '')}"
    if not one.is_meant_as_replica:
        yield fail(
            f"{_name(one)} is a replica of {master}, and nothing in its command or configuration file says so",
            _at(one, "role:slave"),
            service=one.service,
            cause="a replica refuses what its clients write (READONLY), and takes over the data of its master",
            fix=_command(one, "replicaof", "no", "one", undo=("replicaof", *master.rsplit(":", 1))),
        )
    elif one.info.get("master_link_status") == "down":
        yield warn(
            f"{_name(one)} has no connection to its master {master}",
            _at(one, "master_link_status:down"),
            service=one.service,
            cause="its data is as old as the connection",
            fix=advice(f"look at {master}, or at the log: {logs(facts.manifest, one.service)}")
            if one.service
            else advice(f"look at {master}"),
        )


@_each
def persistence(facts: Facts, one: RedisFacts) -> Iterator[Finding]:
    """Its last snapshot and its last write to the append-only file succeeded."""
    for name, what in (
        ("rdb_last_bgsave_status", "its last snapshot"),
        ("aof_last_write_status", "its last write to the append-only file"),
    ):
        if one.info.get(name) == "err":
            yield fail(
                f"{_name(one)}: {what} failed",
                _at(one, f"{name}:err"),
                service=one.service,
                cause="what was written since is lost if it ends; by default it refuses writes until one succeeds",
                fix=advice("see whether its directory exists, can be written and has room (redis-cli config get dir)"),
            )


@_each
def clients(facts: Facts, one: RedisFacts) -> Iterator[Finding]:
    """It accepts more clients."""
    limit, used = one.number("maxclients"), one.number("connected_clients")
    if limit and used >= _NEARLY_ALL * limit:
        yield warn(
            f"{_name(one)} has {used} of {limit} clients (maxclients)",
            _at(one),
            service=one.service,
            cause="new clients will be refused",
            fix=_set(one, "maxclients", str(2 * limit), before=str(limit)),
        )


def _name(one: RedisFacts) -> str:
    return one.service or f"Redis at {one.host}:{one.port}"


def _at(one: RedisFacts, text: str = "INFO") -> Evidence:
    return Evidence(source=f"{one.host}:{one.port}", text=text)


def _set(one: RedisFacts, name: str, value: str, *, before: str) -> Fix:
    return _command(one, "config", "set", name, value, undo=("config", "set", name, before))


def _command(one: RedisFacts, *words: str, undo: tuple[str, ...]) -> Fix:
    """Return the command of redis-cli, which asks for a password if there is one."""
    client = ("redis-cli", "-h", one.host, "-p", str(one.port), *(["--askpass"] if one.variable else []))
    return command(*client, *words, undo=str(command(*client, *undo)))


CHECKS = (
    Check(id="redis.password", title="Redis accepts its password", group=_GROUP, run=password),
    Check(id="redis.memory", title="Redis has memory for writes", group=_GROUP, run=memory),
    Check(id="redis.role", title="Redis accepts writes", group=_GROUP, run=role),
    Check(id="redis.saves", title="Redis saves its data", group=_GROUP, run=persistence, follows=("res.places",)),
    Check(id="redis.clients", title="Redis accepts clients", group=_GROUP, run=clients),
)
STORES = tuple(check.id for check in CHECKS)
"""What explains that a client of Redis is in trouble."""

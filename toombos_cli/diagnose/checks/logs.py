"""Logs: whether they can be read, what services logged when they started, and the lines that need a closer look."""

from collections.abc import Iterator

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, warn
from toombos_cli.base.fixes import Fix, advice, toombos
from toombos_cli.base.text import size
from toombos_cli.diagnose.checks.context import at
from toombos_cli.diagnose.checks.log_evidence import logged_problems, message
from toombos_cli.diagnose.checks.log_kinds import KINDS, number
from toombos_cli.diagnose.facts.logs import LOGS, LogEntry
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.diagnose.facts.system import SYSTEM, ServiceFacts
from toombos_cli.manifest.tables.known import LineKind

_GROUP = "logs"
_SHOWN = 3
_MANY_REFUSALS = 20


def readable(facts: Facts) -> Iterator[Finding]:
    """Every log can be read."""
    for name, log in facts.get(LOGS).items():
        if log.obstructed:
            restart = toombos(facts.manifest.project, "restart", name)
            yield fail(
                f"the log of {name} {log.problem}",
                Evidence(source=log.path),
                service=name,
                cause="toombos writes logs to files of its own, so the service cannot be started like this",
                fix=advice(f"remove {log.path}, then: {restart}"),
            )
        elif log.problem:
            yield fail(
                f"the log of {name} {log.problem}",
                Evidence(source=log.path),
                service=name,
                cause="this user cannot see what the service logs",
                fix=advice(f"run toombos as the user that runs the services, or correct the mode of {log.path}"),
            )
        elif log.exists:
            yield ok(f"{name}: {size(log.size_bytes)}", *map(at, log.last[-_SHOWN:]), service=name)


def stray(facts: Facts) -> Iterator[Finding]:
    """Every running service writes to the file that has the name of its log."""
    for name, found in facts.get(SYSTEM).services.items():
        if found.stray_output:
            yield warn(
                found.stray_output,
                service=name,
                cause="logrotate or somebody else moved or removed a log that is still written to; toombos rotates its "
                "logs itself, and follows logrotate's copytruncate",
                fix=_restarted(facts, found),
            )


def _restarted(facts: Facts, found: ServiceFacts) -> Fix:
    restart = toombos(facts.manifest.project, "restart", found.name)
    return advice(f"{found.stray_first}{restart}") if found.stray_first else restart


def startup(facts: Facts) -> Iterator[Finding]:
    """What each service logged when it started, for information."""
    for name, log in facts.get(LOGS).items():
        found = [entry for entry in log.entries if entry.startup]
        if found:
            yield ok(f"{name}: {message(found[-1])}", *map(at, found[-_SHOWN:]), service=name)


def simulated(facts: Facts) -> Iterator[Finding]:
    """Failures that a mock was asked to simulate: not a fault of the system."""
    for name, found in _entries(facts, LineKind.SIMULATED):
        if facts.manifest.services[name].role == "mock":
            yield warn(
                f"{name} failed {number(facts, name, len(found))} requests on purpose: {message(found[-1])}",
                *map(at, found[-_SHOWN:]),
                service=name,
                cause="a simulation: a word in the subject or title (error, timeout, invalid, slow), the header "
                "X-Simulate, or MOCK_ERROR_RATE asked for it; the mock itself is healthy",
                fix=advice("remove the word from the subject, or the header; a restart resets the mock's state"),
            )


def trigger(facts: Facts) -> Iterator[Finding]:
    """Publications of the system itself whose subject or title triggered a simulation."""
    for name, found in _entries(facts, LineKind.TRIGGER):
        if facts.manifest.services[name].role == "app":
            yield warn(
                f"{name} published something that triggered a simulation: {message(found[-1])}",
                *map(at, found[-_SHOWN:]),
                service=name,
                cause="the document's heading, and so the subject, contains a word that makes the mocks fail",
                fix=advice("avoid error, timeout, invalid and slow in the heading while you use the mocks"),
            )


def _entries(facts: Facts, kind: LineKind) -> Iterator[tuple[str, list[LogEntry]]]:
    """Yield each service whose log has lines of a kind, with these lines."""
    for name in facts.get(LOGS):
        if found := [one.entry for one in logged_problems(facts, name) if one.kind is kind]:
            yield name, found


def refusals(facts: Facts) -> Iterator[Finding]:
    """Requests that were rejected because of their key."""
    for name, found in _entries(facts, LineKind.AUTH):
        if len(found) >= _MANY_REFUSALS:
            yield warn(
                f"{name} rejected {number(facts, name, len(found))} requests because of their key "
                "in the last 15 minutes",
                *map(at, found[-_SHOWN:]),
                service=name,
                cause="a client has an old or wrong key, or someone is guessing",
                fix=advice(
                    "find the client by the request ids above; if the key may have leaked, replace API_KEY, and run "
                    f"{toombos(facts.manifest.project, 'config', 'rotate-key')} for stored secrets"
                ),
            )
        else:
            yield ok(f"{name} rejected {len(found)} requests because of their key", at(found[-1]), service=name)


CHECKS = (
    Check(id="log.tail", title="logs can be read", group=_GROUP, run=readable, follows=("proc.seen",)),
    Check(id="log.stray", title="services write to their logs", group=_GROUP, run=stray, follows=("proc.seen",)),
    Check(id="log.startup", title="what services logged when they started", group=_GROUP, run=startup),
    Check(id="mock.simulated", title="no failure was simulated", group=_GROUP, run=simulated, follows=("mock",)),
    Check(
        id="mock.trigger",
        title="no publication triggers a simulation",
        group=_GROUP,
        run=trigger,
        follows=("mock", "mock.simulated"),
    ),
    *KINDS,
    Check(id="log.auth", title="callers have the right key", group=_GROUP, run=refusals, follows=("secret_set",)),
)

"""Current errors in the logs: those since the services, and those they depend on, were last started.

Older errors are ignored: they neither warn nor explain. A later success of the same operation clears an error.
"""

import re
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, warn
from toombos_cli.base.fixes import advice, toombos
from toombos_cli.base.text import size
from toombos_cli.diagnose.checks.context import at
from toombos_cli.diagnose.checks.log_patterns import PATTERNS, Pattern, is_simulated, kind_of
from toombos_cli.diagnose.facts.logs import LOGS, LogEntry
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.diagnose.facts.system import SYSTEM
from toombos_cli.project.commands import logs

_GROUP = "logs"
_RECENT_S = 900.0
_CLOCKS_DIFFER_S = 60.0
_SHOWN = 3
_MANY_REFUSALS = 20
_DATED = re.compile(r"^\d{4}[-/]\d\d[-/]\d\d[T ]\S+ (?:[A-Z]+ )?(?:\w+(?:\.\w+)+ (?=\w))?")
"""Time, level and logger (with a dot: otherwise it may be the first word of the message) at the start of a line."""
_REFUSAL = re.compile(r"(?i)invalid api key|api key required|unauthori[sz]ed|invalid token|may read and preview")


def current(facts: Facts, name: str) -> list[LogEntry]:
    """Return the relevant lines of a service's log that are newer than its last start and than 15 minutes."""
    system = facts.get(SYSTEM).services
    names = {name} | set(facts.manifest.services[name].depends_on)
    starts = [system[n].started_at for n in names if n == name or (n in system and system[n].pid)]
    # A start in the future means that the clock was set back since then: ignore it.
    since = max([facts.now - _RECENT_S, *(at for at in starts if at <= facts.now)])
    log, begin = facts.get(LOGS)[name], system[name].log_offset

    def is_of_this_life(entry: LogEntry) -> bool:
        """Decide by the time; without a plausible one by the offset, unless the log was rotated since the start."""
        if entry.at is not None and entry.at <= facts.now + _CLOCKS_DIFFER_S:
            return entry.at >= since
        return log.size_bytes < begin or (entry.path == log.path and entry.offset >= begin)

    return [entry for entry in log.entries if is_of_this_life(entry)]


def _find(pattern: Pattern, facts: Facts) -> Iterator[Finding]:
    for name in facts.get(LOGS):
        entries = current(facts, name)
        found = [entry for entry in entries if kind_of(entry) is pattern]
        if found and pattern.taken_back_by is not None:
            # Entries are in file order, the latest last.
            after = entries[entries.index(found[-1]) + 1 :]
            if any(pattern.taken_back_by.search(entry.text) for entry in after):
                yield ok(f"{name}: {len(found)} earlier lines; it has succeeded since", at(found[-1]), service=name)
                continue
        if found and pattern.errors_only and facts.manifest.services[name].role == "monitoring":
            # A collector logs an error if it finds nothing to collect; monitoring has checks of its own for that.
            yield ok(f"{name} logged: {_message(found[-1])}", at(found[-1]), service=name)
        elif found:
            times = 1 + sum(not _goes_on(before, entry) for before, entry in pairwise(found))
            yield warn(
                f"{name} logged {_often(facts, name, found, times)}: {_message(found[-1])}",
                *map(at, found[-_SHOWN:]),
                service=name,
                cause=pattern.cause,
                fix=pattern.fix or logs(facts.manifest, name, "--errors"),
            )


def _often(facts: Facts, name: str, found: list[LogEntry], times: int) -> str:
    """Return how often; lines without a time may be as old as the service's last start."""
    if times == 1:
        return "once"
    span = "in the last 15 minutes" if all(entry.at is not None for entry in found) else "since its start"
    return f"{_number(facts, name, times)} times {span}"


def _number(facts: Facts, name: str, count: int) -> str:
    return f"{count}" if facts.get(LOGS)[name].holds_all else f"at least {count}"


def _goes_on(before: LogEntry, entry: LogEntry) -> bool:
    """Return whether a line belongs to the one before it, as in a traceback."""
    return entry.at is not None and entry.at == before.at and not _DATED.match(entry.text)


def _message(entry: LogEntry) -> str:
    """Return the line without time, level and logger."""
    return _DATED.sub("", entry.text)[:160]


def readable(facts: Facts) -> Iterator[Finding]:
    """Every log can be read."""
    for name, log in facts.get(LOGS).items():
        if log.problem:
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
                fix=toombos(facts.manifest.project, "restart", name),
            )


def startup(facts: Facts) -> Iterator[Finding]:
    """What each service logged when it started, for information."""
    for name, log in facts.get(LOGS).items():
        found = [entry for entry in log.entries if entry.startup]
        if found:
            yield ok(f"{name}: {_message(found[-1])}", *map(at, found[-_SHOWN:]), service=name)


def simulated(facts: Facts) -> Iterator[Finding]:
    """Failures that a mock was asked to simulate: not a fault of the system."""
    for name in facts.get(LOGS):
        found = [entry for entry in current(facts, name) if is_simulated(entry)]
        if found and facts.manifest.services[name].role == "mock":
            yield warn(
                f"{name} failed {_number(facts, name, len(found))} requests on purpose: {_message(found[-1])}",
                *map(at, found[-_SHOWN:]),
                service=name,
                cause="a simulation: a word in the subject or title (error, timeout, invalid, slow), the header "
                "X-Simulate, or MOCK_ERROR_RATE asked for it; the mock itself is healthy",
                fix=advice("remove the word from the subject, or the header; a restart resets the mock's state"),
            )


def trigger(facts: Facts) -> Iterator[Finding]:
    """Publications of the system itself whose subject or title triggered a simulation."""
    for name in facts.get(LOGS):
        found = [e for e in current(facts, name) if "simulated" in e.text.lower() and "publish" in e.text.lower()]
        if found and facts.manifest.services[name].role == "app":
            yield warn(
                f"{name} published something that triggered a simulation: {_message(found[-1])}",
                *map(at, found[-_SHOWN:]),
                service=name,
                cause="the document's heading, and so the subject, contains a word that makes the mocks fail",
                fix=advice("avoid error, timeout, invalid and slow in the heading while you use the mocks"),
            )


def refusals(facts: Facts) -> Iterator[Finding]:
    """Requests that were rejected because of their key."""
    for name in facts.get(LOGS):
        found = [entry for entry in current(facts, name) if _REFUSAL.search(entry.text)]
        if len(found) >= _MANY_REFUSALS:
            number = _number(facts, name, len(found))
            yield warn(
                f"{name} rejected {number} requests because of their key in the last 15 minutes",
                *map(at, found[-_SHOWN:]),
                service=name,
                cause="a client has an old or wrong key, or someone is guessing",
                fix=advice(
                    "find the client by the request ids above; if the key may have leaked, replace API_KEY, and run "
                    f"{toombos(facts.manifest.project, 'config', 'rotate-key')} for stored secrets"
                ),
            )
        elif found:
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
    *(Check(id=p.id, title=p.title, group=_GROUP, run=partial(_find, p), follows=p.follows) for p in PATTERNS),
    Check(id="log.auth", title="callers have the right key", group=_GROUP, run=refusals, follows=("secret_set",)),
)

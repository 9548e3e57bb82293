"""Problems that services report in their logs, by kind: known lines, and errors that nobody here knows.

Older lines are ignored: they neither warn nor explain. A later success of the same operation clears a problem.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise

from toombos_cli.base.findings import WRONG, Check, Evidence, Finding, ok, skip, warn
from toombos_cli.diagnose.checks.code_places import place_of
from toombos_cli.diagnose.checks.context import at, start
from toombos_cli.diagnose.checks.known_fixes import cause_of, fix_of
from toombos_cli.diagnose.checks.log_evidence import (
    DATED,
    LoggedProblem,
    cause_id,
    ended,
    is_over,
    logged_problems,
    message,
    own_cause,
)
from toombos_cli.diagnose.checks.network import NOT_REACHED
from toombos_cli.diagnose.checks.redis import STORES
from toombos_cli.diagnose.facts.logs import LOGS, LogEntry
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.diagnose.facts.system import SYSTEM
from toombos_cli.diagnose.known.catalogue import of_other_packages
from toombos_cli.logs.entries import entries_of
from toombos_cli.manifest.tables.known import LineKind

_GROUP = "logs"
_SHOWN = 3
_BLOCK = 8


def _find(kind: LineKind | None, facts: Facts) -> Iterator[Finding]:
    if kind is LineKind.KNOWN:
        yield from (
            skip(f"known lines of another package cannot be used: {problem}") for problem in of_other_packages()[1]
        )
    of_kind = {name: [one for one in logged_problems(facts, name) if one.kind is kind] for name in facts.get(LOGS)}
    of_themselves = {name: [one for one in lines if one.service == name] for name, lines in of_kind.items()}
    named: set[str] = set()
    for name, lines in of_themselves.items():  # first: what others say of a service follows from what it says itself
        for finding in _about(facts, name, lines) if lines else ():
            yield _said_once(
                replace(finding, explained_by=finding.explained_by or _by_client(facts, lines)), kind, named
            )
    for name, lines in of_kind.items():
        for service in dict.fromkeys(one.service for one in lines if one.service != name):
            for finding in _about(facts, name, [one for one in lines if one.service == service]):
                yield _said_once(finding, kind, named)


def _said_once(finding: Finding, kind: LineKind | None, named: set[str]) -> Finding:
    """Return what is said about a service, explained by what was said before about the same one."""
    if finding.verdict not in WRONG or finding.explained_by:
        return finding
    if finding.service in named:
        return replace(finding, explained_by=f"log.{kind or 'errors'}:{finding.service}")
    named.add(finding.service)
    return finding


def _by_client(facts: Facts, lines: list[LoggedProblem]) -> str:
    """Return the finding about a client of the service that blames itself for what the service logged last, or ""."""
    newest = lines[-1]
    clients = (name for name, found in facts.manifest.services.items() if newest.logged_by in found.depends_on)
    said = (one for name in clients if name in facts.get(LOGS) for one in logged_problems(facts, name))
    same = (one for one in said if one.known and one.known is newest.known and one.service == one.logged_by)
    return next((cause_id(one) for one in same if not is_over(facts, one)), "")


def _about(facts: Facts, name: str, lines: list[LoggedProblem]) -> Iterator[Finding]:
    """Yield the finding about lines of one kind, in the log of one service, that are about the same service."""
    lines = [one for one in lines if not is_over(facts, one)] or lines
    newest = lines[-1]
    cause = own_cause(facts, name)
    chosen = cause if cause in lines else newest
    entries = [one.entry for one in lines]
    if is_over(facts, newest):
        yield ok(f"{name}: {len(lines)} earlier lines; it has succeeded since", at(newest.entry), service=name)
    elif newest.known is None and facts.manifest.services[name].role == "monitoring" and not _has_ended(facts, name):
        # A collector logs an error if it finds nothing to collect; monitoring has checks of its own for that.
        yield ok(f"{name} logged: {message(newest.entry)}", at(newest.entry), service=name)
    else:
        times = 1 + sum(not _goes_on(before, entry) for before, entry in pairwise(entries))
        has_ended = _has_ended(facts, name) and chosen is cause
        yield warn(
            f"{name} {'is not running: it ' if has_ended else ''}logged {_often(facts, name, entries, times)}: "
            f"{message(chosen.entry)}",
            *map(at, _shown(facts, chosen) if has_ended else entries[-_SHOWN:]),
            *([Evidence(source=chosen.known.link)] if chosen.known and chosen.known.link else []),
            service=chosen.service,
            cause=cause_of(facts, chosen),
            fix=fix_of(facts, chosen, begin=start(facts, name) if has_ended else None),
            explained_by=cause_id(cause) if cause and cause is not chosen and _has_ended(facts, name) else "",
        )


def _has_ended(facts: Facts, name: str) -> bool:
    return ended(facts.get(SYSTEM).services[name])


def _block(facts: Facts, one: LoggedProblem) -> list[LogEntry]:
    """Return the line with those that continue it, as far as they are among the last ones."""
    last = facts.get(LOGS)[one.logged_by].last
    at_line = next((i for i, entry in enumerate(last) if entry.offset == one.entry.offset), None)
    if at_line is None:
        return [one.entry]
    rest = last[at_line:]
    if len(rest) <= _BLOCK:  # its last words
        return list(rest)
    first, *_ = entries_of([entry.text for entry in rest])
    return list(rest[: min(len(first), _BLOCK)])


def _shown(facts: Facts, one: LoggedProblem) -> list[LogEntry]:
    """Return the line with those that continue it, after the one that names the place in the project's own files."""
    block, place = _block(facts, one), place_of(facts, one)
    return block if place is None or place[1] in block else [place[1], *block]


def _often(facts: Facts, name: str, found: list[LogEntry], times: int) -> str:
    """Return how often; lines without a time may be as old as the service's last start."""
    if times == 1:
        return "once"
    span = "in the last 15 minutes" if all(entry.at is not None for entry in found) else "since its start"
    return f"{number(facts, name, times)} times {span}"


def number(facts: Facts, name: str, count: int) -> str:
    return f"{count}" if facts.get(LOGS)[name].holds_all else f"at least {count}"


def _goes_on(before: LogEntry, entry: LogEntry) -> bool:
    """Return whether a line belongs to the one before it, as in a traceback."""
    return entry.at is not None and entry.at == before.at and not DATED.match(entry.text)


_DATABASE = ("db.service", "db.perm", "db.ping", "db.locks", "db.pool", "res.disk", "res.places", "dsn", *STORES)
_MOCKS = ("mock", "mock.simulated", "mock.trigger", "net.mock_urls")
_FOLLOWS: dict[LineKind | None, tuple[str, tuple[str, ...]]] = {
    LineKind.OOM: (
        "no process ran out of memory",
        ("proc.memory", "proc.limits", "res.memory", "res.group", "redis.memory"),
    ),
    LineKind.MISSING_MODULE: (
        "no module is missing",
        ("py.import", "deps.missing", "deps.check", "proc.crash_loop", "proc.missing", "task.failed"),
    ),
    LineKind.PORT: ("every address is free", ("port.conflict", "net.local_ports", "proc.missing")),
    LineKind.DISK: ("files can be written", ("res.disk", "res.places", "db.perm", "proc.removed", "proc.limits")),
    LineKind.NETWORK: (
        "other services are reached",
        (*NOT_REACHED, "net.refused", "net.timeout", "dns", "db.service", "http.status", *_MOCKS, *STORES),
    ),
    LineKind.POOL: ("the connection pool is large enough", _DATABASE),
    LineKind.DB: ("the database works", (*_DATABASE, "ready", *NOT_REACHED, "net.refused", "net.timeout")),
    LineKind.PUBLISHER: (
        "publishing works",
        (*NOT_REACHED, "net.timeout", "net.refused", "http.status", *_MOCKS, "perf.latency"),
    ),
    LineKind.KNOWN: (
        "the logs contain no known error",
        (
            *NOT_REACHED,
            "parse",
            "types",
            "missing",
            "live",
            "mock",
            *_DATABASE,
            "net.fetcher",
            "dns",
            "log.db",
            "net.mock_urls",
        ),
    ),
    LineKind.TIMEOUT: (
        "nothing times out",
        (*NOT_REACHED, "net.timeout", "perf.latency", "log.publisher", *_MOCKS, "log.pool"),
    ),
    None: (
        "the logs contain no other error",
        (
            *NOT_REACHED,
            *_DATABASE,
            "net.timeout",
            "net.refused",
            "http.status",
            *_MOCKS,
            *(f"log.{kind}" for kind in LineKind if kind not in (LineKind.AUTH, LineKind.SIMULATED, LineKind.TRIGGER)),
        ),
    ),
}
KINDS = tuple(
    Check(id=f"log.{kind or 'errors'}", title=title, group=_GROUP, run=partial(_find, kind), follows=follows)
    for kind, (title, follows) in _FOLLOWS.items()
)

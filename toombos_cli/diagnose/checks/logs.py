"""What the logs say that still holds: errors since the services, and those they depend on, were last started.

What is older is history: it neither warns nor is it a cause. What the service did rightly afterwards is taken back.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from toombos_cli.diagnose.check import Check
from toombos_cli.diagnose.checks.answers import at, fail, ok, toombos, warn
from toombos_cli.diagnose.checks.network import NOT_REACHED
from toombos_cli.diagnose.facts.logs import LOGS, LogEntry
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.diagnose.facts.system import SYSTEM
from toombos_cli.findings import Answer, Evidence

_GROUP = "logs"
_RECENT_S = 900.0
_SHOWN = 3
_MANY_REFUSALS = 20
_DATED = re.compile(r"^\d{4}-\d\d-\d\d[T ]\S+ (?:[A-Z]+ )?(?:[\w.]+ (?=\w))?")
"""Time, level and logger at the beginning of a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Lines of one kind, what they mean, and the later line that shows that it is over."""

    id: str
    title: str
    finds: re.Pattern[str]
    cause: str
    advice: str = ""
    taken_back_by: re.Pattern[str] | None = None
    errors_only: bool = False
    follows: tuple[str, ...] = ()


def _compiled(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_DATABASE = ("db.service", "db.perm", "db.ping", "db.pool", "res.disk", "dsn")
_SIMULATED = _compiled(r"simulated \w[\w ]*|\(simulation \w")
_GENERATED = _compiled(r"POST /\S*generate\S* 2\d\d")

# A line is of the first kind that finds it.
PATTERNS: tuple[Pattern, ...] = (
    Pattern(
        id="log.oom",
        title="no process ran out of memory",
        finds=_compiled(r"out of memory|oom-?kill|MemoryError|cannot allocate memory"),
        cause="there was no memory left",
        advice="lower what the service takes (its limits in toombos.toml), or add memory",
        follows=("res.memory",),
    ),
    Pattern(
        id="log.missing_module",
        title="no module is missing",
        finds=_compiled(r"No module named|ModuleNotFoundError|cannot import name"),
        cause="the service cannot start without it",
        advice="install it with the service's own interpreter",
        follows=("py.import", "deps.missing", "deps.check", "proc.crash_loop", "proc.missing"),
    ),
    Pattern(
        id="log.pool",
        title="connections of the pool suffice",
        finds=_compiled(r"pool\b.*(limit|exhaust|timed? ?out|overflow)|too many (connections|clients)"),
        cause="all connections to the database are in use",
        advice="raise DATABASE_POOL_SIZE, or look for queries that take long",
        follows=(*_DATABASE, "db.pool"),
    ),
    Pattern(
        id="log.db",
        title="the database works",
        finds=_compiled(r"database (connection )?failed|OperationalError|database is locked|slow query"),
        cause="a query or the connection failed",
        taken_back_by=_compiled(r"database ready"),
        follows=(*_DATABASE, "ready"),
    ),
    Pattern(
        id="log.publisher",
        title="publishing works",
        finds=_compiled(r"publish\w*[: ].*\b(failed|partial|error)\b|(crm|platform) service unavailable"),
        cause="what was generated did not reach its channel",
        taken_back_by=_compiled(r"publisher: \w+ success"),
        follows=(
            *NOT_REACHED,
            "mock",
            "net.timeout",
            "net.refused",
            "http.status",
            "net.mock_urls",
            "mock.simulated",
            "mock.trigger",
            "mock.trigger",
            "perf.latency",
        ),
    ),
    Pattern(
        id="log.known",
        title="no known error is in the logs",
        finds=_compiled(
            r"content generation failed|service unavailable|configuration validation failed|invalid settings"
            r"|address already in use|cannot listen on|name resolution"
        ),
        cause="the guide knows this message",
        taken_back_by=_GENERATED,
        follows=(
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
    Pattern(
        id="log.timeout",
        title="nothing times out",
        finds=_compiled(r"timed? ?out|\btimeout\b"),
        cause="something that was waited for did not answer in time",
        taken_back_by=_GENERATED,
        follows=(
            *NOT_REACHED,
            "mock",
            "net.timeout",
            "perf.latency",
            "log.publisher",
            "mock.simulated",
            "mock.trigger",
            "net.mock_urls",
            "log.pool",
        ),
    ),
    Pattern(
        id="log.errors",
        title="the logs hold no other error",
        finds=_compiled(r""),
        errors_only=True,
        cause="the service reported an error",
        follows=(
            *NOT_REACHED,
            "mock",
            *_DATABASE,
            "net.timeout",
            "net.refused",
            "http.status",
            "net.mock_urls",
            "log.oom",
            "log.missing_module",
            "log.pool",
            "log.db",
            "log.publisher",
            "log.known",
            "log.timeout",
            "mock.simulated",
            "mock.trigger",
        ),
    ),
)


def current(facts: Facts, name: str) -> list[LogEntry]:
    """The telling lines of a service's log that are of its present life and of the last quarter of an hour."""
    system = facts.get(SYSTEM).services
    names = {name} | set(facts.manifest.services[name].depends_on)
    begun = max((system[n].started_at for n in names if n == name or (n in system and system[n].pid)), default=0.0)
    since = max(facts.now - _RECENT_S, begun)
    log, begin = facts.get(LOGS)[name], system[name].log_offset

    def is_of_this_life(entry: LogEntry) -> bool:
        """By its time; without one, by its place, unless the log was rotated since the start."""
        if entry.at is not None:
            return entry.at >= since
        return log.size_bytes < begin or (entry.path == log.path and entry.offset >= begin)

    return [entry for entry in log.entries if is_of_this_life(entry)]


def _kind(entry: LogEntry) -> Pattern | None:
    if _SIMULATED.search(entry.text) and not re.search(r"publish", entry.text, re.IGNORECASE):
        return None  # the simulations have a check of their own
    warned = entry.error or re.search(r"\bWARN(ING)?\b", entry.text)
    if not warned:
        return None
    return next((p for p in PATTERNS if p.finds.search(entry.text) and (entry.error or not p.errors_only)), None)


def _find(pattern: Pattern, facts: Facts) -> Iterator[Answer]:
    for name in facts.get(LOGS):
        entries = current(facts, name)
        found = [entry for entry in entries if _kind(entry) is pattern]
        if found and pattern.taken_back_by is not None:
            # Entries stand in the order of the file, the latest last.
            after = entries[entries.index(found[-1]) + 1 :]
            if any(pattern.taken_back_by.search(entry.text) for entry in after):
                yield ok(f"{name}: {len(found)} earlier ones; it has succeeded since", at(found[-1]), service=name)
                continue
        if found and pattern.errors_only and facts.manifest.services[name].role == "monitoring":
            # A collector that finds nothing to collect is an error to it; what monitoring misses has its own checks.
            yield ok(f"{name} logged: {_message(found[-1])}", at(found[-1]), service=name)
        elif found:
            times = 1 + sum(not _goes_on(before, entry) for before, entry in pairwise(found))
            many = f"{times} times in the last quarter of an hour" if times > 1 else "once"
            yield warn(
                f"{name} logged {many}: {_message(found[-1])}",
                *map(at, found[-_SHOWN:]),
                service=name,
                cause=pattern.cause,
                command="" if pattern.advice else toombos(facts, "logs", name, "--errors"),
                advice=pattern.advice,
            )


def _goes_on(before: LogEntry, entry: LogEntry) -> bool:
    """Whether a line belongs to the one before it, as those of a traceback do."""
    return entry.at is not None and entry.at == before.at and not _DATED.match(entry.text)


def _message(entry: LogEntry) -> str:
    """The line without time, level and logger."""
    return _DATED.sub("", entry.text)[:160]


def readable(facts: Facts) -> Iterator[Answer]:
    """Every log can be read."""
    for name, log in facts.get(LOGS).items():
        if log.problem:
            yield fail(
                f"the log of {name} {log.problem}",
                Evidence(source=log.path),
                service=name,
                cause="what the service says of itself is lost on this user",
                advice=f"run toombos as the user that runs the services, or correct the mode of {log.path}",
            )
        elif log.exists:
            yield ok(f"{name}: {log.size_bytes / 1e6:.1f} MB", *map(at, log.last[-_SHOWN:]), service=name)


def startup(facts: Facts) -> Iterator[Answer]:
    """What each service said when it started, for the record."""
    for name, log in facts.get(LOGS).items():
        found = [entry for entry in log.entries if entry.startup]
        if found:
            yield ok(f"{name}: {_message(found[-1])}", *map(at, found[-_SHOWN:]), service=name)


def simulated(facts: Facts) -> Iterator[Answer]:
    """Failures that somebody asked a mock for: no fault of the system."""
    for name in facts.get(LOGS):
        found = [
            entry
            for entry in current(facts, name)
            if _SIMULATED.search(entry.text) and "publish" not in entry.text.lower()
        ]
        if found and facts.manifest.services[name].role == "mock":
            yield warn(
                f"{name} failed {len(found)} requests on purpose: {_message(found[-1])}",
                *map(at, found[-_SHOWN:]),
                service=name,
                cause="a simulation: a word in the subject or title (error, timeout, invalid, slow), the header "
                "X-Simulate, or MOCK_ERROR_RATE asked for it; the mock itself is well",
                advice="take the word out of the subject, or the header away; a restart resets the mock's state",
            )


def trigger(facts: Facts) -> Iterator[Answer]:
    """Publications of the system itself whose subject or title set a simulation off."""
    for name in facts.get(LOGS):
        found = [e for e in current(facts, name) if "simulated" in e.text.lower() and "publish" in e.text.lower()]
        if found and facts.manifest.services[name].role == "app":
            yield warn(
                f"{name} published something that set off a simulation: {_message(found[-1])}",
                *map(at, found[-_SHOWN:]),
                service=name,
                cause="the document's heading, and so the subject, holds one of the words that the mocks fail on",
                advice="avoid error, timeout, invalid and slow in the heading while the mocks are used",
            )


def refusals(facts: Facts) -> Iterator[Answer]:
    """Requests that were refused for their key."""
    pattern = _compiled(r"invalid api key|api key required|unauthori[sz]ed|invalid token|may read and preview")
    for name in facts.get(LOGS):
        found = [entry for entry in current(facts, name) if pattern.search(entry.text)]
        if len(found) >= _MANY_REFUSALS:
            yield warn(
                f"{name} refused {len(found)} requests for their key in the last quarter of an hour",
                *map(at, found[-_SHOWN:]),
                service=name,
                cause="a client has an old or wrong key, or somebody guesses",
                advice="find the client by the request ids above; if the key may be known: "
                f"{toombos(facts, 'config', 'rotate-key')} for stored ones, and replace API_KEY",
            )
        elif found:
            yield ok(f"{name} refused {len(found)} requests for their key", at(found[-1]), service=name)


_PATTERN_CHECKS = tuple(
    Check(id=p.id, title=p.title, group=_GROUP, run=partial(_find, p), follows=p.follows) for p in PATTERNS
)
CHECKS = (
    Check(id="log.tail", title="logs can be read", group=_GROUP, run=readable),
    Check(id="log.startup", title="what services said when they started", group=_GROUP, run=startup),
    Check(id="mock.simulated", title="no failure was simulated", group=_GROUP, run=simulated, follows=("mock",)),
    Check(
        id="mock.trigger",
        title="no publication sets off a simulation",
        group=_GROUP,
        run=trigger,
        follows=("mock", "mock.simulated"),
    ),
    *_PATTERN_CHECKS,
    Check(id="log.auth", title="callers have the right key", group=_GROUP, run=refusals, follows=("secret_set",)),
)

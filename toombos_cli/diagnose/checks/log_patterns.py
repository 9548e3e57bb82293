"""The known kinds of log lines: what each means, what explains it, and which later line shows that it is over."""

import re
from dataclasses import dataclass
from functools import lru_cache

from toombos_cli.base.fixes import Fix, advice
from toombos_cli.diagnose.checks.network import NOT_REACHED
from toombos_cli.diagnose.facts.logs import LogEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A kind of log lines, what they mean, and the later line that shows that it is over."""

    id: str
    title: str
    finds: re.Pattern[str]
    cause: str
    fix: Fix | None = None
    taken_back_by: re.Pattern[str] | None = None
    errors_only: bool = False
    follows: tuple[str, ...] = ()


def _compiled(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_DATABASE = ("db.service", "db.perm", "db.ping", "db.pool", "res.disk", "dsn")
_SIMULATED = _compiled(r"simulated \w[\w ]*|\(simulation \w")
_GENERATED = _compiled(r"POST /\S*generate\S* 2\d\d")

# The first pattern that finds a line decides its kind.
PATTERNS: tuple[Pattern, ...] = (
    Pattern(
        id="log.oom",
        title="no process ran out of memory",
        finds=_compiled(r"out of memory|oom-?kill|MemoryError|cannot allocate memory"),
        cause="no memory was left",
        fix=advice("reduce the service's memory use (limits in toombos.toml), or add memory"),
        follows=("res.memory",),
    ),
    Pattern(
        id="log.missing_module",
        title="no module is missing",
        finds=_compiled(r"No module named|ModuleNotFoundError|cannot import name"),
        cause="the service cannot start without it",
        fix=advice("install it with the service's own interpreter"),
        follows=("py.import", "deps.missing", "deps.check", "proc.crash_loop", "proc.missing", "task.failed"),
    ),
    Pattern(
        id="log.pool",
        title="the connection pool is large enough",
        finds=_compiled(r"pool\b.*(limit|exhaust|timed? ?out|overflow)|too many (connections|clients)"),
        cause="all connections to the database are in use",
        fix=advice("raise DATABASE_POOL_SIZE, or look for slow queries"),
        follows=_DATABASE,
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
        cause="generated content did not reach its channel",
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
            "perf.latency",
        ),
    ),
    Pattern(
        id="log.known",
        title="the logs contain no known error",
        finds=_compiled(
            r"content generation failed|service unavailable|configuration validation failed|invalid settings"
            r"|address already in use|cannot listen on|name resolution"
        ),
        cause="the guide describes this message",
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
        cause="something that the service waited for did not respond in time",
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
        title="the logs contain no other error",
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


@lru_cache(maxsize=4096)  # every pattern's check asks for the kind of every line
def kind_of(entry: LogEntry) -> Pattern | None:
    """Return the first kind that finds the line, or None for a line that reports no problem or a simulated one."""
    if is_simulated(entry) or not (entry.error or re.search(r"\bWARN(ING)?\b", entry.text)):
        return None
    return next((p for p in PATTERNS if p.finds.search(entry.text) and (entry.error or not p.errors_only)), None)


def is_simulated(entry: LogEntry) -> bool:
    """Return whether a mock reports a failure that it was asked to simulate: those have a check of their own."""
    return _SIMULATED.search(entry.text) is not None and "publish" not in entry.text.lower()

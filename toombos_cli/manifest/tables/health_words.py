"""The words that health responses use, and what each means (docs/health.md); a manifest can move them."""

import re
from collections.abc import Iterable
from functools import cache

from toombos_cli.manifest.tables.table import Table

WELL = """
    ok, okay, up, pass, passed, passing, healthy, alive, live, ready, green, true, yes, success, successful, succeeded,
    serving, running, active, available, operational, online, started, completed, complete, normal, good, fine, well,
    working, connected, reachable, none, pong, imok, up and running, all systems operational, service ready,
    200 ok service ready, server available
"""
STARTING = """
    starting, starting up, startup, initializing, initialising, pre initializing, booting, booting up, bootstrapping,
    loading, warming up, warming, warm up, warmup, pending, preparing, provisioning, recovering, restarting, migrating,
    db migration running, not started
"""
DEGRADED = """
    degraded, degraded performance, warn, warning, yellow, orange, amber, partial, partially available,
    partially healthy, partial healthy, partially degraded, partial outage, partial system outage, minor outage,
    impaired, limited, restricted, read only, readonly, unstable, overloaded, unknown, service unknown
"""
DOWN = """
    down, fail, failed, failing, failure, error, errored, err, unhealthy, unwell, bad, sick, dead, false, no, not ok,
    not okay, nok, ko, not ready, unready, not healthy, not alive, not live, not up, not serving, not available,
    not running, not operational, not working, not connected, unavailable, service unavailable, temporarily unavailable,
    server not available, out of service, offline, critical, crit, red, fatal, broken, crashed, stopped, stopping,
    draining, shutting down, shutdown, terminating, terminated, disconnected, unreachable, outage, major outage,
    major system outage, maintenance, under maintenance, in maintenance, maintenance mode, aborted, emergency, timeout,
    timed out, internal server error
"""
CLASSES = ("well", "starting", "degraded", "down")

_SEPARATORS = re.compile(r"[\s_-]+")
_TRIMMED = " \t\r\n.!…\"'"

UNCERTAIN = frozenset({"unknown", "service unknown"})
"""Words of restriction that say nothing: `health_answer = "status"` takes them for a denial."""


class HealthWords(Table, frozen=True):
    """Words that mean something else in this system: each is moved to the class that it is listed in."""

    well: tuple[str, ...] = ()
    starting: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    down: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for name in CLASSES:
            for word in getattr(self, name):
                if not normalized(word):
                    raise ValueError(f"{name} has a word without letters: {word!r}")
                other = seen.setdefault(normalized(word), name)
                if other != name:
                    raise ValueError(f"{name} and {other} both list {word!r}")

    def changed_by(self, other: "HealthWords") -> "HealthWords":
        """Return both lists in one; where they disagree, `other` counts."""
        moved = {normalized(word) for name in CLASSES for word in getattr(other, name)}
        both = {
            name: (*(word for word in getattr(self, name) if normalized(word) not in moved), *getattr(other, name))
            for name in CLASSES
        }
        return HealthWords(**both)


def normalized(text: str) -> str:
    """Return a word or phrase in lower case, with single spaces for `_` and `-`, and without marks around it."""
    return _SEPARATORS.sub(" ", text.strip(_TRIMMED).casefold()).strip(_TRIMMED)


def dictionary(changes: Iterable[HealthWords] = ()) -> dict[str, str]:
    """Return the class of each word; a later change outweighs an earlier one."""
    words = dict(_standard())
    for change in changes:
        words |= {normalized(word): name for name in CLASSES for word in getattr(change, name)}
    return words


@cache
def _standard() -> dict[str, str]:
    lists = zip(CLASSES, (WELL, STARTING, DEGRADED, DOWN), strict=True)
    return {" ".join(word.split()): name for name, text in lists for word in text.split(",")}

"""What the log of each service says about its present life, and which of it is the cause of the service's trouble.

A service that was ended is judged by the lines of its last life, however long ago that was; one that runs by those of
the last 15 minutes since it, and the services that it depends on, were last started.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from toombos_cli.diagnose.checks.later_success import has_succeeded_since, is_own_refusal
from toombos_cli.diagnose.facts.database import DATABASES
from toombos_cli.diagnose.facts.logs import LOGS, LogEntry, LogFacts
from toombos_cli.diagnose.facts.probes import PROBES
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError
from toombos_cli.diagnose.facts.system import SYSTEM, ServiceFacts
from toombos_cli.diagnose.known.catalogue import KnownEntry, KnownLines, catalogue, first_match
from toombos_cli.diagnose.known.recognition import names_of, service_at
from toombos_cli.manifest.tables.known import KnownLine, LineKind
from toombos_cli.probes import Reason
from toombos_cli.project.history import EventKind
from toombos_cli.project.state import FailureKind, Phase

RECENT_S = 900.0
_CLOCKS_DIFFER_S = 60.0
_SETTLED_S = 30.0
_AT_PRESENT_S = 15.0
_NOTICED_S = 30.0
"""The supervisor calls a service unhealthy within this time after its probes began to fail."""
_OF_CLIENTS = (LineKind.DB, LineKind.POOL, LineKind.DISK, LineKind.OOM)
"""What a store refuses the requests of its clients for."""
_BETWEEN_SERVICES = (*_OF_CLIENTS, LineKind.NETWORK, LineKind.TIMEOUT)
_LAST_WORDS = 40
"""The cause of an end stands among this many last lines."""
_NEVER_A_CAUSE = (LineKind.SIMULATED, LineKind.TRIGGER, LineKind.AUTH)
"""What does not explain why a service is in trouble."""
_WARNING = re.compile(r"\bWARN(ING)?\b")
ENDED_FROM_OUTSIDE = ("SIGHUP", "SIGINT", "SIGKILL", "SIGTERM")
"""The signals by which somebody else ends a process: its log does not say why."""
_TROUBLE = re.compile(
    r"warn|err|fail|fatal|panic|exception|can't|cannot|could not|unable|denied|kill|simul|unauth", re.I
)
DATED = re.compile(r"^\d{4}[-/]\d\d[-/]\d\d[T ]\S+ (?:[A-Z]+ )?(?:\w+(?:\.\w+)+ (?=\w))?")
"""Time, level and logger (with a dot: otherwise it may be the first word of the message) at the start of a line."""
_OF_ITS_PROCESS = (None, FailureKind.EXITED, FailureKind.CONFIGURATION, FailureKind.TIMEOUT)
"""The failures that a process itself may have explained in its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedProblem:
    """A line of a log that reports a problem. `known` is None for an unknown error.

    `culprit` is the other service that it is about, or "".
    """

    entry: LogEntry
    logged_by: str
    known: KnownLine | None = None
    values: tuple[tuple[str, str], ...] = ()
    culprit: str = ""

    @property
    def kind(self) -> LineKind | None:
        """What it is about; None for an unknown error."""
        return self.known.kind if self.known else None

    @property
    def service(self) -> str:
        """The service that it is about."""
        return self.culprit or self.logged_by

    @property
    def is_error(self) -> bool:
        """Whether it says what went wrong, and not merely that something did."""
        return self.known.severity == "error" if self.known else self.entry.error


def ended(found: ServiceFacts) -> bool:
    """Return whether the service's process ended by itself, or never became ready, and is not there again."""
    if found.runs or (found.last_end is not None and found.last_end.signal in ENDED_FROM_OUTSIDE):
        return False
    broken = (Phase.FAILED, Phase.CRASH_LOOP, Phase.STARTING)
    return found.phase in broken and found.failure_kind in _OF_ITS_PROCESS


@lru_cache(maxsize=256)
def current(facts: Facts, name: str) -> tuple[LogEntry, ...]:
    """Return the relevant lines of the service's present life, or of its last one if it was ended, in their order."""
    found, log = facts.get(SYSTEM).services[name], facts.get(LOGS)[name]
    keeps_ending = _keeps_ending(facts, found)
    since = found.started_at - 1 if ended(found) else _since(facts, name)
    since = facts.now - RECENT_S if keeps_ending else since
    begin = log.last[0].offset if keeps_ending and log.last else found.log_offset
    entries = _with_last_words(log) if ended(found) or keeps_ending else log.entries
    return tuple(filter(of_life(found, log, facts.now, since=since, begin=begin), entries))


def of_life(found: ServiceFacts, log: LogFacts, now: float, *, since: float, begin: int) -> Callable[[LogEntry], bool]:
    """Return whether a line is of the life of the service that began at this time and at this offset of its log."""
    was_rotated = log.size_bytes < begin

    def is_of_this_life(entry: LogEntry) -> bool:
        """Decide by the time; without a plausible one by the offset, unless the log was rotated since the start.

        What was written after the start and claims to be from before it has the time of another zone.
        """
        is_after_start = entry.path == log.path and entry.offset >= begin
        is_plausible = entry.at is not None and entry.at <= now + _CLOCKS_DIFFER_S
        if is_after_start and found.managed and entry.at is not None:
            is_plausible = is_plausible and entry.at >= found.started_at - _CLOCKS_DIFFER_S
        if is_plausible and entry.at is not None:
            return entry.at >= since
        return was_rotated or is_after_start

    return is_of_this_life


def _keeps_ending(facts: Facts, found: ServiceFacts) -> bool:
    """Return whether the service runs again but has ended so often, or so lately, that its former lives matter."""
    recent = [restart for restart in found.restarts if facts.now - restart.at < RECENT_S]
    is_starting = found.phase == Phase.STARTING and bool(recent)
    return found.runs and (is_starting or len(recent) >= facts.manifest.monitoring.thresholds.restarts)


@lru_cache(maxsize=256)
def with_last_words(facts: Facts, name: str) -> tuple[LogEntry, ...]:
    """Return the relevant lines of a service's log and all of the last ones, in their order."""
    return tuple(_with_last_words(facts.get(LOGS)[name]))


def _with_last_words(log: LogFacts) -> list[LogEntry]:
    """Return the relevant lines and all of the last ones, in their order."""
    relevant = {(entry.path, entry.offset) for entry in log.entries}
    others = (entry for entry in log.last if (entry.path, entry.offset) not in relevant)
    return sorted((*log.entries, *others), key=lambda entry: (entry.path == log.path, entry.offset))


def _since(facts: Facts, name: str) -> float:
    system = facts.get(SYSTEM).services
    names = {name, *facts.manifest.services[name].depends_on}
    starts = [system[n].started_at for n in names if n == name or (n in system and system[n].pid)]
    # A start in the future means that the clock was set back since then: ignore it.
    return max([facts.now - RECENT_S, *(at for at in starts if at <= facts.now)])


def message(entry: LogEntry) -> str:
    """Return the line without time, level and logger."""
    return DATED.sub("", entry.text)[:160]


def may_complain(line: str) -> bool:
    """Return whether a line of a service that runs may report a problem, by a word that every such line has."""
    return _TROUBLE.search(DATED.sub("", line)) is not None


def known_lines(facts: Facts) -> KnownLines:
    """Return what is known about log lines, also by this manifest."""
    return catalogue(facts.manifest.diagnose.known)


@lru_cache(maxsize=256)
def programs_of(facts: Facts, name: str) -> Mapping[str, str]:
    """Return the programs that the service is, each with its version, or "" if its log does not say it."""
    found, log, service = facts.get(SYSTEM).services[name], facts.get(LOGS)[name], facts.manifest.services[name]
    running = found.holder.command if found.holder and found.ours else None
    lines = tuple(entry.text for entry in (*log.entries[:20], *log.last))
    return known_lines(facts).programs_of(names_of((service.command, (running or "").split())), lines)


@lru_cache(maxsize=256)  # every kind's check asks for the lines of every service
def logged_problems(facts: Facts, name: str) -> tuple[LoggedProblem, ...]:
    """Return the problems that the service reports in its present life, or reported in its last one, in their order.

    A line that only follows from an error counts if there is no error.
    """
    entries = current(facts, name)
    has_ended = ended(facts.get(SYSTEM).services[name])
    may_report = has_ended or facts.manifest.diagnose.known or any(e.error or may_complain(e.text) for e in entries)
    if not may_report:
        return ()  # most services most of the time: the knowledge base need not be loaded
    possible = known_lines(facts).possible(entry.text for entry in entries)
    found = tuple(one for entry in entries if (one := _problem_in(facts, name, entry, possible, has_ended=has_ended)))
    found = tuple(one for one in found if not is_own_refusal(with_last_words(facts, name), one.entry))
    consequences = [one for one in found if one.known and one.known.severity == "consequence"]
    others = tuple(one for one in found if one not in consequences)
    return others if any(one.is_error for one in others) else found


def _problem_in(
    facts: Facts, name: str, entry: LogEntry, possible: tuple[KnownEntry, ...], *, has_ended: bool
) -> LoggedProblem | None:
    """Return what a line reports, or None if it reports no problem; `possible` are the known lines that it may be."""
    complains = entry.error or _WARNING.search(entry.text) is not None
    programs = programs_of(facts, name)
    match = first_match(possible, entry.text, complains=complains, is_last_word=has_ended, programs=programs)
    if match is None:
        return LoggedProblem(entry=entry, logged_by=name) if entry.error else None
    known, values = match[0].line, {key: value or "" for key, value in match[1].groupdict().items()}
    if known.severity == "note":
        return None
    culprit = _culprit(facts, name, known.culprit.format_map(_Values(values))) if known.culprit else ""
    return LoggedProblem(entry=entry, logged_by=name, known=known, values=tuple(values.items()), culprit=culprit)


class _Values(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


def _culprit(facts: Facts, name: str, named: str) -> str:
    """Return the service at an address, or the only one, among those that it depends on or all, that is a program."""
    services = facts.manifest.services
    there = service_at(named, services.values())
    if not there:
        alike = [other for other in services if other != name and named in programs_of(facts, other)]
        near = [other for other in alike if other in services[name].depends_on] or alike
        there = near[0] if len(near) == 1 else ""
    return "" if there == name else there


def is_over(facts: Facts, one: LoggedProblem) -> bool:
    """Return whether a later line of the log, or the connection that failed, shows that the problem is over."""
    if not ended(facts.get(SYSTEM).services[one.logged_by]) and has_succeeded_since(
        with_last_words(facts, one.logged_by), one.entry
    ):
        return True
    if one.known is None:
        return False
    if one.kind in _BETWEEN_SERVICES and _has_recovered(facts, one):
        return True
    if one.known.over:
        lines = current(facts, one.logged_by)
        return any(re.search(one.known.over, entry.text) for entry in lines[lines.index(one.entry) + 1 :])
    if one.kind is LineKind.POOL and _takes_connections_again(facts, one):
        return True
    return one.kind is LineKind.NETWORK and bool(one.culprit) and _is_reached_again(facts, one)


def _has_recovered(facts: Facts, one: LoggedProblem) -> bool:
    """Return whether the probes of a service that it concerns failed when this was logged, and succeed since."""
    at, services, history = one.entry.at, facts.manifest.services, facts.get(SYSTEM).history
    users = (name for name, service in services.items() if one.service in service.depends_on)
    for name in {one.logged_by, one.service, *users}:
        turns = [e for e in history if e.service == name and e.event in (EventKind.UNHEALTHY, EventKind.RECOVERED)]
        if at is None or not turns or turns[-1].event is not EventKind.RECOVERED:
            continue
        if any(was.at - _NOTICED_S <= at < now.at for was, now in pairwise(turns) if now.event is EventKind.RECOVERED):
            return True
    return False


def _takes_connections_again(facts: Facts, one: LoggedProblem) -> bool:
    """Return whether some time has passed, and the database that refused connections has answered a query now."""
    if one.entry.at is None or facts.now - one.entry.at < _SETTLED_S:
        return False
    try:
        databases = facts.get(DATABASES)
    except FactUnavailableError:
        return False
    return any(d.served_by == one.service and d.connections is not None and not d.ping for d in databases)


def _is_reached_again(facts: Facts, one: LoggedProblem) -> bool:
    """Return whether some time has passed, and both the service that could not be reached and its caller are well."""
    if one.entry.at is None or facts.now - one.entry.at < _SETTLED_S:
        return False
    try:
        probes = facts.get(PROBES)
    except FactUnavailableError:
        return False
    both = (one.culprit, one.logged_by)
    return all(name in probes and probes[name].health.reason is Reason.OK for name in both)


def cause_id(one: LoggedProblem) -> str:
    """Return the id of the finding about the line, with its service, as `Finding.explained_by` names it."""
    return f"log.{one.kind or 'errors'}:{one.service}"


def in_its_log(facts: Facts, name: str) -> str:
    """Return the finding about the service's own log that explains its trouble, for `Finding.explained_by`, or ""."""
    cause = own_cause(facts, name)
    return cause_id(cause) if cause else ""


def in_log_of_a_store(facts: Facts, name: str) -> str:
    """Return the finding about what a direct dependency of the service refuses its clients right now, or ""."""
    for store in facts.manifest.services[name].depends_on:
        try:
            lines = [one for one in logged_problems(facts, store) if one.kind in _OF_CLIENTS and one.is_error]
        except FactUnavailableError:
            continue
        now = [one for one in lines if one.entry.at is not None and abs(facts.now - one.entry.at) < _AT_PRESENT_S]
        if now and not is_over(facts, now[-1]):
            return cause_id(now[-1])
    return ""


def own_cause(facts: Facts, name: str) -> LoggedProblem | None:
    """Return the line that says best why the service is in trouble, or None if its log does not say it.

    A known line beats an unknown one, and a later line an earlier one. The cause of an end is among the last lines.
    """
    try:
        found, log = facts.get(SYSTEM).services[name], facts.get(LOGS)[name]
        lines = [one for one in logged_problems(facts, name) if not is_over(facts, one)]
    except FactUnavailableError:
        return None
    if ended(found) or _keeps_ending(facts, found):
        last = {(entry.path, entry.offset) for entry in log.last[-_LAST_WORDS:]}
        late = [one for one in lines if (one.entry.path, one.entry.offset) in last]
        lines = [one for one in late if one.known and one.is_error] or [one for one in lines if one.is_error] or lines
    known = [one for one in lines if one.known and one.is_error and one.kind not in _NEVER_A_CAUSE]
    unknown = [one for one in lines if one.known is None]
    weaker = [one for one in lines if one.kind not in _NEVER_A_CAUSE]
    return next((some[-1] for some in (known, unknown, weaker) if some), None)

"""What checks answer with, and the commands of toombos that mend things."""

import shlex
from dataclasses import replace

from toombos_cli.base.findings import Answer, Evidence, Status
from toombos_cli.diagnose.facts.configuration import CONFIGURATION
from toombos_cli.diagnose.facts.database import DATABASES
from toombos_cli.diagnose.facts.logs import LogEntry
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError
from toombos_cli.diagnose.facts.system import SYSTEM, ServiceFacts, SystemFacts
from toombos_cli.project.mode import start_words
from toombos_cli.project.state import Phase

_REFUSED = "refused its configuration"
"""How the supervisor notes one of a service's `exit_codes_of_invalid_configuration`."""
_NOT_READY = "not ready after"
"""How it notes one that started and could not do its work in time."""


def fail(
    reason: str, *evidence: Evidence, service: str = "", cause: str = "", command: str = "", advice: str = ""
) -> Answer:
    """A FAIL with a command to paste, else advice."""
    return _wrong(Status.FAIL, reason, evidence, service, cause, command, advice)


def warn(
    reason: str, *evidence: Evidence, service: str = "", cause: str = "", command: str = "", advice: str = ""
) -> Answer:
    """A WARN with a command to paste, else advice."""
    return _wrong(Status.WARN, reason, evidence, service, cause, command, advice)


def ok(reason: str, *evidence: Evidence, service: str = "") -> Answer:
    """An OK that says what was found."""
    return Answer(status=Status.OK, reason=reason, evidence=evidence, service=service)


def skip(reason: str) -> Answer:
    """A check that has nothing to judge here."""
    return Answer(status=Status.SKIP, reason=reason)


def at(entry: LogEntry) -> Evidence:
    """A line of a log."""
    return Evidence(source=entry.path, line=entry.line, text=entry.shown)


def toombos(facts: Facts, *words: str) -> str:
    """A command of toombos for this project, wherever it is pasted."""
    return shlex.join(("toombos", "--project", str(facts.manifest.project), *words))


def start(facts: Facts, *services: str) -> str:
    """The command that starts services as the system was run last; one that never ran, in dry-run mode."""
    system = facts.get(SYSTEM)
    words = start_words(facts.manifest, system if system.ever_started else None, *services)
    return as_owner(facts, toombos(facts, *words))


def as_owner(facts: Facts, command: str) -> str:
    """The command, run as the user that runs the services where this user may not even read what runs."""
    owner = facts.get(SYSTEM).owner
    return f"sudo -u {shlex.quote(owner)} {command}" if owner else command


def wanted(facts: Facts, system: SystemFacts) -> tuple[str, ...]:
    """The services that should run: those that are not optional, and those that the operator started.

    Not those that wait for another one (`held_back`): of them there is nothing to say.
    """
    services, waiting = facts.manifest.services, held_back(facts, system)
    return tuple(
        n for n, found in system.services.items() if (not services[n].optional or found.desired) and n not in waiting
    )


def held_back(facts: Facts, system: SystemFacts) -> tuple[str, ...]:
    """The services that were stopped again, or not begun, because a start failed with another one."""
    required = [found for found in system.services.values() if not facts.manifest.services[found.name].optional]
    failed = any(found.phase in (Phase.FAILED, Phase.CRASH_LOOP) for found in required)
    if not failed or any(found.runs for found in required):
        return ()
    return tuple(found.name for found in required if found.phase == Phase.STOPPED and not found.desired)


def refused_its_settings(facts: Facts, detail: str, answer: Answer) -> Answer:
    """The answer about a service that is down, explained by what is wrong in the configuration that it refused."""
    if _REFUSED not in detail:
        return answer
    try:
        wrong = [f.id for f in facts.get(CONFIGURATION) if f.status is Status.FAIL and not f.explained_by]
    except FactUnavailableError:
        return answer
    return replace(answer, explained_by=wrong[0]) if wrong else answer


def waited_for_the_database(facts: Facts, found: ServiceFacts, answer: Answer) -> Answer:
    """The answer about a service that never became ready, explained by what is wrong with its database."""
    try:
        databases = [one for one in facts.get(DATABASES) if found.name in one.services]
    except FactUnavailableError:
        return answer
    if not (found.phase == Phase.FAILED and _NOT_READY in found.detail and databases):
        return answer
    wrong = {
        "db.service": any(one.undecryptable or one.reached not in ("", "ok") for one in databases),
        "db.perm": any(one.permission for one in databases),
        "db.ping": any(one.ping for one in databases),
    }
    return replace(answer, explained_by=next((check for check, is_wrong in wrong.items() if is_wrong), ""))


def after_a_change(facts: Facts, answer: Answer) -> Answer:
    """The answer, explained by the rule `stale` where the services run with an older configuration than is judged."""
    try:
        stale = any(f.id == "stale" and f.status is Status.WARN for f in facts.get(CONFIGURATION))
    except FactUnavailableError:
        return answer
    return replace(answer, explained_by="stale") if stale else answer


def _wrong(
    status: Status,
    reason: str,
    evidence: tuple[Evidence, ...],
    service: str,
    cause: str,
    command: str,
    advice: str,
) -> Answer:
    return Answer(
        status=status,
        reason=reason,
        evidence=evidence,
        service=service,
        cause=cause,
        fix=command or advice,
        pasteable=bool(command),
    )

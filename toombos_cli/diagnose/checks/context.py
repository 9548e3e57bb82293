"""What checks share: the commands for this system, the services that should run, and what else explains a finding."""

from dataclasses import replace

from toombos_cli.base.findings import Evidence, Finding
from toombos_cli.base.fixes import Fix
from toombos_cli.base.results import Verdict
from toombos_cli.diagnose.facts.configuration import CONFIGURATION
from toombos_cli.diagnose.facts.database import DATABASES
from toombos_cli.diagnose.facts.logs import LogEntry
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError
from toombos_cli.diagnose.facts.system import SYSTEM, ServiceFacts, SystemFacts
from toombos_cli.project import commands
from toombos_cli.project.state import FailureKind, Phase


def at(entry: LogEntry) -> Evidence:
    """A line of a log."""
    return Evidence(source=entry.path, line=entry.line, text=entry.shown)


def start(facts: Facts, *services: str) -> Fix:
    """The command that starts services as the system was run last; one that never ran, in dry-run mode."""
    system = facts.get(SYSTEM)
    return as_owner(facts, commands.start(facts.manifest, *services, last=system if system.ever_started else None))


def as_owner(facts: Facts, fix: Fix) -> Fix:
    """The command, run as the user that runs the services where this user may not even read what runs."""
    owner = facts.get(SYSTEM).owner
    return Fix(argv=("sudo", "-u", owner, *fix.argv)) if owner else fix


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


def refused_its_settings(facts: Facts, found: ServiceFacts, finding: Finding) -> Finding:
    """The finding about a service that is down, explained by what is wrong in the configuration that it refused."""
    if found.failure_kind is not FailureKind.CONFIGURATION:
        return finding
    try:
        wrong = [f.id for f in facts.get(CONFIGURATION) if f.verdict is Verdict.FAIL and not f.explained_by]
    except FactUnavailableError:
        return finding
    return replace(finding, explained_by=wrong[0]) if wrong else finding


def waited_for_the_database(facts: Facts, found: ServiceFacts, finding: Finding) -> Finding:
    """The finding about a service that never became ready, explained by what is wrong with its database."""
    if found.phase != Phase.FAILED or found.failure_kind is not FailureKind.TIMEOUT:
        return finding
    try:
        databases = [one for one in facts.get(DATABASES) if found.name in one.services]
    except FactUnavailableError:
        return finding
    wrong = {
        "db.service": any(one.undecryptable or one.reached not in ("", "ok") for one in databases),
        "db.perm": any(one.permission for one in databases),
        "db.ping": any(one.ping for one in databases),
    }
    return replace(finding, explained_by=next((check for check, is_wrong in wrong.items() if is_wrong), ""))


def after_a_change(facts: Facts, finding: Finding) -> Finding:
    """The finding, explained by the rule `stale` where the services run with an older configuration than is judged."""
    try:
        stale = any(f.id == "stale" and f.verdict is Verdict.WARN for f in facts.get(CONFIGURATION))
    except FactUnavailableError:
        return finding
    return replace(finding, explained_by="stale") if stale else finding

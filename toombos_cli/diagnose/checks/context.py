"""What checks share: commands for this system, the services that should run, and explanations from other facts."""

from dataclasses import replace

from toombos_cli.base.findings import Evidence, Finding
from toombos_cli.base.fixes import Fix
from toombos_cli.base.results import Verdict
from toombos_cli.diagnose.dependencies import with_dependencies
from toombos_cli.diagnose.facts.configuration import CONFIGURATION
from toombos_cli.diagnose.facts.database import DATABASES
from toombos_cli.diagnose.facts.logs import LogEntry
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError
from toombos_cli.diagnose.facts.system import SYSTEM, ServiceFacts, SystemFacts
from toombos_cli.project import commands
from toombos_cli.project.state import FailureKind, Phase


def at(entry: LogEntry) -> Evidence:
    """Return a log line as evidence."""
    return Evidence(source=entry.path, line=entry.line, text=entry.shown)


def start(facts: Facts, *services: str) -> Fix:
    """Return the command that starts services in the mode of the last run, or in dry-run mode if there was none."""
    system = facts.get(SYSTEM)
    return as_owner(facts, commands.start(facts.manifest, *services, last=system if system.ever_started else None))


def as_owner(facts: Facts, fix: Fix) -> Fix:
    """Return the command, with sudo as the services' user if this user may not read what runs."""
    owner = facts.get(SYSTEM).owner
    return Fix(argv=("sudo", "-u", owner, *fix.argv)) if owner else fix


def wanted(facts: Facts, system: SystemFacts) -> tuple[str, ...]:
    """Return the services that should run: those that are not optional, and those that the operator started.

    No task is among them: it runs to its end. Leave out those that wait for another one (`held_back`): there is nothing
    to report about them.
    """
    services, waiting = facts.manifest.services, held_back(facts, system)
    return tuple(
        n
        for n, found in system.services.items()
        if (not services[n].optional or found.desired) and n not in waiting and not services[n].is_task
    )


def held_back(facts: Facts, system: SystemFacts) -> tuple[str, ...]:
    """Return the services that were stopped again, or never started, because another one failed to start.

    If others run, these are the ones that depend on a failed one.
    """
    services = facts.manifest.services
    required = [found for found in system.services.values() if not services[found.name].optional]
    failed = {found.name for found in required if found.phase in (Phase.FAILED, Phase.CRASH_LOOP)}
    idle = [found.name for found in required if found.phase == Phase.STOPPED and not (found.desired or found.runs)]
    if not failed or not any(found.runs for found in required):
        return tuple(idle) if failed else ()
    return tuple(name for name in idle if failed & with_dependencies(name, services))


def refused_its_settings(facts: Facts, found: ServiceFacts, finding: Finding) -> Finding:
    """Return the finding about a service that is down, explained by the error in the configuration that it refused."""
    if found.failure_kind is not FailureKind.CONFIGURATION:
        return finding
    try:
        wrong = [f.id for f in facts.get(CONFIGURATION) if f.verdict is Verdict.FAIL and not f.explained_by]
    except FactUnavailableError:
        return finding
    return replace(finding, explained_by=wrong[0]) if wrong else finding


def waited_for_the_database(facts: Facts, found: ServiceFacts, finding: Finding) -> Finding:
    """Return the finding about a service that never became ready, explained by the fault of its database."""
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
    return replace(
        finding, explained_by=next((check for check, is_wrong in wrong.items() if is_wrong), finding.explained_by)
    )


def after_a_change(facts: Facts, finding: Finding) -> Finding:
    """Return the finding, explained by the rule `stale` if the services run with an older configuration."""
    try:
        stale = any(f.id == "stale" and f.verdict is Verdict.WARN for f in facts.get(CONFIGURATION))
    except FactUnavailableError:
        return finding
    return replace(finding, explained_by="stale") if stale else finding

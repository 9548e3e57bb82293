"""The supervisor: whether it watches the services, what it saw, and whether this user may see it."""

from collections.abc import Iterator

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, warn
from toombos_cli.base.fixes import advice, toombos
from toombos_cli.base.text import size
from toombos_cli.diagnose.checks.context import as_owner, start
from toombos_cli.diagnose.checks.log_evidence import in_its_log
from toombos_cli.diagnose.facts.probes import PROBES
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.diagnose.facts.system import SYSTEM, ListenerFacts, ServiceFacts
from toombos_cli.probes import said_dry_run
from toombos_cli.project.commands import logs
from toombos_cli.project.state import Phase

_GROUP = "process"
_RECENT_S = 900.0


def seen(facts: Facts) -> Iterator[Finding]:
    """This user may see what runs here."""
    system = facts.get(SYSTEM)
    unseen = [x.holder for x in system.services.values() if x.holder is not None and x.holder.pid is None]
    if system.unreadable:
        yield fail(
            f"this user may not read what runs here: the services belong to {system.owner}",
            Evidence(source=system.unreadable, text="permission denied"),
            cause="without it, toombos does not know which processes are the services', which should run, and what "
            "they log",
            fix=as_owner(facts, toombos(facts.manifest.project, "diagnose")),
        )
    elif system.elsewhere and unseen:
        yield warn(
            "the services run in another container (pid namespace): their processes cannot be seen from here",
            *(
                Evidence(source=holder.address, text="listened on by a process that is not visible")
                for holder in unseen
            ),
            cause="responses are checked, but not which process sends them or what it uses",
            fix=advice("run toombos where the services run"),
        )


def restarts(facts: Facts) -> Iterator[Finding]:
    """Services that the supervisor had to restart recently."""
    most = facts.manifest.monitoring.thresholds.restarts
    for name, found in facts.get(SYSTEM).services.items():
        recent = [r for r in found.restarts if facts.now - r.at < _RECENT_S]
        if not recent or found.phase == Phase.CRASH_LOOP or not found.runs:
            continue
        reason = f"{name} was restarted {len(recent)} times in the last 15 minutes, last: {recent[-1].reason}"
        evidence = tuple(Evidence(source=f"pid {found.pid}", text=f"restarted: {r.reason}") for r in recent[-3:])
        if len(recent) >= most:
            yield warn(
                reason,
                *evidence,
                service=name,
                cause=recent[-1].reason,
                fix=advice(f"find out why: {logs(facts.manifest, name)}"),
                explained_by=in_its_log(facts, name),
            )
        else:
            yield ok(reason, *evidence, service=name)


def supervision(facts: Facts) -> Iterator[Finding]:
    """Services that run without a supervisor, so that nothing would restart them."""
    system = facts.get(SYSTEM)
    lost = [name for name, found in system.services.items() if found.phase == Phase.UNSUPERVISED]
    if lost:
        yield warn(
            f"no supervisor watches {', '.join(lost)}",
            Evidence(source=str(facts.manifest.project / "run" / "state.json"), text="its supervisor is gone"),
            cause="the supervisor was killed; a service that exits now is not restarted",
            fix=start(facts, *lost),
        )
    for name in system.undescribed:
        yield warn(
            f"{name} runs, but is no longer in toombos.toml",
            Evidence(source=str(facts.manifest.project / "run" / "state.json"), text=f"{name} was started from there"),
            cause="its table was removed while it ran; nothing else looks at it any more",
            fix=as_owner(facts, toombos(facts.manifest.project, "stop", name)),
        )
    for name, found in system.services.items():
        if found.by_hand and found.managed and found.by_hand.port == facts.manifest.services[name].port:
            yield warn(
                f"{name} was started by hand: {found.by_hand}",
                Evidence(source=found.by_hand.address, text=f"listened on by {found.by_hand}"),
                service=name,
                cause="toombos neither watches it nor stops it",
                fix=advice(f"end pid {found.by_hand.pid}, then: {start(facts, name)}"),
            )
    for text in system.warnings:
        yield warn(text, cause="reported by the supervisor")


def mode(facts: Facts) -> Iterator[Finding]:
    """Services started in dry-run mode report that they are in it."""
    probes = facts.get(PROBES)
    for name, found in facts.get(SYSTEM).services.items():
        health = probes[name].health
        said = said_dry_run(health.body) if health.http_status is not None else None
        said = found.says_dry_run if said is None else said
        if not (found.pid and found.wants_dry_run):
            continue
        if said is False:
            yield fail(
                f"{name} says that it is not in dry-run mode, but was started in it",
                Evidence(source=health.url, text='"dry_run": false'),
                service=name,
                cause="it reads different settings from those it was started with, or interprets them differently",
                fix=as_owner(facts, toombos(facts.manifest.project, "stop", name)),
            )
        elif said:
            yield ok(f"{name} says that it is in dry-run mode", service=name)


def running(facts: Facts) -> Iterator[Finding]:
    """What runs, for information."""
    for name, found in facts.get(SYSTEM).services.items():
        if found.runs:
            yield ok(f"{name}: {_place(found.holder, found)}, {size(found.rss_bytes)}", service=name)


def _place(holder: ListenerFacts | None, found: ServiceFacts) -> str:
    pid = found.pid or (found.by_hand.pid if found.by_hand else 0)
    return f"pid {pid}" + (f" on {holder.address}" if holder and found.ours else "")


CHECKS = (
    Check(id="proc.seen", title="the services' processes are visible", group=_GROUP, run=seen),
    Check(
        id="proc.restarts",
        title="services stay up",
        group=_GROUP,
        run=restarts,
        follows=("res.memory",),
    ),
    Check(
        id="proc.supervision",
        title="a supervisor watches the services",
        group=_GROUP,
        run=supervision,
        follows=("proc.seen",),
    ),
    Check(id="proc.mode", title="services are in the requested mode", group=_GROUP, run=mode),
    Check(id="proc.running", title="what runs", group=_GROUP, run=running),
)

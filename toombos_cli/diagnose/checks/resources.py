"""CPU, memory and disk: of the machine, and the services' share of it."""

from collections.abc import Iterator

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import advice, here, toombos
from toombos_cli.base.quoting import quoted
from toombos_cli.base.text import size
from toombos_cli.diagnose.facts.machine import MACHINE, ProcessUse
from toombos_cli.diagnose.facts.monitoring import MONITORING
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.diagnose.facts.stacks import STACKS
from toombos_cli.diagnose.facts.system import SYSTEM

_GROUP = "resources"
_LOAD_PER_CORE = 8.0
_STALLED_RATIO = 0.25
_FEW_INODES_RATIO = 0.02
_GROWTH_BYTES_PER_H = 100e6


def disk(facts: Facts) -> Iterator[Finding]:
    """Free space on the project's file system: without it, services cannot log or store."""
    found, limit = facts.get(MACHINE), facts.manifest.monitoring.thresholds.disk_ratio
    figures = f"disk {found.disk_ratio:.0%} used, {size(found.disk_free_bytes)} free"
    project = facts.manifest.project
    at = Evidence(source=str(project), text=figures)
    if found.disk_ratio >= limit:
        yield fail(
            f"the disk is nearly full: {figures}",
            at,
            cause=f"more than {limit:.0%}; a full disk stops logs, history and backups",
            fix=advice(
                f"see what uses it: du -xh -d 2 {quoted(project)} | sort -h | tail; "
                f"old archives: {toombos(facts.manifest.project, 'backup', 'prune')}"
            ),
        )
    elif found.inodes_total and found.inodes_free / found.inodes_total < _FEW_INODES_RATIO:
        yield fail(
            f"the file system has {found.inodes_free} inodes left",
            at,
            cause="no file can be created without one, however much space is free",
            fix=advice("remove directories with many small files"),
        )
    else:
        yield ok(figures)


def memory(facts: Facts) -> Iterator[Finding]:
    """Available memory."""
    found, limit = facts.get(MACHINE), facts.manifest.monitoring.thresholds.memory_ratio
    figures = f"memory {found.memory_ratio:.0%} used, {size(found.memory_available_bytes)} available"
    if found.memory_ratio >= limit:
        answer = fail if found.memory_ratio >= max(limit, 0.95) else warn
        yield answer(
            figures,
            *(_use(process) for process in found.largest),
            cause=f"more than {limit:.0%}; the kernel kills processes when none is left",
            fix=advice("stop what is not needed, or add memory; the largest processes are named above"),
        )
    else:
        yield ok(figures)


def cpu(facts: Facts) -> Iterator[Finding]:
    """CPU of the services; machine-wide load is reported but is not a fault in itself."""
    found, limit = facts.get(MACHINE), facts.manifest.monitoring.thresholds.cpu_ratio
    for name, service in facts.get(SYSTEM).services.items():
        now, before = found.service_cpu_percent.get(name, 0.0), service.cpu_percent
        # Twice, because a third of a second says nothing about a service that has just served a request.
        if now >= 100 * limit and before is not None and before >= 100 * limit:
            yield warn(
                f"{name} uses {now:.0f} % of a core",
                Evidence(source=f"pid {service.pid}", text=f"{before:.0f} % before, {now:.0f} % now"),
                service=name,
                cause="it is under load, or in a loop: its stack shows which",
                fix=toombos(facts.manifest.project, "diagnose", "--profile", name),
                explained_by=f"net.timeout:{name}",
            )
    yield ok(f"the machine's {found.cores} cores are {found.cpu_ratio:.0%} busy")


def stack(facts: Facts) -> Iterator[Finding]:
    """What a service that keeps a core busy is doing now."""
    found = facts.get(STACKS)
    if not found:
        yield skip("no service keeps a core busy, or py-spy is not installed (pip install 'toombos[profile]')")
    for name, frames in found.items():
        at = tuple(Evidence(source=name, text=frame) for frame in frames)
        yield ok(f"{name} is busy in {frames[1] if len(frames) > 1 else 'no Python code'}", *at, service=name)


def load(facts: Facts) -> Iterator[Finding]:
    """Far more work than cores, for 15 minutes."""
    found = facts.get(MACHINE)
    figures = "load " + " ".join(f"{value:.1f}" for value in found.load) + f" on {found.cores} cores"
    if found.load[2] > _LOAD_PER_CORE * found.cores:
        yield warn(
            figures,
            *(_use(process) for process in found.busiest),
            cause="work queues up for the CPU or the disk",
            fix=advice("stop or move what is not needed, limit requests (RATE_LIMIT_PER_MINUTE), or add cores"),
        )
    else:
        yield ok(figures)


def pressure(facts: Facts) -> Iterator[Finding]:
    """Time lost by waiting for memory or the disk (PSI): what makes a machine "unresponsive"."""
    found = facts.get(MACHINE)
    if not found.pressure:
        yield skip("this kernel does not report it (no /proc/pressure)")
        return
    for name in ("memory", "io"):
        if found.pressure.get(name, 0.0) > _STALLED_RATIO:
            yield warn(
                f"work waited for {name} {found.pressure[name]:.0%} of the last minute",
                Evidence(source=f"/proc/pressure/{name}", text=f"some avg60={100 * found.pressure[name]:.1f}"),
                *(_use(process) for process in (found.largest if name == "memory" else found.busiest)),
                cause="the machine swaps" if name == "memory" else "the disk is the slowest part",
                fix=advice(
                    "stop what uses the most, or add memory"
                    if name == "memory"
                    else "find the writer with: iostat -x 1"
                ),
            )


def busiest(facts: Facts) -> Iterator[Finding]:
    """The processes that use the most, for information."""
    found = facts.get(MACHINE)
    yield ok("most CPU", *(_use(process) for process in found.busiest))
    yield ok("most memory", *(_use(process) for process in found.largest))


def growth(facts: Facts) -> Iterator[Finding]:
    """A service whose memory only grows, as recorded by Prometheus."""
    found = facts.get(MONITORING)
    if not found.growth_bytes_per_h:
        yield skip(f"needs 30 minutes of Prometheus: {here('monitoring', 'up')}")
        return
    for name, slope in found.growth_bytes_per_h.items():
        if slope > _GROWTH_BYTES_PER_H:
            yield warn(
                f"{name} grows by {size(slope)} an hour",
                Evidence(source="prometheus", text="deriv(process_resident_memory_bytes[30m])"),
                service=name,
                cause="memory is never released: a leak, or an unbounded cache",
                fix=toombos(facts.manifest.project, "diagnose", "--profile", name),
            )


def _use(process: ProcessUse) -> Evidence:
    return Evidence(
        source=f"pid {process.pid}",
        text=f"{process.cpu_percent:.0f} % CPU, {size(process.rss_bytes)}: {process.command}",
    )


CHECKS = (
    Check(id="res.disk", title="the disk has free space", group=_GROUP, run=disk),
    Check(id="res.memory", title="memory is available", group=_GROUP, run=memory),
    Check(id="res.cpu", title="services leave CPU to spare", group=_GROUP, run=cpu),
    Check(id="stack", title="what busy services are doing", group=_GROUP, run=stack),
    Check(id="res.load", title="work does not queue up", group=_GROUP, run=load, follows=("res.cpu",)),
    Check(
        id="res.pressure", title="nothing waits for memory or disk", group=_GROUP, run=pressure, follows=("res.memory",)
    ),
    Check(id="res.rss_slope", title="services' memory does not grow", group=_GROUP, run=growth),
    Check(id="proc.top", title="processes that use the most", group=_GROUP, run=busiest),
)

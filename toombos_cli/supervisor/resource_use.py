"""CPU and memory of each service's process tree, and the limits applied to them."""

import time
from dataclasses import dataclass

from toombos_cli.manifest.tables.service import Limits
from toombos_cli.processes import ProcessRow
from toombos_cli.supervisor.process_look import FamiliarLooks
from toombos_cli.supervisor.tree import Tree
from toombos_cli.supervisor.unit import ServiceUnit

_MB = 1_000_000
_SHORTEST_SPAN_S, _LONGEST_PAUSE_S = 1.0, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSample:
    """One sample: `cpu_percent` of one core since the last sample, None in the first; memory of all members."""

    cpu_percent: float | None
    rss_bytes: int


class Sampler:
    """The CPU time of each process of one tree, remembered between two samples."""

    def __init__(self) -> None:
        self._cpu_s: dict[tuple[int, int], float] = {}
        self._at = 0.0

    def take(self, members: dict[int, ProcessRow], now: float | None = None) -> ResourceSample:
        """Return the sample of these members. What a process used since the last sample is lost if it has ended."""
        now = time.monotonic() if now is None else now
        cpu_s = {(row.pid, row.start_ticks): row.cpu_s for row in members.values()}
        used_s = sum(used - self._cpu_s.get(key, 0.0) for key, used in cpu_s.items())
        elapsed_s = now - self._at
        first = not self._cpu_s
        self._cpu_s, self._at = cpu_s, now
        return ResourceSample(
            cpu_percent=None if first or elapsed_s <= 0 else round(100 * used_s / elapsed_s, 1),
            rss_bytes=sum(row.rss_bytes for row in members.values()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitCheck:
    """The result of a check of the limits: warnings, and the reason for a restart, if there is one."""

    warnings: tuple[str, ...] = ()
    restart_reason: str | None = None


class LimitWatch:
    """The limits of one service: only an excess that lasts for `sustained_s` counts, a peak does not."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._since: dict[str, float] = {}

    def judge(self, sample: ResourceSample, now: float) -> LimitCheck:
        """Return the result at `now`, seconds on a monotonic clock."""
        limits = self._limits
        memory_mb = sample.rss_bytes / _MB
        cpu = sample.cpu_percent or 0.0
        rules = (
            ("memory", memory_mb, limits.memory_warn_mb, limits.memory_restart_mb, "MB of memory"),
            ("cpu", cpu, limits.cpu_warn_percent, limits.cpu_restart_percent, "% CPU"),
        )
        warnings, restart = [], None
        for name, value, warn_at, restart_at, unit in rules:
            if self._lasts(f"{name} restart", bool(restart_at) and value >= restart_at, now):
                restart = f"{value:.0f} {unit}, the limit is {restart_at:g}"
            elif self._lasts(f"{name} warn", bool(warn_at) and value >= warn_at, now):
                warnings.append(f"{value:.0f} {unit}, more than {warn_at:g}")
        return LimitCheck(warnings=tuple(warnings), restart_reason=restart)

    def _lasts(self, rule: str, exceeded: bool, now: float) -> bool:
        if not exceeded:
            self._since.pop(rule, None)
            return False
        return now - self._since.setdefault(rule, now) >= self._limits.sustained_s


class ResourceMeter:
    """The samples of all units; a restarted unit starts afresh."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Tree, Sampler, LimitWatch]] = {}
        self._taken_at = 0.0
        self._looks = FamiliarLooks()

    def take(self, units: dict[str, ServiceUnit]) -> None:
        """Measure every running unit with one read of the process table, and apply its limits.

        Does nothing within a second of the last time: CPU over a shorter span is noise.
        """
        running = {name: unit.running for name, unit in units.items() if unit.running is not None and unit.state.pid}
        now = time.monotonic()
        if not running or now - self._taken_at < _SHORTEST_SPAN_S:
            return
        self._taken_at = now
        look = self._looks.take({one.tree.leader.pid for one in running.values()})
        ours: set[int] = set()
        for name, one in running.items():
            members = one.tree.members(look)
            ours |= members.keys()
            leader = members.get(one.tree.leader.pid)
            one.note_suspension(leader is not None and leader.stopped)
            self._measure(units[name], one.tree, members, now)
        self._looks.forget_strangers(look, ours)

    def _measure(self, unit: ServiceUnit, tree: Tree, members: dict[int, ProcessRow], now: float) -> None:
        known = self._of.get(unit.name)
        if known is None or known[0] is not tree:
            known = self._of[unit.name] = (tree, Sampler(), LimitWatch(unit.service.limits))
        _, sampler, watch = known
        sample = sampler.take(members, now)
        unit.measured(sample.cpu_percent, sample.rss_bytes)
        judgement = watch.judge(sample, now)
        unit.warn(judgement.warnings)
        if judgement.restart_reason:
            unit.request_restart(judgement.restart_reason)

    @staticmethod
    def pause_s(units: dict[str, ServiceUnit]) -> float:
        """Return the seconds until the next sample, which also shows whether a service is suspended."""
        intervals = (unit.service.probe_interval_s for unit in units.values() if unit.running is not None)
        return max(_SHORTEST_SPAN_S, min((_LONGEST_PAUSE_S, *intervals)))

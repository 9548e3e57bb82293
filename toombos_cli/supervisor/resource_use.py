"""CPU and memory of every running unit, and its limits applied to them."""

import time

from toombos_cli import processes
from toombos_cli.supervisor.sampling import LimitWatch, Sampler
from toombos_cli.supervisor.tree import Tree
from toombos_cli.supervisor.unit import Unit

_SHORTEST_SPAN_S = 1.0


class Figures:
    """Samples the units; a unit that was started anew begins anew."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Tree, Sampler, LimitWatch]] = {}
        self._taken_at = 0.0

    def take(self, units: dict[str, Unit]) -> None:
        """Measures every running unit with one look at the process table, and applies its limits.

        Does nothing within a second of the last time: CPU over a shorter span is noise.
        """
        running = {name: unit for name, unit in units.items() if unit.running is not None and unit.state.pid}
        now = time.monotonic()
        if not running or now - self._taken_at < _SHORTEST_SPAN_S:
            return
        self._taken_at = now
        table = processes.process_table()
        for name, unit in running.items():
            if unit.running is None:
                continue
            tree = unit.running.tree
            known = self._of.get(name)
            if known is None or known[0] is not tree:
                known = self._of[name] = (tree, Sampler(), LimitWatch(unit.service.limits))
            _, sampler, watch = known
            sample = sampler.take(tree.members(table), now)
            unit.measured(sample.cpu_percent, sample.rss_bytes)
            judgement = watch.judge(sample, now)
            unit.warn(judgement.warnings)
            if judgement.restart_reason:
                unit.request_restart(judgement.restart_reason)

"""The time series of a run: equal intervals, whose number is bounded however long the run."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from toombos_cli.load.engine import histogram
from toombos_cli.load.engine.histogram import Buckets

FIRST_INTERVAL_NS = 100_000_000
_MOST_INTERVALS = 240


@dataclass(slots=True, kw_only=True)
class Interval:
    """Counts and coarse distributions (microseconds) of one interval. `inflight` is the maximum seen at its end."""

    sent: int = 0
    ok: int = 0
    err: int = 0
    inflight: int = 0
    response: Buckets = field(default_factory=dict)
    lag: Buckets = field(default_factory=dict)

    def absorb(self, other: "Interval") -> None:
        """Add the counts of an adjacent interval."""
        self.sent += other.sent
        self.ok += other.ok
        self.err += other.err
        self.inflight = max(self.inflight, other.inflight)
        histogram.add(self.response, other.response)
        histogram.add(self.lag, other.lag)


@dataclass(slots=True)
class Timeline:
    """Intervals from the start of the run. If there are too many, each pair becomes one of double the length."""

    interval_ns: int = FIRST_INTERVAL_NS
    intervals: list[Interval] = field(default_factory=list)

    def at(self, offset_ns: int) -> Interval:
        """Return the interval that contains this moment, creating it if needed."""
        while offset_ns // self.interval_ns >= _MOST_INTERVALS:
            self.coarsen()
        index = max(0, offset_ns // self.interval_ns)
        while len(self.intervals) <= index:
            self.intervals.append(Interval())
        return self.intervals[index]

    def coarsen(self) -> None:
        """Merge each pair of intervals into one."""
        self.interval_ns *= 2
        for left, right in zip(self.intervals[::2], self.intervals[1::2], strict=False):
            left.absorb(right)
        del self.intervals[1::2]

    @classmethod
    def merged(cls, parts: Iterable["Timeline"]) -> "Timeline":
        """Merge timelines of runs that started at the same moment; the parts are modified."""
        lines = list(parts)
        total = cls(interval_ns=max((line.interval_ns for line in lines), default=FIRST_INTERVAL_NS))
        for line in lines:
            while line.interval_ns < total.interval_ns:
                line.coarsen()
            for index, interval in enumerate(line.intervals):
                inflight = interval.inflight
                sum_so_far = total.at(index * total.interval_ns)
                inflight += sum_so_far.inflight
                sum_so_far.absorb(interval)
                sum_so_far.inflight = inflight  # simultaneous parts: requests in flight add up
        return total

"""When requests are due: a pure function of the stages, independent of the server (an open model)."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from random import Random
from typing import Literal

Arrival = Literal["constant", "poisson"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RampStage:
    """A period in which the arrival rate changes linearly from one value to another."""

    duration_s: float
    start_rps: float
    end_rps: float

    @property
    def arrivals(self) -> float:
        """Return the expected number of arrivals: the area under the rate."""
        return self.duration_s * (self.start_rps + self.end_rps) / 2

    def when(self, arrivals: float) -> float:
        """Return the seconds from the start until this many arrivals are due (0 <= arrivals <= self.arrivals)."""
        slope = (self.end_rps - self.start_rps) / self.duration_s
        # Root of slope/2 t² + start t = arrivals, in the form that stays exact if the slope is (nearly) zero.
        root = sqrt(max(0.0, self.start_rps**2 + 2 * slope * arrivals))
        divisor = self.start_rps + root
        return min(self.duration_s, 2 * arrivals / divisor) if divisor else 0.0


def arrival_times(stages: tuple[RampStage, ...], arrival: Arrival, seed: int = 1) -> Iterator[int]:
    """Yield the nanoseconds from the start at which each request is due, ascending.

    `constant`: the k-th request is due when the area under the rate reaches k, so at a constant rate the first is
    due at 0. `poisson`: the areas between arrivals are exponential with mean 1, drawn from `seed`: a run repeats.
    """
    draw = Random(seed).expovariate  # noqa: S311  (arrivals are not a secret)
    due = draw(1.0) if arrival == "poisson" else 0.0
    begin_s, passed = 0.0, 0.0
    for stage in stages:
        area = stage.arrivals
        # 1e-9: the area of 10 s at 0.1 rps is 1.0000000000000002 in floating point, and must yield one arrival
        while due < passed + area - 1e-9:
            yield round((begin_s + stage.when(due - passed)) * 1e9)
            due += draw(1.0) if arrival == "poisson" else 1.0
        passed += area
        begin_s += stage.duration_s

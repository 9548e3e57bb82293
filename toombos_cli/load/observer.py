"""Progress of a run, and its observer."""

from collections.abc import Callable
from dataclasses import dataclass

from toombos_cli.load.engine import histogram
from toombos_cli.load.engine.recorder import EngineResult, Recorder


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The progress of a run: counts so far, and rate and latencies (µs) over about the last second."""

    elapsed_s: float
    warming_up: bool
    sent: int
    ok: int
    failed: int
    inflight: int
    rate_rps: float
    p50_us: int
    p99_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadObserver:
    """The observer of a run: `on_snapshot` is called twice a second; if `is_lost` returns True, the run ends early."""

    on_snapshot: Callable[[Snapshot], None] | None = None
    is_lost: Callable[[EngineResult], bool] | None = None


NOBODY = LoadObserver()


def snapshot(recorder: Recorder, now_ns: int, *, sent: int, inflight: int, warming_up: bool) -> Snapshot:
    """Return the progress of the run as of the latest cut."""
    line = recorder.timeline
    window = line.intervals[-max(1, 1_000_000_000 // line.interval_ns) :]
    span_s = min(len(window) * line.interval_ns, now_ns - recorder.origin_ns) / 1e9
    p50, p99 = histogram.percentiles(histogram.merged(interval.response for interval in window), (50, 99))
    return Snapshot(
        elapsed_s=(now_ns - recorder.origin_ns) / 1e9,
        warming_up=warming_up,
        sent=sent,
        ok=sum(interval.ok for interval in line.intervals),
        failed=sum(interval.err for interval in line.intervals),
        inflight=inflight,
        rate_rps=sum(interval.ok + interval.err for interval in window) / max(span_s, 1e-3),
        p50_us=p50,
        p99_us=p99,
    )

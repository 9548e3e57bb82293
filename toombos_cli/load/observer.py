"""Progress of a run, and its observer."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from toombos_cli.load.engine import histogram
from toombos_cli.load.engine.histogram import Buckets
from toombos_cli.load.engine.recorder import EngineResult, Recorder


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The progress of a run: counts and response times (µs) so far, and the rate over about the last second.

    `recent` are the response times of that second, `failures` the failed requests by status or class of error.
    """

    elapsed_s: float
    warming_up: bool
    sent: int
    ok: int
    failed: int
    inflight: int
    rate_rps: float
    recent: Buckets
    responses: Buckets
    failures: dict[str, int]


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
    return Snapshot(
        elapsed_s=(now_ns - recorder.origin_ns) / 1e9,
        warming_up=warming_up,
        sent=sent,
        ok=sum(interval.ok for interval in line.intervals),
        failed=sum(interval.err for interval in line.intervals),
        inflight=inflight,
        rate_rps=sum(interval.ok + interval.err for interval in window) / max(span_s, 1e-3),
        recent=histogram.merged(interval.response for interval in window),
        responses=dict(recorder.responses),
        failures=_failures(recorder),
    )


def summed(parts: Iterable[Snapshot]) -> Snapshot:
    """Return the progress of several processes that run the same plan."""
    first, *others = parts
    for other in others:
        first = Snapshot(
            elapsed_s=max(first.elapsed_s, other.elapsed_s),
            warming_up=first.warming_up or other.warming_up,
            sent=first.sent + other.sent,
            ok=first.ok + other.ok,
            failed=first.failed + other.failed,
            inflight=first.inflight + other.inflight,
            rate_rps=first.rate_rps + other.rate_rps,
            recent=histogram.merged((first.recent, other.recent)),
            responses=histogram.merged((first.responses, other.responses)),
            failures=dict(Counter(first.failures) + Counter(other.failures)),
        )
    return first


def _failures(recorder: Recorder) -> dict[str, int]:
    found: Counter[str] = Counter()
    for tally in recorder.tallies:
        for answer, latencies in tally.result.by_status.items():
            if not answer.ok:
                found[str(answer.status)] += histogram.count(latencies.service)
        for failure, lost in tally.result.failures.items():
            found[failure.error_class] += lost.count
    return dict(found)

"""Counts and distributions of one phase of a run (the warm-up has its own recorder, which is discarded).

The engine's hot path does one dict increment per request, in `Cells`. Ten times a second `cut` moves the counts from
there to the totals and the timeline, so memory depends on the spread of latencies, not on the number of requests.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from toombos_cli.load.engine import histogram
from toombos_cli.load.engine.histogram import Buckets
from toombos_cli.load.engine.timeline import Timeline
from toombos_cli.load.plan import LoadRequest

Kind = TypeVar("Kind")
_KNOWN_HEADS = 256
CENSORED = frozenset({"timeout", "unfinished"})
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})  # RFC 9110, 9.2.2


class RequestFailure(NamedTuple):
    """A kind of failure. `error_class`, `phase`: see engine/failures.py.

    `errno` is the name of a system error, such as ECONNRESET, or of an HTTP/2 error, such as REFUSED_STREAM, or "".
    """

    error_class: str
    phase: str
    errno: str


class Answer(NamedTuple):
    """A kind of response: its status, and whether it is a success: as the request expects, or else below 400."""

    status: int
    ok: bool


@dataclass(slots=True)
class FailureCount:
    """The count of a kind of failure; `first_at_ns` from the start of the run, `sample` the error text of the first."""

    count: int
    first_at_ns: int
    sample: str


class Cells:
    """Latencies, in microseconds, of one endpoint's responses with one status since the last cut.

    `alike` counts responses that came in one piece to a request that was sent when it was due: service time, response
    time and time to first byte are then equal. Most responses are of this kind.
    """

    __slots__ = ("alike", "first_byte", "response", "service")

    def __init__(self) -> None:
        self.alike: Buckets = defaultdict(int)
        self.service: Buckets = defaultdict(int)
        self.response: Buckets = defaultdict(int)
        self.first_byte: Buckets = defaultdict(int)


@dataclass(slots=True)
class Latencies:
    """Distributions in microseconds: from the write, from when the request was due, and to the first byte."""

    service: Buckets = field(default_factory=dict)
    response: Buckets = field(default_factory=dict)
    first_byte: Buckets = field(default_factory=dict)

    def absorb(self, other: "Latencies") -> None:
        """Add the samples of another one."""
        for name in Latencies.__slots__:
            histogram.add(getattr(self, name), getattr(other, name))


@dataclass(slots=True)
class EndpointResult:
    """The results of one endpoint. `censored` holds lower bounds of requests that got no response.

    `samples` has, for each error status, the start of the first response body. `in_time` counts, by kind, the
    responses that came while load was sent. `retried` requests were sent again on a fresh connection. `unmet` counts,
    for each expectation, the responses that did not meet it; its samples say what came instead. `events` counts those
    of streams, `followed` the redirects that were followed, which nothing is expected of.
    """

    name: str
    by_status: dict[Answer, Latencies] = field(default_factory=dict)
    censored: Latencies = field(default_factory=Latencies)
    failures: dict[RequestFailure, FailureCount] = field(default_factory=dict)
    samples: dict[int, bytes] = field(default_factory=dict)
    in_time: dict[Answer, int] = field(default_factory=dict)
    retried: int = 0
    unmet: dict[str, FailureCount] = field(default_factory=dict)
    events: int = 0
    timeline: Timeline = field(default_factory=Timeline)
    """Its own series, of completed requests, if there are other endpoints."""
    followed: int = 0

    def absorb(self, other: "EndpointResult") -> None:
        """Add what another process counted for the same endpoint."""
        for answer, latencies in other.by_status.items():
            self.by_status.setdefault(answer, Latencies()).absorb(latencies)
        self.samples = other.samples | self.samples
        self.censored.absorb(other.censored)
        for kind, count in other.in_time.items():
            self.in_time[kind] = self.in_time.get(kind, 0) + count
        self.retried += other.retried
        _absorb(self.failures, other.failures)
        _absorb(self.unmet, other.unmet)
        self.events += other.events
        self.timeline = Timeline.merged([self.timeline, other.timeline])
        self.followed += other.followed


def _absorb(known: dict[Kind, FailureCount], others: Mapping[Kind, FailureCount]) -> None:
    """Add the counts of another process; the sample is that of the first of both."""
    for kind, more in others.items():
        found = known.get(kind)
        if found is None:
            known[kind] = more
        else:
            first = min(found, more, key=lambda f: f.first_at_ns)
            known[kind] = FailureCount(found.count + more.count, first.first_at_ns, first.sample)


@dataclass(slots=True)
class EngineResult:
    """The measurements of one engine. Times are nanoseconds of the machine's monotonic clock.

    `scheduled` requests were due; of these, `dropped` were never sent, `sent_in_time` before the sending ended.
    The sending starts at `started_ns`; it ends with the schedule, with the given duration, or with the last request.
    `cpu_s` is the generator's CPU time until `ended_ns`, `cpu_sending_s` the part until the end of the sending.
    `http_versions` are those that its connections spoke.
    """

    endpoints: list[EndpointResult]
    connect: Buckets
    lag: Buckets
    timeline: Timeline
    scheduled: int
    dropped: int
    sent_in_time: int
    started_ns: int
    sending_ended_ns: int
    ended_ns: int
    cpu_s: float
    cpu_sending_s: float
    connections: int
    http_versions: frozenset[str] = frozenset()
    interrupted_by: int = 0
    aborted: bool = False
    target_lost: bool = False

    @property
    def duration_s(self) -> float:
        """Return the seconds from the start of the sending to the last response."""
        return max((self.ended_ns - self.started_ns) / 1e9, 1e-9)

    @property
    def sending_s(self) -> float:
        """Return the seconds in which load was sent; never 0, so that it can be a divisor."""
        return max((self.sending_ended_ns - self.started_ns) / 1e9, 1e-9)

    @property
    def drain_s(self) -> float:
        """Return the seconds of waiting for responses after the end of the sending."""
        return max(0.0, self.ended_ns - self.sending_ended_ns) / 1e9

    @property
    def cpu_percent(self) -> float | None:
        """Return the generator's CPU usage while load was sent, or None if none was; 100 is one core."""
        if not self.scheduled:
            return None
        return self.cpu_sending_s / min(self.sending_s, self.duration_s) * 100

    @classmethod
    def merged(cls, parts: Iterable["EngineResult"]) -> "EngineResult":
        """Merge the results of engines that ran the same plan at the same time; the parts are modified."""
        first, *others = parts
        for other in others:
            for mine, theirs in zip(first.endpoints, other.endpoints, strict=True):
                mine.absorb(theirs)
            histogram.add(first.connect, other.connect)
            histogram.add(first.lag, other.lag)
            first.scheduled += other.scheduled
            first.dropped += other.dropped
            first.sent_in_time += other.sent_in_time
            first.started_ns = min(first.started_ns, other.started_ns)
            first.sending_ended_ns = max(first.sending_ended_ns, other.sending_ended_ns)
            first.ended_ns = max(first.ended_ns, other.ended_ns)
            first.cpu_s += other.cpu_s
            first.cpu_sending_s += other.cpu_sending_s
            first.connections += other.connections
            first.http_versions |= other.http_versions
            first.aborted = first.aborted or other.aborted
            first.target_lost = first.target_lost or other.target_lost
            first.interrupted_by = first.interrupted_by or other.interrupted_by
        first.timeline = Timeline.merged([first.timeline, *(other.timeline for other in others)])
        return first


class KnownHead(NamedTuple):
    """A response head that the parser has seen: a response that starts with it and has this length is complete."""

    head: bytes
    length: int
    cells: Cells


class Tally:
    """The engine's state for one endpoint: the bytes to send and where its responses are counted.

    `latest` is the head seen last, which nearly always comes again; `heads` are all known heads.
    """

    __slots__ = ("_cells", "bodiless", "heads", "latest", "name", "recorder", "repeatable", "request", "result", "size")

    def __init__(self, endpoint: LoadRequest, recorder: "Recorder") -> None:
        self.name = endpoint.name
        self.request = endpoint.request
        self.size = len(endpoint.request)
        self.bodiless = endpoint.method == "HEAD"
        self.repeatable = endpoint.method in _IDEMPOTENT
        self.heads: dict[bytes, KnownHead] = {}
        self.latest = KnownHead(b"", -1, Cells())
        self.result = EndpointResult(endpoint.name)
        self._cells: dict[tuple[int, bool], Cells] = {}
        self.recorder = recorder

    def cells(self, status: int, ok: bool) -> Cells:
        """Return the cells that count responses with this status that are successes, or are not."""
        found = self._cells.get((status, ok))
        if found is None:
            found = self._cells[Answer(status, ok)] = Cells()
        return found

    def learn(self, head: bytes, length: int, status: int) -> None:
        """Remember the length of a response by its head, blank line included."""
        if len(self.heads) >= _KNOWN_HEADS:
            self.heads.clear()
        self.latest = self.heads[head] = KnownHead(head, length, self.cells(status, status < 400))

    def all_cells(self) -> Iterable[tuple[Answer, Cells]]:
        """Return every kind of response seen, with its cells."""
        return ((Answer(*key), cells) for key, cells in self._cells.items())

    def connected(self, took_ns: int) -> None:
        """Count a connection that was opened for a request."""
        self.recorder.connect[histogram.bucket_of(took_ns // 1000)] += 1

    def fail(self, failure: RequestFailure, sample: str, now_ns: int) -> None:
        """Count a request that got no response."""
        self.recorder.failed += 1
        known = self.result.failures.get(failure)
        if known is None:
            first_at_ns = now_ns - self.recorder.origin_ns
            self.result.failures[failure] = FailureCount(1, first_at_ns, sample)
        else:
            known.count += 1

    def never_sent(self, waited: Buckets) -> None:
        """Record the waits (µs) of requests that were given up before they could be sent."""
        histogram.add(self.recorder.censored, waited)
        histogram.add(self.result.censored.response, waited)

    def censor(self, *, due_ns: int, written_ns: int, now_ns: int) -> None:
        """Record the wait of a request that was given up as a lower bound of its latency.

        `written_ns` is 0 for a request that was never written and so has no service time.
        """
        waited = histogram.bucket_of(max(0, now_ns - due_ns) // 1000)
        self.recorder.censored[waited] += 1
        histogram.add(self.result.censored.response, {waited: 1})
        if written_ns:
            histogram.add(self.result.censored.service, {histogram.bucket_of((now_ns - written_ns) // 1000): 1})


class _EndpointLine:
    """Writes the series of one endpoint of several; it knows how many of its failures are in there already."""

    def __init__(self, result: EndpointResult) -> None:
        self._result = result
        self._failed = 0
        self._censored: Buckets = {}

    def cut(self, at_ns: int, responses: Buckets, *, ok: int, err: int) -> None:
        """Add the responses since the last cut, and the failures that have been counted since."""
        interval = self._result.timeline.at(at_ns)
        failed = sum(lost.count for lost in self._result.failures.values())
        interval.ok += ok
        interval.err += err + failed - self._failed
        self._failed = failed
        histogram.add(interval.response, histogram.coarse(responses))
        known, now = self._censored, self._result.censored.response
        if histogram.count(now) != histogram.count(known):
            new = {bucket: count - known.get(bucket, 0) for bucket, count in now.items() if count != known.get(bucket)}
            histogram.add(interval.response, histogram.coarse(new))
            self._censored = dict(now)


class Recorder:
    """The recorder of one phase. `origin_ns` is the start of the timeline."""

    def __init__(self, endpoints: tuple[LoadRequest, ...], origin_ns: int) -> None:
        self.origin_ns = origin_ns
        self.tallies = tuple(Tally(endpoint, self) for endpoint in endpoints)
        self.connect: Buckets = defaultdict(int)
        self.lag: Buckets = defaultdict(int)
        self.failed = 0
        self.censored: Buckets = defaultdict(int)
        self.timeline = Timeline()
        self.responses: Buckets = {}
        """All response times so far, as coarse as in the timeline."""
        self.lag_total: Buckets = {}
        self._lines = {tally.name: _EndpointLine(tally.result) for tally in self.tallies}
        self._sent = 0
        self._last_cut_ns = origin_ns

    def cut(self, now_ns: int, *, sent: int, inflight: int) -> None:
        """Move the counts since the last cut to the totals and to the interval between the two cuts.

        `sent`: requests sent since the start of this phase.
        """
        # A cut is a little before or after the interval's end, but the midpoint is always in the right interval.
        at_ns = (self._last_cut_ns + now_ns) // 2 - self.origin_ns
        interval = self.timeline.at(at_ns)
        self._last_cut_ns = now_ns
        interval.sent += sent - self._sent
        self._sent = sent
        interval.inflight = inflight
        interval.err += self.failed
        self.failed = 0
        responses: Buckets = dict(self.censored)
        self.censored.clear()
        for tally in self.tallies:
            own: Buckets = {}
            ok = err = 0
            for answer, cells in tally.all_cells():
                latencies = tally.result.by_status.setdefault(answer, Latencies())
                histogram.add(latencies.service, cells.service)
                histogram.add(latencies.response, cells.response)
                histogram.add(latencies.first_byte, cells.first_byte)
                for total in (latencies.service, latencies.response, latencies.first_byte, own):
                    histogram.add(total, cells.alike)
                histogram.add(own, cells.response)
                answered = histogram.count(cells.alike) + histogram.count(cells.response)
                if answer.ok:
                    ok += answered
                else:
                    err += answered
                for buckets in (cells.alike, cells.service, cells.response, cells.first_byte):
                    buckets.clear()
            interval.ok += ok
            interval.err += err
            histogram.add(responses, own)
            if len(self.tallies) > 1:
                self._lines[tally.name].cut(at_ns, own, ok=ok, err=err)
        coarse = histogram.coarse(responses)
        histogram.add(interval.response, coarse)
        histogram.add(self.responses, coarse)
        histogram.add(interval.lag, histogram.coarse(self.lag))
        histogram.add(self.lag_total, self.lag)
        self.lag.clear()

    def mark_in_time(self) -> None:
        """Note the responses up to the last cut as those that came while load was sent."""
        for tally in self.tallies:
            by_status = tally.result.by_status.items()
            tally.result.in_time = {status: histogram.count(found.service) for status, found in by_status}

    @property
    def answered_in_time(self) -> int:
        """Return the number of responses that came while load was sent."""
        return sum(sum(tally.result.in_time.values()) for tally in self.tallies)

    @property
    def answers(self) -> int:
        """Return the number of responses of any status up to the last cut."""
        return sum(
            histogram.count(latencies.service)
            for tally in self.tallies
            for latencies in tally.result.by_status.values()
        )

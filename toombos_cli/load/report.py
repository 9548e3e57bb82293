"""The report of `toombos load`: the schema `toombos.load/1`. Field names are part of the contract."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypedDict

from toombos_cli.base.errors import OperationError, Problem
from toombos_cli.base.results import WRONG, Case, Report, Verdict, worst

SCHEMA = "toombos.load/1"
ObjectiveKind = Literal["latency", "error_rate", "checks", "rps", "ok_rps", "cpu", "rss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine that sent the load. `cores` are those this process may use; `load_1m` is the load average."""

    system: str
    cores: int
    memory_bytes: int
    load_1m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The identity of a run. `argv` is the command line without the values of headers and payloads.

    `duration_s` lasts until the last response; load was sent for `sending_s`, and `drain_s` is the wait after that.
    `interrupted_by` is the number of the signal that ended it early, else 0. `target_lost`: it ended early because
    the target stopped responding.
    """

    id: str
    argv: tuple[str, ...]
    version: str
    host: str
    machine: Machine
    started_at: str
    duration_s: float
    sending_s: float
    drain_s: float
    interrupted_by: int
    target_lost: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """The requested load. `stages`: (duration_s, start_rps, end_rps); `rate` is set if it is constant."""

    url: str
    address: str
    mode: str
    rate: float | None
    stages: tuple[tuple[float, float, float], ...]
    arrival: str
    requests: int | None
    duration_s: float | None
    connections: int
    warmup_s: float
    timeout_s: float
    drain_s: float
    keepalive: bool
    processes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers of requests. Every scheduled request is counted in exactly one of the fields from `ok` to `dropped`.

    `network_fault` and `machine_fault` are the parts of `transport_error` that say nothing about the server: the way
    to it, and this machine. `retried` requests were sent again, as the server had closed their connection before.
    """

    scheduled: int
    ok: int
    http_error: int
    transport_error: int
    censored: int
    dropped: int
    network_fault: int = 0
    machine_fault: int = 0
    retried: int = 0

    @property
    def judged(self) -> int:
        """Return the number of scheduled requests whose success depended on the server alone."""
        return self.scheduled - self.network_fault - self.machine_fault

    @property
    def failed(self) -> int:
        """Return the number of requests that did not succeed."""
        return self.scheduled - self.ok

    @property
    def error_rate(self) -> float:
        """Return the share of the judged requests that did not succeed, 0..1: the server's own failures."""
        return (self.judged - self.ok) / self.judged if self.judged else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """Percentiles in microseconds, accurate to three digits; None without samples.

    `censored` counts the samples that are lower bounds. `hdr_v2` is the whole distribution as an HdrHistogram V2 blob.
    """

    count: int
    censored: int
    min: int | None
    p50: int | None
    p75: int | None
    p90: int | None
    p95: int | None
    p99: int | None
    p99_9: int | None
    p99_99: int | None
    max: int | None
    mean: float | None
    hdr_v2: str


# One kind of failure. `fault`: server, network or machine. `first_at` is in seconds from the start, `sample` is the
# first error text. It is a dict because the contract has a key named `class`.
ErrorGroup = TypedDict(
    "ErrorGroup",
    {
        "class": str,
        "fault": str,
        "phase": str,
        "errno": str,
        "count": int,
        "first_at": float,
        "sample": str,
        "endpoint": str,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmetExpectation:
    """An expectation of a request, and the responses that did not meet it; `got` is what the first one was instead."""

    endpoint: str
    expected: str
    got: str
    count: int
    first_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One interval, starting at `t` seconds. Percentiles (µs) are accurate to 1.6 %, and None without samples."""

    t: float
    sent: int
    ok: int
    err: int
    p50: int | None
    p95: int | None
    p99: int | None
    inflight: int
    lag_p99: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSample:
    """A sample of a server's processes, `t` seconds from the start of the run. `cpu_percent`: 100 is one core."""

    t: float
    cpu_percent: float
    rss_bytes: int
    open_files: int | None
    processes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUse:
    """The resources that a server used under load.

    `cpu_percent` is its mean while load was sent (100 is one core), `cpu_ms_per_request` its CPU time from the start
    to the last response, divided by the number of responses.
    """

    name: str
    pid: int
    cpu_percent: float | None
    cpu_ms_per_request: float | None
    cpu_s: float
    rss_max_bytes: int
    series: tuple[ServerSample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """The load generator itself. `cpu_percent`: its mean while load was sent; 100 is one core for each process.

    `valid` is False if it was too busy or held up: its figures then describe itself as much as the target.
    What was not measured is None.
    """

    cpu_percent: float | None
    cpu_us_per_request: float | None
    lag_p99_us: int | None
    lag_max_us: int | None
    achieved_ratio: float
    connections: int
    valid: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPoint:
    """One interval of one request of the mix: the requests that ended in it, and their percentiles (µs)."""

    t: float
    ok: int
    err: int
    p50: int | None
    p95: int | None
    p99: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSummary:
    """One request of the mix. `events` counts those of its streams.

    `series` has intervals of `interval_s`; the only request of a run has none, as it is that of the run.
    """

    method: str
    path: str
    counts: Counts
    throughput_rps: float | None
    ok_rps: float | None
    status: dict[str, int]
    response: LatencySummary
    events: int
    interval_s: float
    series: tuple[EndpointPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyReport:
    """Latencies. `response`: from when a request was due; `service`: from its write; `ok`: successful requests only."""

    response: LatencySummary
    service: LatencySummary
    connect: LatencySummary
    ttfb: LatencySummary
    ok: LatencySummary


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveResult:
    """The verdict on one objective; `measured` is in the unit of `limit`, or None if nothing was measured.

    The unit is microseconds, a ratio 0..1, requests per second, percent of a core, or bytes. `distribution` is that of
    a latency; `endpoint` is the request of the mix, or None for all of them; `server` is the watched server.
    """

    objective: str
    kind: ObjectiveKind
    distribution: str | None = None
    endpoint: str | None = None
    server: str | None = None
    verdict: Verdict
    measured: float | None
    limit: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One figure compared with the baseline. `limit` is the worst value that is not a regression.

    What was not measured is None, and its verdict ERROR.
    """

    metric: str
    measured: float | None
    mean: float
    limit: float
    change_ratio: float | None
    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineResult:
    """The comparison with all earlier runs in a baseline file."""

    path: str
    runs: int
    comparisons: tuple[Comparison, ...]

    @property
    def verdict(self) -> Verdict:
        """Return FAIL if any figure is a regression."""
        return worst(c.verdict for c in self.comparisons)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport(Report):
    """The result of one load test."""

    kind: ClassVar[str] = "load"
    hidden: ClassVar[frozenset[str]] = frozenset({"distribution", "problems"})

    schema: str = SCHEMA
    run: Run
    plan: PlanSummary
    counts: Counts
    latency_us: LatencyReport
    throughput_rps: float | None
    """Responses that came while load was sent, divided by that time; None if none was sent."""
    ok_rps: float | None
    """The same for successful responses."""
    sent_rps: float | None
    """Requests that were sent while load was sent, divided by that time."""
    status: dict[str, int]
    failed_status: dict[str, int]
    """The responses that were no successes, by status."""
    samples: dict[str, str]
    """For each status of 400 and above, the start of the first response body."""
    errors: tuple[ErrorGroup, ...]
    unmet: tuple[UnmetExpectation, ...]
    interval_s: float
    series: tuple[Point, ...]
    server: tuple[ServerUse, ...]
    generator: Generator
    slo: tuple[ObjectiveResult, ...]
    baseline: BaselineResult | None
    endpoints: dict[str, EndpointSummary]
    notes: tuple[str, ...] = ()
    distribution: tuple[tuple[int, int], ...] = field(default=())
    problems: tuple[Problem, ...] = ()
    """Files that could not be written."""

    @property
    def judged(self) -> tuple[Verdict, ...]:
        """Return the verdicts of all objectives and of the baseline."""
        return tuple(r.verdict for r in self.slo) + ((self.baseline.verdict,) if self.baseline else ())

    @property
    def judges_errors(self) -> bool:
        """Report whether an objective limits the failures of all requests."""
        return any(r.kind == "error_rate" and r.endpoint is None for r in self.slo)

    @property
    def verdict(self) -> Verdict:
        """Return the verdict of the run.

        A run without a successful request fails, however fast the errors were. So does a run that lost its target,
        and, unless an objective limits the failures, one in which half of the requests failed.
        A run in which this machine failed requests is inconclusive, or the network failed half of them. If the
        generator was held up, a missed objective is inconclusive (its own delay may be the cause), and so is every
        open loop (the rate was not offered). In a closed loop it only makes figures worse: a pass is a pass.
        """
        counts = self.counts
        if counts.ok + counts.http_error == 0:
            return Verdict.ERROR
        if counts.machine_fault or 2 * counts.network_fault >= counts.scheduled:
            return Verdict.ERROR
        half_failed = not self.judges_errors and 2 * counts.ok <= counts.scheduled - counts.dropped
        if not counts.ok or half_failed or self.run.target_lost:
            return Verdict.FAIL
        judged = worst((Verdict.PASS, *self.judged))
        if not self.generator.valid:
            if self.plan.mode == "open" or judged in WRONG:
                return Verdict.ERROR
            return Verdict.WARN
        if judged is Verdict.PASS and (counts.network_fault or (counts.failed and not self.judges_errors)):
            return Verdict.WARN
        return judged

    @property
    def generator_verdict(self) -> Verdict:
        """Return ERROR if the generator's delays make the run inconclusive, WARN if they may distort its figures."""
        if self.generator.valid:
            return Verdict.PASS
        return Verdict.ERROR if self.verdict is Verdict.ERROR else Verdict.WARN

    def exit_code(self, *, strict: bool = False) -> int:
        """Return 130 or 143 if a signal ended the run, 4 if a file could not be written and the run did not fail."""
        if self.run.interrupted_by:
            return 128 + self.run.interrupted_by
        if self.problems and self.verdict is not Verdict.FAIL:
            return OperationError.exit_code
        return Report.exit_code(self, strict=strict)

    def cases(self) -> tuple[Case, ...]:
        """Return one case for each verdict."""
        requests = Case(
            name="requests",
            verdict=(Verdict.WARN if self.counts.ok else Verdict.FAIL) if self.counts.failed else Verdict.PASS,
            duration_s=self.run.duration_s,
            detail=f"{self.counts.ok} of {self.counts.scheduled} succeeded",
        )
        health = Case(
            name="generator",
            verdict=self.generator_verdict,
            detail="; ".join(self.generator.reasons),
        )
        objectives = tuple(Case(name=r.objective, verdict=r.verdict, detail=r.detail) for r in self.slo)
        compared = self.baseline.comparisons if self.baseline else ()
        baseline = tuple(Case(name=f"baseline {c.metric}", verdict=c.verdict, detail=c.detail) for c in compared)
        return (requests, health, *objectives, *baseline)

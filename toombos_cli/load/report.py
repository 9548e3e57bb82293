"""What `toombos load` reports: the schema `toombos.load/1`. Field names are contract."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypedDict

from toombos_cli.base.errors import OperationError, Problem
from toombos_cli.base.results import WRONG, Case, Report, Verdict, worst

SCHEMA = "toombos.load/1"
ObjectiveKind = Literal["latency", "error_rate", "rps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Which run this is. `argv` is the command line without the values of headers and payloads.

    `interrupted_by` is the number of the signal that ended it early, else 0. `target_lost`: it ended early, for nothing
    was answered any more.
    """

    id: str
    argv: tuple[str, ...]
    host: str
    started_at: str
    duration_s: float
    interrupted_by: int
    target_lost: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """What was asked for. `stages`: (duration_s, start_rps, end_rps); `rate` where there is one constant rate."""

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
    """Every scheduled request is in exactly one of the others."""

    scheduled: int
    ok: int
    http_error: int
    transport_error: int
    censored: int
    dropped: int

    @property
    def failed(self) -> int:
        """All that did not succeed."""
        return self.scheduled - self.ok

    @property
    def error_rate(self) -> float:
        """Share of scheduled requests that did not succeed, 0..1."""
        return self.failed / self.scheduled if self.scheduled else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """Percentiles in microseconds, right to three digits. `censored` of the samples are lower bounds.

    `hdr_v2` is the whole distribution as an HdrHistogram V2 blob.
    """

    count: int
    censored: int
    p50: int
    p75: int
    p90: int
    p95: int
    p99: int
    p99_9: int
    p99_99: int
    max: int
    mean: float
    hdr_v2: str


# One kind of failure. `first_at` is seconds from the start, `sample` what was said the first time. A dict, for the
# contract names a key `class`.
ErrorGroup = TypedDict(
    "ErrorGroup",
    {"class": str, "phase": str, "errno": str, "count": int, "first_at": float, "sample": str, "endpoint": str},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One interval that begins at `t` seconds. Percentiles (µs) are right to 1.6 %."""

    t: float
    sent: int
    ok: int
    err: int
    p50: int
    p99: int
    inflight: int
    lag_p99: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSample:
    """One look at a server's processes, `t` seconds from the start of the run. `cpu_percent`: 100 is one core."""

    t: float
    cpu_percent: float
    rss_bytes: int
    open_files: int | None
    processes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUse:
    """What a server used while it was loaded. `cpu_ms_per_request` is its whole CPU time over all answers."""

    name: str
    pid: int
    cpu_ms_per_request: float | None
    cpu_s: float
    rss_max_bytes: int
    series: tuple[ServerSample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """Whether the instrument could do what was asked. `cpu_percent`: 100 is one core for each process.

    `valid` is False when it was too busy or was held up: then its figures describe itself as much as the target.
    How late it came to its work is None where it was not measured.
    """

    cpu_percent: float
    cpu_us_per_request: float
    lag_p99_us: int | None
    lag_max_us: int | None
    achieved_ratio: float
    connections: int
    valid: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSummary:
    """One request of the mix."""

    counts: Counts
    status: dict[str, int]
    response: LatencySummary


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyReport:
    """Response: from when a request was due. Service: from its write. `ok`: responses of successes alone."""

    response: LatencySummary
    service: LatencySummary
    connect: LatencySummary
    ttfb: LatencySummary
    ok: LatencySummary


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveResult:
    """What became of one objective; `measured` in the unit of `limit`, None when nothing was measured."""

    objective: str
    kind: ObjectiveKind
    verdict: Verdict
    measured: float | None
    limit: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One figure beside the baseline. `limit` is the worst value that is no regression."""

    metric: str
    measured: float
    mean: float
    limit: float
    change_ratio: float
    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineResult:
    """The comparison with all earlier runs of the file."""

    path: str
    runs: int
    comparisons: tuple[Comparison, ...]

    @property
    def verdict(self) -> Verdict:
        """FAIL when any figure regressed."""
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
    throughput_rps: float
    status: dict[str, int]
    samples: dict[str, str]
    """For each status of 400 and above, how the body of its first answer begins."""
    errors: tuple[ErrorGroup, ...]
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
    """Where the result could not be kept."""

    @property
    def judged(self) -> tuple[Verdict, ...]:
        """The verdicts of all objectives and of the baseline."""
        return tuple(r.verdict for r in self.slo) + ((self.baseline.verdict,) if self.baseline else ())

    @property
    def verdict(self) -> Verdict:
        """The answer of the run.

        A run in which no request succeeded has not passed, however quick the refusals were; without an objective nor
        has one in which most of them failed. One that lost its target has failed.
        A generator that was held up makes a failed objective inconclusive (its own delay may be the cause), and an
        open loop as a whole (the rate was not offered). In a closed loop it makes figures worse: what passes, passes.
        """
        counts = self.counts
        if counts.ok + counts.http_error == 0:
            return Verdict.ERROR
        most_failed = not self.slo and counts.ok < (counts.scheduled - counts.dropped) / 2
        if not counts.ok or most_failed or self.run.target_lost:
            return Verdict.FAIL
        judged = worst((Verdict.PASS, *self.judged))
        if not self.generator.valid:
            if self.plan.mode == "open" or judged in WRONG:
                return Verdict.ERROR
            return Verdict.WARN
        if judged is Verdict.PASS and not self.slo and counts.failed > 0:
            return Verdict.WARN
        return judged

    @property
    def generator_verdict(self) -> Verdict:
        """ERROR when the load generator's delays make the run inconclusive, WARN when they may be in its figures."""
        if self.generator.valid:
            return Verdict.PASS
        return Verdict.ERROR if self.verdict is Verdict.ERROR else Verdict.WARN

    def exit_code(self, *, strict: bool = False) -> int:
        """Return 130 or 143 for a run that a signal ended, and 4 when the result could not be kept and is no FAIL."""
        if self.run.interrupted_by:
            return 128 + self.run.interrupted_by
        if self.problems and self.verdict is not Verdict.FAIL:
            return OperationError.exit_code
        return Report.exit_code(self, strict=strict)

    def cases(self) -> tuple[Case, ...]:
        """One case for each thing that was judged."""
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

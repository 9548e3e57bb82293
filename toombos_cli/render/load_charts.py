"""The charts of a load test: what is drawn, in which colours, and with which limits."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

from toombos_cli.load.report import EndpointPoint, LoadReport, ObjectiveKind, Point
from toombos_cli.render.charts import THOUSANDS, Level, Points, Series, bar_chart, distribution_chart, line_chart, short
from toombos_cli.render.text.load import FIGURES

AnyPoint = TypeVar("AnyPoint", Point, EndpointPoint)

_GOOD, _BAD = 2, 4
_DRAWN = (None, "response", "ok")
"""The distributions whose limits belong in a chart of response times; None for what is no latency."""
MOST_REQUESTS = 12
"""The number of requests of a mix that have charts, those that were sent most often."""
_MOST_RATES = 60
"""The number of points of a rate over time: counts of a few milliseconds jump without meaning."""


def _ms_label(value_us: float) -> str:
    if 0 < value_us < 100:
        return f"{value_us:.3g} µs"
    return f"{value_us / 1000:.3g} ms" if value_us < 999_500 else f"{value_us / 1e6:.3g} s"


def _limits(
    report: LoadReport,
    *kinds: ObjectiveKind,
    server: str | None = None,
    request: str | None = None,
    scale: float = 1.0,
) -> list[Level]:
    """Return the limits of the objectives on what a chart shows: all requests, one of them, or a server."""
    return [
        Level(name=o.objective, value=o.limit * scale)
        for o in report.slo
        if o.kind in kinds and o.endpoint == request and o.server == server and o.distribution in _DRAWN
    ]


def _before(report: LoadReport, colors: dict[str, int], scale: float = 1.0) -> list[Level]:
    """Return the baseline's figures, in the colours of the lines with which they are compared."""
    return [
        Level(name=f"{FIGURES[c.metric]} before", value=c.mean * scale, before=colors[c.metric])
        for c in (report.baseline.comparisons if report.baseline else ())
        if c.metric in colors
    ]


def distribution(report: LoadReport) -> str:
    """Return the histogram of response times with its percentiles."""
    response = report.latency_us.response
    named = {"p50": response.p50, "p95": response.p95, "p99": response.p99, "max": response.max}
    return distribution_chart(
        "Distribution of response times",
        report.distribution,
        marks=[(name, value) for name, value in named.items() if value is not None],
        label=_ms_label,
        levels=_limits(report, "latency"),
    )


def timelines(report: LoadReport) -> list[str]:
    """Return the charts of the run over time."""
    charts = [_latency(report), _throughput(report)]
    if report.counts.failed or any(objective.kind == "error_rate" for objective in report.slo):
        charts.append(_failed_share(report))
    return [*charts, _in_flight(report), *_servers(report), _generator(report)]


def _end(report: LoadReport) -> float:
    """Return the end of the time axis of all charts."""
    return max([report.run.duration_s, *(sample.t for server in report.server for sample in server.series)])


@dataclass(frozen=True, slots=True)
class _PointLine(Generic[AnyPoint]):
    """A series of points, of the run or of one of its requests."""

    points: Sequence[AnyPoint]
    interval_s: float
    duration_s: float

    def over_time(self, figure: Callable[[AnyPoint], float | None]) -> Points:
        """Return a figure of each interval at the interval's middle."""
        return [(min(p.t + self.interval_s / 2, self.duration_s), figure(p)) for p in self.points]

    def windows(self) -> Iterator[tuple[float, float, Sequence[AnyPoint]]]:
        """Yield (middle, duration, intervals) of the spans over which rates are averaged, a second if the run is long.

        A short rest of the run at the end belongs to the span before it.
        """
        points, step = self.points, self.interval_s
        size = max(1, round(min(1.0, self.duration_s / 10) / step), -(-len(points) // _MOST_RATES))
        starts: list[int] = list(range(0, len(points), size))
        if len(starts) > 1 and self.duration_s - points[starts[-1]].t < size * step / 2:
            starts.pop()
        for begin, end in pairwise([*starts, len(points)]):
            last = self.duration_s if end == len(points) else points[end].t
            span = max(last - points[begin].t, 1e-3)
            yield points[begin].t + span / 2, span, points[begin:end]

    def rates(self, figure: Callable[[AnyPoint], int]) -> Points:
        """Return a figure per second over time."""
        return [(middle, sum(map(figure, points)) / span) for middle, span, points in self.windows()]

    def percentiles(self) -> list[Series]:
        """Return the percentiles over time."""
        return [
            Series(name="p99", points=self.over_time(lambda point: point.p99), color=3),
            Series(name="p95", points=self.over_time(lambda point: point.p95), color=6),
            Series(name="p50", points=self.over_time(lambda point: point.p50), color=1),
        ]

    def outcomes(self, *, is_failing: bool) -> list[Series]:
        """Return the rates of successes and, if there are any, failures."""
        lines = [Series(name="ok", points=self.rates(lambda point: point.ok), color=_GOOD)]
        if is_failing:
            lines.append(Series(name="failed", points=self.rates(lambda point: point.err), color=_BAD))
        return lines


def _run_line(report: LoadReport) -> _PointLine[Point]:
    return _PointLine(report.series, report.interval_s, report.run.duration_s)


def _latency(report: LoadReport) -> str:
    lines = _run_line(report).percentiles()
    levels = _limits(report, "latency") + _before(report, {"p99_us": 3, "p95_us": 6, "p50_us": 1})
    return line_chart("Response time over time", lines, x_end=_end(report), y_label=_ms_label, levels=levels)


def of_requests(report: LoadReport) -> list[str]:
    """Return the charts of each request of a mix, two for each; that of the only one is that of the run."""
    by_count = sorted(report.endpoints.items(), key=lambda item: -item[1].counts.scheduled)
    shown = {name for name, found in by_count[:MOST_REQUESTS] if found.counts.scheduled}
    charts = []
    for name, found in report.endpoints.items() if len(report.endpoints) > 1 else ():
        if name in shown:
            limits = _limits(report, "latency", request=name)
            line, end = _PointLine(found.series, found.interval_s, report.run.duration_s), _end(report)
            lines = line.percentiles()
            charts.append(line_chart(f"{name}: response time", lines, x_end=end, y_label=_ms_label, levels=limits))
            limits = _limits(report, "rps", "ok_rps", request=name)
            lines = line.outcomes(is_failing=found.counts.failed > 0)
            charts.append(line_chart(f"{name}: per second", lines, x_end=end, y_label=_rate_label, levels=limits))
    return charts


def _rate_label(rps: float) -> str:
    return short(rps, "/s", "k/s", "M/s")


def _throughput(report: LoadReport) -> str:
    line = _run_line(report)
    sent = Series(name="sent", points=line.rates(lambda point: point.sent), color=5, dashed=True)
    return line_chart(
        "Requests per second over time",
        [sent, *line.outcomes(is_failing=report.counts.failed > 0)],
        x_end=_end(report),
        y_label=_rate_label,
        levels=_limits(report, "rps", "ok_rps") + _before(report, {"throughput_rps": _GOOD}),
    )


def _failed_share(report: LoadReport) -> str:
    def share(points: Sequence[Point]) -> float | None:
        failed, all_of_them = sum(p.err for p in points), sum(p.ok + p.err for p in points)
        return failed / all_of_them * 100 if all_of_them else None

    points = [(middle, share(intervals)) for middle, _, intervals in _run_line(report).windows()]
    return line_chart(
        "Share of requests that failed over time",
        [Series(name="failed", points=points, color=_BAD)],
        x_end=_end(report),
        y_label=lambda share: f"{share:.3g} %",
        levels=_limits(report, "error_rate", scale=100.0) + _before(report, {"error_rate": _BAD}, 100.0),
    )


def _in_flight(report: LoadReport) -> str:
    return line_chart(
        "Requests in flight over time",
        [Series(name="in flight", points=_run_line(report).over_time(lambda point: point.inflight), color=5)],
        x_end=_end(report),
        y_label=lambda count: short(count, *THOUSANDS),
    )


def _servers(report: LoadReport) -> list[str]:
    charts = []
    for server in report.server:
        # A sample is the average since the one before, so the first one after the start also holds at the start.
        during = [sample for sample in server.series if sample.t > 0] or [server.series[-1]]
        samples = [(0.0, during[0]), *((sample.t if sample.t > 0 else _end(report), sample) for sample in during)]
        cpu = Series(name="CPU", points=[(t, sample.cpu_percent) for t, sample in samples], color=3)
        memory = Series(name="memory", points=[(t, sample.rss_bytes / 1e6) for t, sample in samples])
        of, end = f"of {server.name} (pid {server.pid})", _end(report)
        limits = _limits(report, "cpu", server=server.name)
        charts.append(line_chart(f"CPU {of}", [cpu], x_end=end, y_label=lambda y: f"{round(y, 2):g} %", levels=limits))
        limits = _limits(report, "rss", server=server.name, scale=1e-6)
        charts.append(
            line_chart(
                f"Memory {of}", [memory], x_end=end, y_label=lambda y: short(y, " MB", " GB", " TB"), levels=limits
            )
        )
    return charts


def _generator(report: LoadReport) -> str:
    return line_chart(
        "Lateness of the load generator over time",
        [Series(name="p99", points=_run_line(report).over_time(lambda point: point.lag_p99), color=5)],
        x_end=_end(report),
        y_label=_ms_label,
    )


def statuses(report: LoadReport) -> str:
    """Return the numbers of responses by status and of errors by class."""
    bars = []
    for status, count in report.status.items():
        failed = report.failed_status.get(status, 0)
        bars += [(status, count - failed, _GOOD)] if count > failed else []
        bars += [(status if failed == count else f"{status}, failed", failed, _BAD)] if failed else []
    errors: dict[str, int] = {}
    for group in report.errors:
        errors[group["class"]] = errors.get(group["class"], 0) + group["count"]
    bars += [(name, count, _BAD) for name, count in errors.items()]
    if report.counts.dropped:
        bars.append(("never sent", report.counts.dropped, _BAD))
    return bar_chart("Status codes and errors", bars)

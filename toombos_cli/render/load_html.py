"""A load test as one self-contained HTML page: no script, no network, charts drawn as SVG."""

import base64
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from toombos_cli import __version__
from toombos_cli.base.errors import Problem
from toombos_cli.load.build_report import this_machine
from toombos_cli.load.report import EndpointPoint, LoadReport, ObjectiveKind, Point
from toombos_cli.render import load_csv
from toombos_cli.render.charts import THOUSANDS, Level, Points, Series, bar_chart, distribution_chart, line_chart, short
from toombos_cli.render.envelope import document as envelope
from toombos_cli.render.page import render_page
from toombos_cli.render.presentable import presentable
from toombos_cli.render.text.load import FIGURES, bounded, figure, plan_text, sentence
from toombos_cli.render.verdicts import WORDS

AnyPoint = TypeVar("AnyPoint", Point, EndpointPoint)

_GOOD, _BAD = 2, 4
_DRAWN = (None, "response", "ok")
"""The distributions whose limits belong in a chart of response times; None for what is no latency."""
_MOST_REQUESTS = 12
"""The number of requests of a mix that have charts, those that were sent most often."""
_MOST_RATES = 60
"""The number of points of a rate over time: counts of a few milliseconds jump without meaning."""


def document(report: LoadReport) -> str:
    """Return the page, UTF-8 text, with all external values escaped."""
    report = presentable(report)
    return render_page(
        "load.html.j2",
        report=report,
        words=WORDS,
        sentence=sentence(report),
        plan=plan_text(report.plan),
        json_url=_data_url("application/json", json.dumps(envelope(report, "load", report.exit_code()), indent=1)),
        csv_url=_data_url("text/csv", load_csv.document(report.series)),
        bounded=bounded,
        percent=percent,
        figure=figure,
        figures=FIGURES,
        failures=_failures(report),
        asides={
            "by the fault of this machine": report.counts.machine_fault,
            "by the fault of the network": report.counts.network_fault,
            "sent again, as the server had closed their connection": report.counts.retried,
        },
        distribution=_distribution(report),
        timelines=_timelines(report),
        statuses=_statuses(report),
        of_requests=_of_requests(report),
        most_requests=_MOST_REQUESTS,
        summaries={
            "Response time": report.latency_us.response,
            **({"… of successes": report.latency_us.ok} if report.counts.http_error else {}),
            "Service time": report.latency_us.service,
            "First byte": report.latency_us.ttfb,
            "Connect": report.latency_us.connect,
        },
        percentiles=("min", "p50", "p75", "p90", "p95", "p99", "p99_9", "p99_99", "max", "mean"),
        argv=report.run.argv,
        version=report.run.version,
        machine=report.run.machine,
    )


def not_run_document(problems: tuple[Problem, ...], *, argv: tuple[str, ...]) -> str:
    """Return the page of a load test that could not be run, so that no page of an earlier run is taken for its."""
    problems, argv = presentable(problems), presentable(argv)
    return render_page(
        "load_not_run.html.j2",
        problems=problems,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        host=platform.node(),
        argv=argv,
        version=__version__,
        machine=this_machine(),
    )


def percent(share: float) -> str:
    """Format a share 0..1 as a percentage; a small one never looks like none."""
    return f"{share:.2%}".replace("%", " %") if share >= 0.0001 or not share else "< 0.01 %"


def _data_url(kind: str, text: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(text.encode('utf-8', 'backslashreplace')).decode('ascii')}"


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


def _distribution(report: LoadReport) -> str:
    response = report.latency_us.response
    named = {"p50": response.p50, "p95": response.p95, "p99": response.p99, "max": response.max}
    return distribution_chart(
        "Distribution of response times",
        report.distribution,
        marks=[(name, value) for name, value in named.items() if value is not None],
        label=_ms_label,
        levels=_limits(report, "latency"),
    )


def _timelines(report: LoadReport) -> list[str]:
    charts = [_latency(report), _throughput(report)]
    if report.counts.failed or any(objective.kind == "error_rate" for objective in report.slo):
        charts.append(_failed_share(report))
    return [*charts, _in_flight(report), *_servers(report), _generator(report)]


def _end(report: LoadReport) -> float:
    """Return the end of the time axis of all charts."""
    return max([report.run.duration_s, *(sample.t for server in report.server for sample in server.series)])


def _over_time(report: LoadReport, figure: Callable[[Point], float | None]) -> Points:
    """Return a figure of each interval at the interval's middle."""
    return _at_middles(report, report.series, figure)


def _at_middles(report: LoadReport, series: Sequence[AnyPoint], figure: Callable[[AnyPoint], float | None]) -> Points:
    half, end = report.interval_s / 2, report.run.duration_s
    return [(min(point.t + half, end), figure(point)) for point in series]


def _percentile_lines(report: LoadReport, series: Sequence[AnyPoint]) -> list[Series]:
    return [
        Series(name="p99", points=_at_middles(report, series, lambda point: point.p99), color=3),
        Series(name="p95", points=_at_middles(report, series, lambda point: point.p95), color=6),
        Series(name="p50", points=_at_middles(report, series, lambda point: point.p50), color=1),
    ]


def _latency(report: LoadReport) -> str:
    lines = _percentile_lines(report, report.series)
    levels = _limits(report, "latency") + _before(report, {"p99_us": 3, "p95_us": 6, "p50_us": 1})
    return line_chart("Response time over time", lines, x_end=_end(report), y_label=_ms_label, levels=levels)


def _of_requests(report: LoadReport) -> list[str]:
    """Return the charts of each request of a mix, two for each; that of the only one is that of the run."""
    by_count = sorted(report.endpoints.items(), key=lambda item: -item[1].counts.scheduled)
    shown = {name for name, found in by_count[:_MOST_REQUESTS] if found.counts.scheduled}
    charts = []
    for name, found in report.endpoints.items() if len(report.endpoints) > 1 else ():
        if name in shown:
            limits = _limits(report, "latency", request=name)
            lines, end = _percentile_lines(report, found.series), _end(report)
            charts.append(line_chart(f"{name}: response time", lines, x_end=end, y_label=_ms_label, levels=limits))
            limits = _limits(report, "rps", "ok_rps", request=name)
            lines = _rate_lines(report, found.series, is_failing=found.counts.failed > 0)
            charts.append(line_chart(f"{name}: per second", lines, x_end=end, y_label=_rate_label, levels=limits))
    return charts


def _windows(report: LoadReport, points: Sequence[AnyPoint]) -> Iterator[tuple[float, float, Sequence[AnyPoint]]]:
    """Yield (middle, duration, intervals) of the spans over which rates are averaged, a second if the run is long.

    A short rest of the run at the end belongs to the span before it.
    """
    step = report.interval_s
    size = max(1, round(min(1.0, report.run.duration_s / 10) / step), -(-len(points) // _MOST_RATES))
    starts: list[int] = list(range(0, len(points), size))
    if len(starts) > 1 and report.run.duration_s - points[starts[-1]].t < size * step / 2:
        starts.pop()
    for begin, end in zip(starts, [*starts[1:], len(points)], strict=True):
        last = report.run.duration_s if end == len(points) else points[end].t
        span = max(last - points[begin].t, 1e-3)
        yield points[begin].t + span / 2, span, points[begin:end]


def _rates(report: LoadReport, series: Sequence[AnyPoint], figure: Callable[[AnyPoint], int]) -> Points:
    return [(middle, sum(map(figure, points)) / span) for middle, span, points in _windows(report, series)]


def _rate_lines(report: LoadReport, series: Sequence[AnyPoint], *, is_failing: bool) -> list[Series]:
    lines = [Series(name="ok", points=_rates(report, series, lambda point: point.ok), color=_GOOD)]
    if is_failing:
        lines.append(Series(name="failed", points=_rates(report, series, lambda point: point.err), color=_BAD))
    return lines


def _rate_label(rps: float) -> str:
    return short(rps, "/s", "k/s", "M/s")


def _throughput(report: LoadReport) -> str:
    sent = Series(name="sent", points=_rates(report, report.series, lambda point: point.sent), color=5, dashed=True)
    return line_chart(
        "Requests per second over time",
        [sent, *_rate_lines(report, report.series, is_failing=report.counts.failed > 0)],
        x_end=_end(report),
        y_label=_rate_label,
        levels=_limits(report, "rps", "ok_rps") + _before(report, {"throughput_rps": _GOOD}),
    )


def _failed_share(report: LoadReport) -> str:
    def share(points: Sequence[Point]) -> float | None:
        failed, all_of_them = sum(p.err for p in points), sum(p.ok + p.err for p in points)
        return failed / all_of_them * 100 if all_of_them else None

    points = [(middle, share(intervals)) for middle, _, intervals in _windows(report, report.series)]
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
        [Series(name="in flight", points=_over_time(report, lambda point: point.inflight), color=5)],
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
        [Series(name="p99", points=_over_time(report, lambda point: point.lag_p99), color=5)],
        x_end=_end(report),
        y_label=_ms_label,
    )


def _statuses(report: LoadReport) -> str:
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


def _failures(report: LoadReport) -> list[dict[str, str | int]]:
    """Return every kind of failure with its count and the text of the first: responses, expectations, then errors."""
    found: list[dict[str, str | int]] = [
        {
            "what": f"status {status}",
            "count": count,
            "first": "-",
            "fault": "server",
            "said": report.samples.get(status, ""),
        }
        for status, count in report.failed_status.items()
    ]
    found += [
        {
            "what": f"{unmet.endpoint}: expected {unmet.expected}",
            "count": unmet.count,
            "first": f"{unmet.first_at:.1f} s",
            "fault": "server",
            "said": unmet.got,
        }
        for unmet in report.unmet
    ]
    several = len(report.endpoints) > 1
    for group in report.errors:
        where = ", ".join(filter(None, (group["phase"], group["errno"], group["endpoint"] if several else "")))
        found.append(
            {
                "what": f"{group['class']} ({where})" if where else group["class"],
                "count": group["count"],
                "first": f"{group['first_at']:.1f} s",
                "fault": group["fault"],
                "said": group["sample"],
            }
        )
    return found

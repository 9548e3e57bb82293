"""A load test as one self-contained HTML page: no script, no network, charts drawn as SVG."""

from importlib import resources

from toombos_cli.load.report import LoadReport
from toombos_cli.render.charts import Series, bar_chart, distribution_chart, line_chart
from toombos_cli.render.presentable import presentable
from toombos_cli.render.text.load import bounded, milliseconds, sentence
from toombos_cli.render.verdicts import WORDS

_GOOD, _BAD = 2, 4


def document(report: LoadReport) -> str:
    """Return the page, UTF-8 text, with all external values escaped."""
    from jinja2 import Environment, StrictUndefined

    report = presentable(report)

    source = resources.files("toombos_cli.render").joinpath("templates/load.html.j2").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(
        report=report,
        word=WORDS[report.verdict],
        words=WORDS,
        sentence=sentence(report),
        ms=milliseconds,
        bounded=bounded,
        distribution=_distribution(report),
        timelines=[_latency(report), _throughput(report), *_servers(report), _generator(report)],
        statuses=_statuses(report),
        summaries={
            "Response time": report.latency_us.response,
            **({"… of successes": report.latency_us.ok} if report.counts.http_error else {}),
            "Service time": report.latency_us.service,
            "First byte": report.latency_us.ttfb,
            "Connect": report.latency_us.connect,
        },
        percentiles=("p50", "p75", "p90", "p95", "p99", "p99_9", "p99_99", "max", "mean"),
    )


def _ms_label(value_us: float) -> str:
    value = value_us / 1000
    return f"{value:g} ms" if value < 1000 else f"{value / 1000:g} s"


def _round_ms_label(value_us: float) -> str:
    return f"{milliseconds(value_us)} ms"


def _distribution(report: LoadReport) -> str:
    response = report.latency_us.response
    marks = [("p50", response.p50), ("p95", response.p95), ("p99", response.p99), ("max", response.max)]
    return distribution_chart(
        "Distribution of response times",
        report.distribution,
        marks=marks if response.count else (),
        label=lambda us: _ms_label(us) if us in _ROUND else _round_ms_label(us),
    )


_ROUND = {float(factor * 10**power) for factor in (1, 2, 5) for power in range(10)}


def _end(report: LoadReport) -> float:
    """Return the end of the time axis of all charts."""
    return max([report.run.duration_s, *(sample.t for server in report.server for sample in server.series)])


def _middle(report: LoadReport, t: float) -> float:
    """Return the time at which the figure of an interval is drawn."""
    return min(t + report.interval_s / 2, report.run.duration_s)


def _latency(report: LoadReport) -> str:
    answered = [point for point in report.series if point.p99]
    return line_chart(
        "Response time over time",
        [
            Series(name="p99", points=[(_middle(report, p.t), p.p99) for p in answered], color=3),
            Series(name="p50", points=[(_middle(report, p.t), p.p50) for p in answered], color=1),
        ],
        x_end=_end(report),
        unit="response time",
        y_label=_ms_label,
    )


def _throughput(report: LoadReport) -> str:
    # The last interval is shorter: its counts are divided by its actual duration.
    spans = [min(report.interval_s, max(report.run.duration_s - p.t, 1e-3)) for p in report.series]
    rows = list(zip(report.series, spans, strict=True))
    if len(rows) > 1 and spans[-1] < report.interval_s / 4:
        rows.pop()
    lines = [
        Series(name="sent", points=[(_middle(report, p.t), p.sent / s) for p, s in rows], color=5, dashed=True),
        Series(name="ok", points=[(_middle(report, p.t), p.ok / s) for p, s in rows], color=_GOOD),
    ]
    if report.counts.failed:
        lines.append(Series(name="failed", points=[(_middle(report, p.t), p.err / s) for p, s in rows], color=_BAD))
    return line_chart(
        "Requests per second over time", lines, x_end=_end(report), unit="requests/s", y_label=lambda rps: f"{rps:g}"
    )


def _servers(report: LoadReport) -> list[str]:
    charts = []
    for server in report.server:
        of = f"of {server.name} (pid {server.pid})"
        cpu = Series(name="CPU", points=[(sample.t, sample.cpu_percent) for sample in server.series], color=3)
        memory = Series(name="RSS", points=[(sample.t, sample.rss_bytes / 1e6) for sample in server.series])
        end = _end(report)
        charts.append(line_chart(f"CPU {of}", [cpu], x_end=end, unit=f"CPU {of}", y_label=lambda y: f"{y:g} %"))
        charts.append(
            line_chart(f"Memory {of}", [memory], x_end=end, unit=f"memory {of}", y_label=lambda y: f"{y:g} MB")
        )
    return charts


def _generator(report: LoadReport) -> str:
    points = [(_middle(report, p.t), p.lag_p99) for p in report.series]
    return line_chart(
        "Lateness of the load generator over time",
        [Series(name="p99", points=points, color=5)],
        x_end=_end(report),
        unit="lateness of the load generator",
        y_label=_ms_label,
    )


def _statuses(report: LoadReport) -> str:
    bars = [(status, count, _GOOD if int(status) < 400 else _BAD) for status, count in report.status.items()]
    errors: dict[str, int] = {}
    for group in report.errors:
        errors[group["class"]] = errors.get(group["class"], 0) + group["count"]
    bars += [(name, count, _BAD) for name, count in errors.items()]
    return bar_chart("Status codes and errors", bars)

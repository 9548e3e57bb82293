"""The view of a load test: the verdict first, then the figures behind it."""

from typing import TYPE_CHECKING

from rich.text import Text

from toombos_cli.base.results import WORST_FIRST, Verdict
from toombos_cli.render.formats import Output
from toombos_cli.render.problems import print_problems
from toombos_cli.render.table import Column, print_table
from toombos_cli.render.verdicts import print_verdict, word

if TYPE_CHECKING:
    from rich.console import Console

    from toombos_cli.load.report import BaselineResult, LatencySummary, LoadReport, PlanSummary

_COLUMNS = {"p50": 0, "p75": 1, "p90": 3, "p95": 0, "p99": 0, "p99_9": 4, "max": 0, "mean": 2}
"""The latency columns, each with the rank in which it is dropped."""
_ERRORS_SHOWN = 8
_NOTABLE_DRAIN = 0.05
"""The share of the time of sending from which the wait for the last responses is shown."""


def show(report: "LoadReport", output: Output) -> None:
    """Print the whole result on stdout."""
    out = output.stdout
    print_verdict(out, report.verdict, sentence(report))
    out.print(f"target     {plan_text(report.plan)}")
    out.print(_throughput(report))
    _latencies(report, out)
    if report.status:
        out.print("status     " + "  ".join(f"{status}: {count}" for status, count in report.status.items()))
    for status, said in report.samples.items():
        out.print(f"           {status} says {said}")
    for unmet in report.unmet[:_ERRORS_SHOWN]:
        where = f"{unmet.endpoint}: " if len(report.endpoints) > 1 else ""
        when = f"{unmet.count}, first after {unmet.first_at:.1f} s"
        out.print(f"expected   {where}{unmet.expected}: not met by {when}: {unmet.got}")
    for error in report.errors[:_ERRORS_SHOWN]:
        where = " ".join(filter(None, (error["phase"], error["errno"])))
        where += "" if error["fault"] == "server" else f"; not the server's fault but the {error['fault']}'s"
        out.print(
            f"error      {error['class']} ({where}): {error['count']}, first after {error['first_at']:.1f} s: "
            f"{error['sample']}",
        )
    if len(report.errors) > _ERRORS_SHOWN:
        out.print(f"error      {len(report.errors) - _ERRORS_SHOWN} more kinds: see --json")
    if len(report.endpoints) > 1:
        _endpoints(report, out)
    if report.server:
        _servers(report, out)
    _show_generator(report, output)
    for result in sorted(report.slo, key=lambda result: WORST_FIRST.index(result.verdict)):
        out.print(Text.assemble("slo        ", word(result.verdict), f" {result.objective}: {result.detail}"))
    if report.baseline:
        _show_baseline(report.baseline, output)
    for note in report.notes:
        output.stderr.print(f"note: {note}")
    print_problems(report.problems, output.stderr)


def sentence(report: "LoadReport") -> str:
    """Return the result in one sentence."""
    counts = report.counts
    unfinished = sum(error["count"] for error in report.errors if error["class"] == "unfinished")
    text = f"{counts.ok} of {counts.scheduled} requests succeeded in {report.run.duration_s:.2f} s"
    failed = {
        "answered otherwise than expected" if report.unmet else "answered with 4xx or 5xx": counts.http_error,
        "failed in transport": counts.transport_error,
        "timed out": counts.censored - unfinished,
        "unanswered at the end": unfinished,
        "never sent": counts.dropped,
    }
    parts = [f"{count} {what}" for what, count in failed.items() if count]
    text += f" ({', '.join(parts)})" if parts else ""
    if report.run.interrupted_by:
        text += "; interrupted: these are partial results"
    if report.run.target_lost:
        text += "; the target was lost: it stopped responding"
    lost = [r.objective for r in report.slo if r.verdict is Verdict.FAIL]
    if counts.machine_fault:
        text += f"; inconclusive: this machine, not the server, failed {counts.machine_fault} of them"
    elif not report.generator.valid and report.verdict is Verdict.ERROR:
        text += "; inconclusive: the load generator was the bottleneck"
    elif lost:
        text += f"; missed: {', '.join(lost)}"
    if report.baseline and report.baseline.verdict is Verdict.FAIL:
        text += "; worse than the baseline"
    return text


def milliseconds(value_us: float | None) -> str:
    """Format a latency in milliseconds with three significant digits; `-` if nothing was measured."""
    if value_us is None:
        return "-"
    value = value_us / 1000
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def plan_text(plan: "PlanSummary") -> str:
    """Return the target and the requested load in one line."""
    words = [plan.url]
    if plan.mode == "closed":
        words.append(f"- closed loop, {plan.connections} connections")
    elif plan.rate is not None:
        words.append(f"- open loop, {plan.rate:g} rps ({plan.arrival})")
    else:
        stages = ", ".join(f"{d:g} s to {end:g} rps" for d, _, end in plan.stages)
        words.append(f"- open loop, {stages} ({plan.arrival})")
    if plan.processes > 1:
        words.append(f"from {plan.processes} processes")
    if not plan.keepalive:
        words.append("without keep-alive")
    return " ".join(words)


def _throughput(report: "LoadReport") -> str:
    if report.throughput_rps is None:
        return "throughput nothing was sent"
    text = f"throughput {report.throughput_rps:.1f} responses/s"
    if report.plan.rate is not None:
        text += f" (planned {report.plan.rate:g}, {report.generator.achieved_ratio:.1%} sent in time)"
    run = report.run
    if run.drain_s >= _NOTABLE_DRAIN * run.sending_s:
        text += f" in {run.sending_s:.2f} s of sending; the last request ended {run.drain_s:.2f} s later"
    return text


def _latencies(report: "LoadReport", console: "Console") -> None:
    rows: list[tuple[str, LatencySummary]] = [
        ("response", report.latency_us.response),
        ("service", report.latency_us.service),
        ("first byte", report.latency_us.ttfb),
        ("connect", report.latency_us.connect),
    ]
    if report.counts.http_error and report.counts.ok:
        rows.insert(1, ("  successes", report.latency_us.ok))
    columns = [Column(name=name.replace("_", "."), right=True, drop=rank) for name, rank in _COLUMNS.items()]
    cells = [(name, *(bounded(summary, column) for column in _COLUMNS)) for name, summary in rows if summary.count]
    print_table(console, [Column(name="latency ms"), *columns], cells)


def bounded(summary: "LatencySummary", column: str) -> str:
    """Format a figure in milliseconds, with `>` if it is a lower bound because requests got no response."""
    text = milliseconds(getattr(summary, column))
    percent = (
        {"max": 100.0, "mean": 0.0}.get(column) if not column.startswith("p") else float(column[1:].replace("_", "."))
    )
    among = (
        summary.censored and percent is not None and percent / 100 * summary.count > summary.count - summary.censored
    )
    return f">{text}" if among or (column == "mean" and summary.censored) else text


_ENDPOINT_COLUMNS = (
    Column(name="endpoint"),
    Column(name="requests", right=True, drop=1),
    Column(name="ok", right=True),
    Column(name="failed", right=True),
    Column(name="p50 ms", right=True, drop=2),
    Column(name="p95 ms", right=True),
    Column(name="p99 ms", right=True),
)


def _endpoints(report: "LoadReport", console: "Console") -> None:
    rows = []
    for name, found in report.endpoints.items():
        times = [milliseconds(v) for v in (found.response.p50, found.response.p95, found.response.p99)]
        rows.append((name, str(found.counts.scheduled), str(found.counts.ok), str(found.counts.failed), *times))
    print_table(console, _ENDPOINT_COLUMNS, rows)


_SERVER_COLUMNS = (
    Column(name="server"),
    Column(name="pid", right=True),
    Column(name="CPU avg %", right=True),
    Column(name="CPU ms/request", right=True, drop=3),
    Column(name="memory max MB", right=True),
    Column(name="open files", right=True, drop=2),
    Column(name="processes", right=True, drop=1),
)


def _servers(report: "LoadReport", console: "Console") -> None:
    rows = []
    for server in report.server:
        last = server.series[-1]
        rows.append(
            (
                server.name,
                str(server.pid),
                "-" if server.cpu_percent is None else f"{server.cpu_percent:.0f}",
                "-" if server.cpu_ms_per_request is None else f"{server.cpu_ms_per_request:.3f}",
                f"{server.rss_max_bytes / 1e6:.0f}",
                "-" if last.open_files is None else str(last.open_files),
                str(last.processes),
            )
        )
    print_table(console, _SERVER_COLUMNS, rows)


def _show_generator(report: "LoadReport", output: Output) -> None:
    generator = report.generator
    text = "" if generator.cpu_percent is None else f" CPU {generator.cpu_percent:.0f} %"
    if generator.cpu_us_per_request is not None:
        text += f", {generator.cpu_us_per_request:.3g} µs/request"
    if generator.lag_p99_us is not None and generator.lag_max_us is not None:
        text += (
            f", late by {milliseconds(generator.lag_p99_us)} ms (p99), {milliseconds(generator.lag_max_us)} ms (max)"
        )
    output.stdout.print(Text.assemble("client     ", word(report.generator_verdict), text))
    for reason in generator.reasons:
        output.stdout.print(f"           {reason}")


def _show_baseline(baseline: "BaselineResult", output: Output) -> None:
    for found in sorted(baseline.comparisons, key=lambda found: WORST_FIRST.index(found.verdict)):
        now, before, limit = (figure(found.metric, value) for value in (found.measured, found.mean, found.limit))
        text = f" {FIGURES.get(found.metric, found.metric)} {now}, before {before}, limit {limit}: {found.detail}"
        output.stdout.print(Text.assemble("baseline   ", word(found.verdict), text))


FIGURES = {
    "p50_us": "p50",
    "p95_us": "p95",
    "p99_us": "p99",
    "error_rate": "errors",
    "throughput_rps": "throughput",
}
"""The names, for people, of the figures that baselines compare."""


def figure(metric: str, value: float | None) -> str:
    """Format a figure that baselines compare, rounded and with its unit; - if it was not measured."""
    if value is None:
        return "-"
    if metric == "error_rate":
        return f"{value:.2%}"
    if metric == "throughput_rps":
        return f"{value:.1f} rps"
    return f"{milliseconds(value)} ms"

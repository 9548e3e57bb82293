"""A load test as one self-contained HTML page: no script, no network, charts drawn as SVG."""

import base64
import json
import platform
from datetime import UTC, datetime

from toombos_cli import __version__
from toombos_cli.base.errors import Problem
from toombos_cli.load.build_report import this_machine
from toombos_cli.load.report import LoadReport
from toombos_cli.render import load_charts, load_csv
from toombos_cli.render.envelope import document as envelope
from toombos_cli.render.page import render_page
from toombos_cli.render.presentable import presentable
from toombos_cli.render.text.load import FIGURES, bounded, figure, plan_text, sentence
from toombos_cli.render.verdicts import WORDS


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
        rate=rate,
        figure=figure,
        figures=FIGURES,
        failures=_failures(report),
        asides={
            "by the fault of this machine": report.counts.machine_fault,
            "by the fault of the network": report.counts.network_fault,
            "sent again, as the server had closed their connection": report.counts.retried,
        },
        distribution=load_charts.distribution(report),
        timelines=load_charts.timelines(report),
        statuses=load_charts.statuses(report),
        of_requests=load_charts.of_requests(report),
        most_requests=load_charts.MOST_REQUESTS,
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


def rate(rps: float | None) -> str:
    """Format a rate; - if it was not measured."""
    return "-" if rps is None else f"{rps:.1f}"


def _data_url(kind: str, text: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(text.encode('utf-8', 'backslashreplace')).decode('ascii')}"


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

"""Runs without a success: what was not measured is null, and never 0."""

import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.loading import plan_for
from tests.support.servers import hang, read_request, serve
from toombos_cli.load.build_report import build_report
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.load.engine.recorder import EndpointResult, EngineResult
from toombos_cli.load.engine.timeline import Timeline
from toombos_cli.load.report import LoadReport
from toombos_cli.load.slo import judge_all, parse_objectives
from toombos_cli.render import load_html
from toombos_cli.render.envelope import document as envelope

OBJECTIVES = parse_objectives("p99<9s,ok.p99<9s,ttfb.p99<9s,connect.p99<9s,error_rate<=1,rps>=0,ok_rps>=0")


def refuse(connection: socket.socket) -> None:
    while read_request(connection):
        connection.sendall(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")


def hang_up(connection: socket.socket) -> None:
    read_request(connection)


def report_of(outcome: EngineResult, port: int = 1) -> LoadReport:
    return build_report(plan_for(port, requests=2), outcome, argv=("toombos",), slo=judge_all(OBJECTIVES, outcome))


def run_against(handle: Any) -> LoadReport:
    with serve(handle) as port:
        return report_of(run_engine(plan_for(port, requests=2, connections=1, timeout_s=0.2)), port)


def run_of_nothing() -> LoadReport:
    """A run that was ended while it opened its connections."""
    outcome = EngineResult(
        endpoints=[EndpointResult("GET /")],
        connect={},
        lag={},
        timeline=Timeline(),
        scheduled=0,
        dropped=0,
        sent_in_time=0,
        started_ns=5,
        sending_ended_ns=5,
        ended_ns=5,
        cpu_s=0.002,
        cpu_sending_s=0.002,
        connections=0,
        interrupted_by=2,
    )
    return report_of(outcome)


def nulls(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every null in a document; a distribution without samples is one."""
    if isinstance(value, Mapping):
        if value.get("count") == 0 and "hdr_v2" in value:
            assert {value[name] for name in value if name not in ("count", "censored", "hdr_v2")} == {None}
            yield path
            return
        for name, inner in value.items():
            yield from nulls(inner, f"{path}.{name}" if path else name)
    elif value is None:
        yield path


LATENCIES = {f"latency_us.{name}" for name in ("response", "service", "ttfb", "ok")} | {"endpoints.GET /.response"}
LAG = {"generator.lag_p99_us", "generator.lag_max_us"}
"""Measured every 10 ms, so that it depends on time whether a short run has any."""
RUNS = {
    "every response is an error": (lambda: run_against(refuse), {"latency_us.ok"}, {"ok.p99<9s"}),
    "no response comes": (
        lambda: run_against(hang),
        {"latency_us.ok", "latency_us.ttfb"},
        {"ok.p99<9s", "ttfb.p99<9s"},
    ),
    "every connection is closed": (lambda: run_against(hang_up), LATENCIES, {"p99<9s", "ok.p99<9s", "ttfb.p99<9s"}),
    "nothing is sent": (
        run_of_nothing,
        LATENCIES
        | {"latency_us.connect", "throughput_rps", "ok_rps", "sent_rps"}
        | {"endpoints.GET /.throughput_rps", "endpoints.GET /.ok_rps"}
        | {"generator.cpu_percent", "generator.cpu_us_per_request"},
        {objective.text for objective in OBJECTIVES},
    ),
}


@pytest.mark.parametrize(("run", "unmeasured", "undecided"), RUNS.values(), ids=RUNS)
def test_what_was_not_measured_is_null_if(run: Any, unmeasured: set[str], undecided: set[str]):
    report = run()
    data = json.loads(json.dumps(envelope(report, "load", 4)))["data"]
    measured = {name: data[name] for name in ("counts", "latency_us", "endpoints", "generator")}
    measured |= {name: data[name] for name in ("throughput_rps", "ok_rps", "sent_rps")}
    assert set(nulls(measured)) - LAG == unmeasured
    assert {one["objective"] for one in data["slo"] if one["measured"] is None} == undecided
    assert all(one["verdict"] == "error" for one in data["slo"] if one["measured"] is None)
    assert "None" not in load_html.document(report)

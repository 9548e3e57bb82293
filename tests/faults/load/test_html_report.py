"""The page of a load test in a real browser, at the widths of a telephone and of a large screen, light and dark."""

import base64
import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import WIDTHS, look_at
from tests.support.loading import at_rate, endpoint, load_server, plan_for
from tests.support.ports import free_port
from tests.support.runner import Toombos
from tests.support.servers import hang, serve
from toombos_cli.base.errors import Problem
from toombos_cli.load.build_report import build_report
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.load.plan import LoadPlan
from toombos_cli.load.report import LoadReport, ServerSample
from toombos_cli.load.run import run_load
from toombos_cli.load.server_use import Watched
from toombos_cli.load.slo import LoadCriteria, parse_objectives
from toombos_cli.render import load_html
from toombos_cli.render.envelope import document as envelope

CHARTS = [
    "Response time over time",
    "Requests per second over time",
    "Share of requests that failed over time",
    "Requests in flight over time",
    "CPU of the-server",
    "Memory of the-server",
    "Lateness of the load generator over time",
    "Distribution of response times",
    "Status codes and errors",
    *(f"{name}: {figure}" for name in ("look", "order") for figure in ("response time", "per second")),
]
PAGES = ["good", "failed", "compared", "hung", "tiny", "huge", "not run"]
VIEWS = [(page, width, scheme) for page in PAGES for width in WIDTHS for scheme in ("light", "dark")]


def measured(plan: LoadPlan, objectives: str, **files: Path) -> LoadReport:
    """Return the report of a run with these objectives and baseline files."""
    criteria = LoadCriteria(objectives=parse_objectives(objectives), **files)
    server = Watched(name="the-server", host="127.0.0.1", port=plan.target.port)
    return run_load(plan, criteria=criteria, watched=(server,), argv=("toombos", "load", "<b>"))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadReport]:
    found = {}
    with load_server("mixed:5:40") as server:
        plan = plan_for(server.port, **at_rate(100, 1.5))
        objectives = "p99<800ms,p95<90ms,error_rate<1%,rps>50,ok_rps>40,the-server.cpu<90%,the-server.rss<50MB"
        found["good"] = measured(plan, objectives)
    with load_server("error:7") as server:
        mix = (endpoint(server.port, name="look", path="/<items>"), endpoint(server.port, name="order", method="POST"))
        plan = plan_for(server.port, endpoints=mix, **at_rate(100, 1.5))
        found["failed"] = measured(plan, "p99<10us,error_rate<1%,rps>150,p95{look}<5us,ok_rps{order}>40")
    saved = tmp_path_factory.mktemp("baseline") / "base.json"
    with load_server("fixed:1") as fast:
        plan = plan_for(fast.port, **at_rate(50, 1.0))
        for _ in range(2):
            measured(plan, "rps>1", save_baseline=saved)
    with load_server("fixed:60", port=plan.target.port):
        found["compared"] = measured(plan, "error_rate<1%", baseline=saved)
    with serve(hang) as port:
        plan = plan_for(port, requests=2, connections=2, timeout_s=0.2)
        found["hung"] = build_report(plan, run_engine(plan), argv=())
    found["tiny"] = scaled(found["good"], duration_s=0.0125, points=1, latency_us=3)
    found["huge"] = scaled(found["good"], duration_s=86_400.0, points=240, latency_us=59_000_000)
    return found


def scaled(report: LoadReport, *, duration_s: float, points: int, latency_us: int) -> LoadReport:
    """Return the report of a run as short or long as this, up to this latency, with as many requests as it allows."""
    step, per_point = duration_s / points, round(duration_s * 2e4 / points)
    series = tuple(
        replace(
            report.series[0],
            t=index * step,
            sent=per_point,
            ok=per_point,
            p50=max(1, latency_us // 9),
            p99=latency_us,
            inflight=per_point,
        )
        for index in range(points)
    )
    (server,) = report.server
    sample = ServerSample(t=duration_s, cpu_percent=9_999.5, rss_bytes=10**12, open_files=None, processes=1)
    samples = (replace(sample, t=-0.4), sample)
    latency = replace(report.latency_us.response, p50=1, p95=latency_us // 2, p99=latency_us, max=latency_us)
    return replace(
        report,
        run=replace(report.run, duration_s=duration_s),
        interval_s=step,
        series=series,
        server=(replace(server, series=samples),),
        latency_us=replace(report.latency_us, response=latency),
        distribution=((1, 7), (latency_us // 2, 10**9), (latency_us, 1)),
    )


@pytest.fixture(scope="module")
def pages(reports: dict[str, LoadReport]) -> dict[str, str]:
    refused = Problem(message="10.1.1.1 is not this machine", where="http://10.1.1.1/", hint="--allow-target 10.1.1.1")
    found = {name: load_html.document(report) for name, report in reports.items()}
    return {**found, "not run": load_html.not_run_document((refused,), argv=("toombos", "load", "http://10.1.1.1/"))}


@pytest.fixture(scope="module")
def seen(pages: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int, str], dict[str, Any]]:
    found = {}
    for scheme in ("light", "dark"):
        looks = look_at(pages, tmp_path_factory.mktemp(scheme), dark=scheme == "dark")
        found.update({(name, width, scheme): look for (name, width), look in looks.items()})
    return found


@pytest.mark.parametrize(("page", "width", "scheme"), VIEWS, ids=["-".join(map(str, view)) for view in VIEWS])
def test_every_letter_is_large_and_strong_enough_to_read(seen: Any, page: str, width: int, scheme: str):
    look = seen[page, width, scheme]
    assert look["dark"] == (scheme == "dark")
    assert look["texts"]
    assert [text for text in look["texts"] if text["size"] < 12 or text["alpha"] != 1] == []
    assert [text for text in look["texts"] if text["contrast"] < 4.5] == [], "WCAG AA"
    assert [chart["name"] for chart in look["charts"] if chart["weakest"] and chart["weakest"] < 3] == []
    assert look["fits"], "the page scrolls sideways"
    assert look["fetched"] == 0


@pytest.mark.parametrize(("page", "width", "scheme"), VIEWS, ids=["-".join(map(str, view)) for view in VIEWS])
def test_every_chart_is_drawn_in_its_frame(seen: Any, page: str, width: int, scheme: str):
    look = seen[page, width, scheme]
    for chart in look["charts"]:
        assert chart["width"] > 300
        assert chart["shapes"] or page == "hung", chart["name"]
        assert chart["drawn"], chart["name"]
        assert chart["shapes_inside"], chart["name"]
        assert chart["texts_inside"], (chart["name"], chart["texts"])
        assert chart["texts_apart"], (chart["name"], chart["texts"])
    assert look["values_inside"], "a value under the pointer is outside the window"


@pytest.mark.parametrize("width", WIDTHS)
def test_letters_of_charts_have_the_same_size_at_every_width(seen: Any, width: int):
    ticks = [text["size"] for text in seen["good", width, "light"]["texts"] if text["text"].endswith("ms")]
    assert 12 in ticks


def test_a_failed_run_has_all_charts(seen: Any):
    names = [chart["name"] for chart in seen["failed", 1600, "light"]["charts"]]
    assert [re.sub(r" \(pid \d+\)", "", name) for name in names] == CHARTS


def chart_of(seen: Any, page: str, name: str) -> dict[str, Any]:
    charts: list[dict[str, Any]] = seen[page, 1600, "light"]["charts"]
    return next(chart for chart in charts if re.sub(r" \(pid \d+\)", "", chart["name"]) == name)


LIMITS = [
    ("an objective near the lines", "good", CHARTS[0], "p95<90ms"),
    ("an objective far above the lines", "good", CHARTS[0], "↑ p99<800ms"),
    ("an objective on the rate", "good", CHARTS[1], "rps>50"),
    ("an objective on successes", "good", CHARTS[1], "ok_rps>40"),
    ("an objective on a server's CPU", "good", CHARTS[4], "↑ the-server.cpu<90%"),
    ("an objective on a server's memory", "good", CHARTS[5], "the-server.rss<50MB"),
    ("an objective on errors", "failed", CHARTS[2], "error_rate<1%"),
    ("an objective on one request of a mix", "failed", CHARTS[9], "p95{look}<5us"),
    ("an objective on the successes of one request", "failed", CHARTS[12], "ok_rps{order}>40"),
    ("a figure of the baseline", "compared", CHARTS[0], "p99 before"),
]


@pytest.mark.parametrize(("page", "chart", "limit"), [row[1:] for row in LIMITS], ids=[row[0] for row in LIMITS])
def test_a_chart_shows_what_its_lines_are_compared_with(seen: Any, page: str, chart: str, limit: str):
    found = chart_of(seen, page, chart)
    assert limit in found["limits"]
    assert limit.removeprefix("↑ ") in " ".join(found["legend"])


def test_the_values_of_every_moment_can_be_pointed_at(seen: Any, reports: dict[str, LoadReport]):
    values = chart_of(seen, "good", CHARTS[0])["values"]
    assert len(values) == sum(point.p50 is not None for point in reports["good"].series)
    assert all(re.fullmatch(r"[\d.]+ s<br>p99 [\d.]+ ms<br>p95 [\d.]+ ms<br>p50 [\d.]+ ms", value) for value in values)


def test_a_run_without_any_response_has_a_page(seen: Any):
    assert chart_of(seen, "hung", "Status codes and errors")["names"] == ["timeout", "2"]


SAYS = [
    ("the text of an error response", "failed", "{&#34;status&#34;:&#34;preview&#34;}"),
    ("the text of an error without a response", "hung", "no complete response after"),
    ("each request of a mix", "failed", "POST /"),
    ("the time before", "compared", "before: the mean of 2 runs"),
    ("version and machine", "good", r"toombos \d+\.\d+\.\d+ · Linux .*\d+ cores? · *\n *[\d.]+ GB memory"),
    ("why there is no result", "not run", "http://10.1.1.1/</code>: <b>10.1.1.1 is not this machine</b>"),
    ("what to type", "not run", "hint: --allow-target 10.1.1.1"),
]


@pytest.mark.parametrize(("page", "text"), [row[1:] for row in SAYS], ids=[row[0] for row in SAYS])
def test_a_page_says(pages: dict[str, str], page: str, text: str):
    assert re.search(text if "\\d" in text else re.escape(text), pages[page])


@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs_nothing_and_loads_nothing(pages: dict[str, str], page: str):
    assert not re.search(r"<script|<link|<img|<iframe|\bsrc=|url\(|@import|<items>|<b>\"", pages[page])
    assert set(re.findall(r'href="(\w+:[\w/]*)', pages[page])) <= {"data:application/json", "data:text/csv"}


def downloaded(page: str, kind: str) -> str:
    found = re.search(f'download="[^"]+" href="data:{kind};base64,([^"]+)"', page)
    assert found
    return base64.b64decode(found[1]).decode()


def test_the_page_contains_all_data(pages: dict[str, str], reports: dict[str, LoadReport]):
    report = reports["good"]
    assert json.loads(downloaded(pages["good"], "application/json")) == json.loads(
        json.dumps(envelope(report, "load", report.exit_code()))
    )
    rows = list(csv.DictReader(io.StringIO(downloaded(pages["good"], "text/csv"))))
    assert [int(row["sent"]) for row in rows] == [point.sent for point in report.series]


def test_what_was_not_measured_is_null_in_json_and_empty_in_csv(pages: dict[str, str]):
    data = json.loads(downloaded(pages["hung"], "application/json"))["data"]
    first = data["series"][0]
    assert [first[name] for name in ("p50", "p95", "p99")] == [None] * 3
    successes = data["latency_us"]["ok"]
    assert [successes[name] for name in ("min", "p50", "p99_99", "max", "mean")] == [None] * 5
    rows = list(csv.DictReader(io.StringIO(downloaded(pages["hung"], "text/csv"))))
    assert [rows[0][name] for name in ("sent", "p50", "p95", "p99")] == ["2", "", "", ""]


def test_the_same_result_gives_the_same_page(reports: dict[str, LoadReport]):
    for report in reports.values():
        assert load_html.document(report) == load_html.document(report)


def test_the_text_of_a_server_is_escaped():
    def garbage(connection: Any) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\n<script>alert(1)</script>\r\n\r\n")

    with serve(garbage) as port:
        plan = plan_for(port, requests=1, connections=1)
        page = load_html.document(build_report(plan, run_engine(plan), argv=()))
    assert "<script" not in page


NO_RUN = {
    "a target that is not this machine": (lambda port: ("http://10.1.1.1/",), 5, "10.1.1.1 is not this machine"),
    "a port where nothing listens": (lambda port: (f"http://127.0.0.1:{port}/",), 4, "connection refused"),
    "a name that does not exist": (lambda port: ("http://no.such.host.invalid/",), 4, "does not resolve"),
    "a baseline that cannot be read": (
        lambda port: (f"http://127.0.0.1:{port}/", "--baseline", "none.json"),
        4,
        "connection refused",
    ),
}


@pytest.mark.parametrize(("args", "code", "text"), NO_RUN.values(), ids=NO_RUN)
def test_files_are_written_although_there_was_no_run(toombos: Toombos, project: Path, args: Any, code: int, text: str):
    for name in ("page.html", "run.xml", "run.csv"):
        (project / name).write_text("of an earlier run: PASS")
    outputs = ("--html", "page.html", "--junit", "run.xml", "--csv", "run.csv")
    secret = ("-H", "Authorization: Bearer s3cr3t-abc")
    assert toombos("load", *args(free_port()), *outputs, *secret).returncode == code
    page, xml, rows = ((project / name).read_text() for name in ("page.html", "run.xml", "run.csv"))
    assert text in page
    assert text in xml
    assert 'errors="1"' in xml
    assert rows.splitlines()[1:] == []
    assert "s3cr3t" not in page + xml

"""What a person does with the page of a load test in a real browser: point at a value, click it, download the data."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser_session import Browser, browser
from tests.support.loading import at_rate, endpoint, load_server, plan_for
from tests.support.waiting import wait_for
from toombos_cli.load.build_report import build_report
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.load.report import LoadReport
from toombos_cli.render import load_csv, load_html
from toombos_cli.render.envelope import document as envelope


@pytest.fixture(scope="module")
def report() -> LoadReport:
    with load_server("mixed:2:20") as server:
        mix = (endpoint(server.port, name="look"), endpoint(server.port, name="order", method="POST"))
        plan = plan_for(server.port, endpoints=mix, **at_rate(100, 1.5))
        return build_report(plan, run_engine(plan), argv=("toombos", "load"))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("session")


@pytest.fixture(scope="module")
def tab(report: LoadReport, directory: Path) -> Iterator[Browser]:
    page = directory / "load.html"
    page.write_text(load_html.document(report))
    with browser(directory) as opened:
        opened.open(page, width=1000)
        yield opened


SHOWN = "[...document.querySelectorAll('.values b')].filter(b => b.checkVisibility()).map(b => b.innerText)"


def chart(name: str) -> str:
    return f"[...document.querySelectorAll('figure')].find(f => f.innerText.startsWith('{name}'))"


POINTED = {
    "the run": ("Response time over time", 5),
    "one request of a mix": ("order: response time", 3),
    "the distribution": ("Distribution of response times", 2),
}


@pytest.mark.parametrize(("name", "at"), POINTED.values(), ids=POINTED)
def test_the_pointer_shows_the_values_of_a_chart_and_a_click_keeps_them(tab: Browser, name: str, at: int):
    value = f"{chart(name)}.querySelectorAll('.values i')[{at}]"
    wanted = tab.run(f"{value}.querySelector('b').innerHTML.replaceAll('<br>', '\\n')")
    assert tab.run(SHOWN) == []
    tab.point_at(value)
    assert tab.run(SHOWN) == [wanted]
    tab.point_at("document.querySelector('h1')")
    assert tab.run(SHOWN) == []
    tab.point_at(value, click=True)
    tab.point_at("document.querySelector('h1')")
    assert tab.run(SHOWN) == [wanted]
    tab.point_at("document.querySelector('h1')", click=True)
    assert tab.run(SHOWN) == []


def test_the_data_can_be_downloaded_with_a_click(tab: Browser, report: LoadReport, directory: Path):
    for kind in ("json", "csv"):
        tab.point_at(f"document.querySelector('a[download$={kind}]')", click=True)
    files = [directory / f"toombos-load-{report.run.id}.{kind}" for kind in ("json", "csv")]
    wait_for(lambda: all(file.exists() for file in files), what="the downloads")
    whole = json.loads(json.dumps(envelope(report, "load", report.exit_code())))
    assert json.loads(files[0].read_text()) == whole
    assert (
        sum(point["ok"] for point in whole["data"]["endpoints"]["look"]["series"]) == report.endpoints["look"].counts.ok
    )
    assert files[1].read_text() == load_csv.document(report.series)
    rows = list(csv.DictReader(files[1].read_text().splitlines()))
    assert sum(int(row["ok"]) for row in rows) == report.counts.ok

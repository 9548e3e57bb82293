"""The HTML report in a real browser: every chart is drawn and nothing is fetched."""

import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.loading import load_server, plan_for, report_of
from tests.support.programs import needs
from tests.support.runner import Toombos
from tests.support.servers import hang, serve
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.render import load_html

CHARTS = [
    "Distribution of response times",
    "Status codes and errors",
    "Response time over time",
    "Requests per second over time",
    "CPU of ",
    "Memory of ",
    "Lateness of the load generator over time",
]

# This script measures the layout in the browser and stores the result in the title of the page.
MEASURE = """<script>
const found = [...document.querySelectorAll('svg')].map(svg => {
  const frame = svg.getBoundingClientRect();
  const inside = box => box.left >= frame.left - 1 && box.right <= frame.right + 1
                     && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
  const visible = shape => { const style = getComputedStyle(shape);
    return ![style.stroke, style.fill].every(c => c === 'none' || c === 'rgba(0, 0, 0, 0)'); };
  const shapes = [...svg.querySelectorAll('path.line, rect.bar, circle.dot')];
  return { name: svg.getAttribute('aria-label'), width: frame.width, height: frame.height,
    length: shapes.map(s => s.getTotalLength()).reduce((a, b) => a + b, 0), visible: shapes.every(visible),
    shapes_inside: shapes.every(s => inside(s.getBoundingClientRect())),
    texts: [...svg.querySelectorAll('text')].map(t => t.textContent),
    texts_inside: [...svg.querySelectorAll('text')].every(t => inside(t.getBoundingClientRect())) };
});
document.title = JSON.stringify({ charts: found, page: document.documentElement.scrollWidth <= innerWidth,
  fetched: performance.getEntriesByType('resource').length });
</script>"""


def look_at(page: str, directory: Path, *, width: int = 1200) -> dict[str, Any]:
    """Return the layout of the page as measured in Chromium."""
    browser = needs("chromium")
    file = directory / "page.html"
    policy = '<meta http-equiv="Content-Security-Policy"'
    assert policy in page
    file.write_text(re.sub(policy + "[^>]*>", "", page).replace("</body>", MEASURE + "</body>"))
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={directory / 'browser'}", f"--window-size={width},900", "--dump-dom", file.as_uri(),
        ],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title, done.stdout[:500]
    measured: dict[str, Any] = json.loads(html.unescape(title[1]))
    return measured


@pytest.mark.parametrize("width", [1200, 600], ids=["a wide window", "a narrow window"])
def test_every_chart_is_drawn_in_a_browser(toombos: Toombos, project: Path, width):
    report = project / "report.html"
    with load_server("error:7") as server:
        url = f"http://127.0.0.1:{server.port}/"
        toombos("load", url, "--rate", "100", "--duration", "3s", "--html", str(report))
    seen = look_at(report.read_text(), project, width=width)
    assert len(seen["charts"]) == len(CHARTS)
    for chart, name in zip(seen["charts"], CHARTS, strict=True):
        assert chart["name"].startswith(name)
        assert chart["width"] > 300
        assert chart["height"] > 30
        assert chart["length"] > 50, name
        assert chart["visible"], name
        assert chart["shapes_inside"], name
        assert chart["texts_inside"], (name, chart["texts"])
    assert {"200", "500"} <= set(seen["charts"][1]["texts"])
    assert seen["page"]  # the page does not scroll sideways
    assert seen["fetched"] == 0


def test_a_report_without_any_response_can_be_displayed(tmp_path):
    with serve(hang) as port:
        plan = plan_for(port, requests=2, connections=2, timeout_s=0.2)
        page = load_html.document(report_of(plan, run_engine(plan)))
    seen = look_at(page, tmp_path)
    assert seen["charts"][1]["texts"] == ["timeout", "2"]


def test_the_text_of_a_server_is_escaped():
    def garbage(connection):
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\n<script>alert(1)</script>\r\n\r\n")

    with serve(garbage) as port:
        plan = plan_for(port, requests=1, connections=1)
        page = load_html.document(report_of(plan, run_engine(plan)))
    assert "<script" not in page


def test_the_same_result_gives_the_same_page():
    with load_server("fixed:1") as server:
        plan = plan_for(server.port, requests=50, connections=2)
        report = report_of(plan, run_engine(plan))
    assert load_html.document(report) == load_html.document(report)
    assert "http://" not in load_html.document(report).replace(f"http://127.0.0.1:{server.port}/", "")

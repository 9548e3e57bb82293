"""The verdict on a run, by the status of its responses."""

import itertools
import socket

import pytest

from tests.support.loading import plan_for
from tests.support.servers import read_request, serve
from toombos_cli.base.results import Verdict
from toombos_cli.load.report import LoadReport
from toombos_cli.load.run import run_load
from toombos_cli.load.slo import LoadCriteria, parse_objectives

RESPONSE = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n"

VERDICTS = [
    ("all succeed", (200, 204, 304), "", Verdict.PASS),
    ("some fail", (200, 200, 503), "", Verdict.WARN),
    ("most fail", (200, 503, 404), "", Verdict.FAIL),
    ("all fail", (503,), "", Verdict.FAIL),
    ("most fail, but the objective allows it", (200, 503, 404), "error_rate<90%", Verdict.PASS),
    ("all fail, even if the objective allows it", (503,), "error_rate<=1", Verdict.FAIL),
    ("half fail, and the objectives say nothing of failures", (200, 500), "rps>1,p99<10s", Verdict.FAIL),
    ("half fail, and an objective on successes is met", (200, 500), "ok_rps>1,ok.p99<10s", Verdict.FAIL),
    ("half fail, and the objective allows it", (200, 500), "error_rate<60%", Verdict.PASS),
    ("some fail, and the objectives say nothing of failures", (200, 200, 503), "p99<10s", Verdict.WARN),
    ("some fail, and only another request may", (200, 200, 503), "error_rate{GET /}<90%", Verdict.WARN),
    ("all are too many requests", (429,), "rps>1", Verdict.FAIL),
    ("some fail, more than the objective allows", (200, 200, 503), "error_rate<10%", Verdict.FAIL),
]


def report_of_statuses(*statuses: int, slo: str = "") -> LoadReport:
    """Return the report of twelve requests that get these statuses in turn."""

    def handle(connection: socket.socket) -> None:
        for status in itertools.cycle(statuses):
            if not read_request(connection):
                return
            connection.sendall(RESPONSE % status)

    criteria = LoadCriteria(objectives=parse_objectives(slo) if slo else ())
    with serve(handle) as port:
        for _ in range(5):  # on a busy machine the generator may lag, and the report is then invalid
            report = run_load(plan_for(port, requests=12, connections=1), criteria=criteria)
            if report.generator.valid:
                break
    return report


@pytest.mark.parametrize(
    ("statuses", "slo", "verdict"), [row[1:] for row in VERDICTS], ids=[row[0] for row in VERDICTS]
)
def test_the_share_of_failed_requests_decides_unless_an_objective_does(statuses, slo, verdict):
    assert report_of_statuses(*statuses, slo=slo).verdict is verdict


@pytest.mark.parametrize(("statuses", "noted"), [((200, 307), True), ((301,), True), ((200, 304), False)])
def test_redirects_are_noted_because_they_are_not_followed(statuses, noted):
    assert any("redirect" in note for note in report_of_statuses(*statuses).notes) is noted

"""The summary of a load test in words."""

from typing import Any

import pytest

from tests.support.loading import load_server, plan_for, report_of
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.render.text.load import sentence

SLOW = [
    ("timed out", {"requests": 2, "connections": 2, "timeout_s": 0.2}, "(2 timed out)"),
    ("cut off", {"duration_s": 0.2, "connections": 3, "drain_s": 0.1}, "(3 unanswered at the end)"),
]


@pytest.mark.parametrize(("settings", "expected"), [row[1:] for row in SLOW], ids=[row[0] for row in SLOW])
def test_timeouts_are_distinguished_from_requests_cut_off_by_the_end_of_the_run(
    settings: dict[str, Any], expected: str
) -> None:
    with load_server("fixed:5000") as server:
        plan = plan_for(server.port, **settings)
        assert expected in sentence(report_of(plan, run_engine(plan)))

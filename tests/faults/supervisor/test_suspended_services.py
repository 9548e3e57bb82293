"""Services that a signal suspends: status says so soon, whatever they are asked, and restarts none."""

import os
import signal
from typing import Any

import pytest

from tests.support.waiting import wait_for

_INTERVAL_S = 2.0
KINDS: dict[str, dict[str, Any]] = {
    "over HTTP": {},
    "by a connection, which the kernel accepts for it": {"scheme": "tcp"},
    "nothing": {"scheme": "none", "port": 0, "command": ["sleep", "60"]},
}


@pytest.mark.parametrize("table", KINDS.values(), ids=[f"it is asked {how}" for how in KINDS])
def test_status_reports_a_suspended_service_within_two_intervals_and_its_end(
    system: Any, table: dict[str, Any]
) -> None:
    system.add("crm", probe_interval_s=_INTERVAL_S, **table)
    system("start", exit_code=0)
    pid = system.pid("crm")
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: system.phase("crm") == "unhealthy", within_s=2 * _INTERVAL_S)
    done = system("status", exit_code=1)
    assert f"crm: pid {pid} is suspended by a signal; kill -CONT {pid} resumes it" in done.stdout
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: system.phase("crm") == "ready", within_s=3 * _INTERVAL_S)
    assert system.pid("crm") == pid
    system("stop", exit_code=0)

"""Failures that the supervisor cannot repair raise alerts, and so does their recovery."""

import json
import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.waiting import wait_for
from tests.unit.alerts.conftest import log_lines, wait_until_quiet

SERVER = """
import http.server, os, sys
if os.path.exists("broken"):
    sys.exit("cannot start: broken")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'{"status": "healthy"}')
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one service, which starts unless there is a file `broken`."""
    (tmp_path / "server.py").write_text(textwrap.dedent(SERVER))
    (tmp_path / "toombos.toml").write_text(
        f'[services.shop]\ntitle = "The shop"\nport = {free_port()}\nprobe_interval_s = 0.2\n'
        f'command = ["{sys.executable}", "server.py", "{{port}}"]\n'
        "[services.shop.restart]\nbackoff_initial_s = 0.05\nbackoff_max_s = 0.05\ncrash_loop_count = 2\n"
    )
    return tmp_path


def pid(toombos) -> int:
    return json.loads(toombos("status", "--json").stdout)["data"]["services"][0]["pid"]


def test_a_crash_loop_raises_a_p1_alert_and_a_later_start_sends_its_recovery(project, toombos):
    assert toombos("start").returncode == 0
    (project / "broken").touch()
    os.kill(pid(toombos), signal.SIGKILL)
    (raised,) = wait_for(lambda: log_lines(project, "crash-loop:shop"), within_s=30, what="the alert")
    assert (raised["severity"], raised["source"]) == ("P1", "supervisor")
    assert raised["message"] == "raised: The shop is in a crash loop"
    (project / "broken").unlink()
    assert toombos("start").returncode == 0
    wait_for(lambda: log_lines(project, "recovered: The shop"), within_s=30, what="the recovery")
    wait_until_quiet(project)


def test_a_service_that_is_not_restarted_raises_an_alert_but_stop_does_not(project, toombos):
    text = (project / "toombos.toml").read_text() + 'policy = "never"\n'
    (project / "toombos.toml").write_text(text)
    assert toombos("start").returncode == 0
    assert toombos("stop").returncode == 0
    assert toombos("start").returncode == 0
    os.kill(pid(toombos), signal.SIGKILL)
    wait_for(lambda: log_lines(project, "ended:shop"), within_s=30, what="the alert")
    wait_until_quiet(project)
    assert len(log_lines(project, "raised")) == 1


def test_services_that_lost_their_supervisor_raise_a_p3_alert_when_they_are_adopted(project, toombos):
    assert toombos("start").returncode == 0
    supervisor = json.loads(toombos("status", "--json").stdout)["data"]["supervisor"]["pid"]
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: "UNSUPERVISED" in toombos("status").stdout.upper(), what="the loss")
    assert toombos("start").returncode == 0
    (raised, *_) = wait_for(lambda: log_lines(project, "adopted:shop"), within_s=30, what="the alert")
    assert raised["severity"] == "P3"
    wait_until_quiet(project)

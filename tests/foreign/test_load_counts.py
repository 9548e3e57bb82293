"""The counts of a load test against servers that nobody here wrote are those of the server."""

import shutil
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.loading import at_rate, endpoint, plan_for, report_of
from tests.support.ports import free_port
from tests.support.waiting import wait_for
from toombos_cli import processes
from toombos_cli.load.engine.fleet import run_engine

PROGRAMS = Path(__file__).parent / "programs"
GUNICORN = "{python} -m gunicorn --chdir {programs} -w 1 -b 127.0.0.1:{port} counting:wsgi"
SERVERS = {
    "gunicorn, one request after another": f"{GUNICORN} -k sync",
    "gunicorn with threads": f"{GUNICORN} -k gthread --threads 4",
    "gunicorn that closes idle connections soon": f"{GUNICORN} -k gthread --threads 8 --keep-alive 1",
    "uvicorn": "{python} -m uvicorn --app-dir {programs} --port {port} --log-level error --lifespan off counting:asgi",
    "hypercorn": "{python} -m hypercorn -b 127.0.0.1:{port} --log-level error counting:asgi",
    "node": "{node} {programs}/counting.js {port}",
    "HTTP/1.0": "{python} {programs}/counting.py http/1.0 {port}",
    "early hints (103) before each response": "{python} {programs}/counting.py early_hints {port}",
    "connections that close without a word": "{python} {programs}/counting.py silent_close {port}",
}


@pytest.mark.parametrize("command", list(SERVERS.values()), ids=list(SERVERS))
def test_the_counts_are_those_of_the_server(command):
    port = free_port()
    places = {"python": sys.executable, "node": shutil.which("node"), "programs": PROGRAMS, "port": port}
    words = [word.format(**places) for word in command.split()]
    with subprocess.Popen(words, cwd=PROGRAMS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(lambda: processes.listeners((port,), processes.all_pids()), within_s=20, what=command)
            requests = (endpoint(port, path="/n"),)
            closed = plan_for(port, requests=200, connections=4, endpoints=requests)
            opened = plan_for(port, endpoints=requests, **at_rate(40, 1))
            reports = [report_of(plan, run_engine(plan)) for plan in (closed, opened)]
            with urlopen(f"http://127.0.0.1:{port}/count", timeout=10) as response:
                counted = int(response.read())
        finally:
            server.terminate()
    assert [(report.counts.ok, len(report.errors)) for report in reports] == [(200, 0), (40, 0)]
    assert counted == 240
    assert (reports[1].sent_rps, reports[1].run.sending_s) == (40, 1)

"""The counts of a load test against servers that nobody here wrote are those of the server."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.loading import at_rate, endpoint, plan_for, report_of
from tests.support.nginx import nginx
from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.waiting import wait_for
from toombos_cli import processes
from toombos_cli.load.engine.fleet import run_engine
from toombos_cli.probes.endpoint import Endpoint

PROGRAMS = Path(__file__).parent / "programs"
APACHE = """\
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule status_module /usr/lib/apache2/modules/mod_status.so
LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so
Listen 127.0.0.1:{port}
ServerName localhost
User www-data
Protocols {protocols}
MaxKeepAliveRequests 50
DefaultRuntimeDir {directory}
PidFile {directory}/pid
ErrorLog /dev/stderr
LogFormat "%r" request
CustomLog /dev/stdout request
<Location "/">
  SetHandler server-status
</Location>
"""
Command = Callable[[Path, int], list[str]]
"""Returns the command of a server whose files are in a directory, and which listens on a port."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server, and how its own count is read: it responds with it, or writes a line for each request to stdout."""

    command: Command
    http2: bool = False
    has_log: bool = False


def runs(words: str) -> Command:
    """Return the command of an application that counts."""

    def command(_: Path, port: int) -> list[str]:
        places = {"python": sys.executable, "node": shutil.which("node"), "programs": PROGRAMS, "port": port}
        return [word.format(**places) for word in words.split()]

    return command


def runs_nginx(options: str = "") -> Command:
    """Return the command of an nginx that ends each connection after 50 requests."""
    server = "listen 127.0.0.1:{port} {options}; keepalive_requests 50; location / {{ return 200 ok; }}"
    return lambda directory, port: nginx(directory, "nginx", server.format(port=port, options=options))


def runs_apache(protocols: str) -> Command:
    """Return the command of an Apache that ends each connection after 50 requests."""

    def command(directory: Path, port: int) -> list[str]:
        file = directory / "apache.conf"
        file.write_text(APACHE.format(port=port, directory=directory, protocols=protocols))
        return [needs("apache2", search=("usr/sbin",)), "-f", str(file), "-D", "FOREGROUND"]

    return command


GUNICORN = "{python} -m gunicorn --chdir {programs} -w 1 -b 127.0.0.1:{port} counting:wsgi"
HYPERCORN = "{python} -m hypercorn -b 127.0.0.1:{port} --log-level error counting:asgi"
SERVERS = {
    "gunicorn, one request after another": Server(command=runs(f"{GUNICORN} -k sync")),
    "gunicorn with threads": Server(command=runs(f"{GUNICORN} -k gthread --threads 4")),
    "gunicorn that closes idle connections soon": Server(
        command=runs(f"{GUNICORN} -k gthread --threads 8 --keep-alive 1")
    ),
    "uvicorn": Server(
        command=runs(
            "{python} -m uvicorn --app-dir {programs} --port {port} --log-level error --lifespan off counting:asgi"
        )
    ),
    "hypercorn": Server(command=runs(HYPERCORN)),
    "hypercorn in HTTP/2": Server(command=runs(HYPERCORN), http2=True),
    "nginx": Server(command=runs_nginx(), has_log=True),
    "nginx in HTTP/2": Server(command=runs_nginx("http2"), has_log=True, http2=True),
    "Apache": Server(command=runs_apache("http/1.1"), has_log=True),
    "Apache in HTTP/2": Server(command=runs_apache("h2c http/1.1"), has_log=True, http2=True),
    "node": Server(command=runs("{node} {programs}/counting.js {port}")),
    "HTTP/1.0": Server(command=runs("{python} {programs}/counting.py http/1.0 {port}")),
    "early hints (103) before each response": Server(
        command=runs("{python} {programs}/counting.py early_hints {port}")
    ),
    "connections that close without a word": Server(
        command=runs("{python} {programs}/counting.py silent_close {port}")
    ),
}


@pytest.mark.parametrize("row", SERVERS.values(), ids=SERVERS)
def test_the_counts_are_those_of_the_server(row: Server, tmp_path: Path):
    port = free_port()
    command = row.command(tmp_path, port)
    log = tmp_path / "requests.log"
    with (
        log.open("wb") as stdout,
        subprocess.Popen(command, cwd=PROGRAMS, stdout=stdout, stderr=subprocess.DEVNULL) as server,
    ):
        try:
            wait_for(lambda: processes.listeners((port,), processes.all_pids()), within_s=20, what=" ".join(command))
            requests = (endpoint(port, path="/n"),)
            closed = plan_for(port, requests=200, connections=4, endpoints=requests)
            target = replace(closed.target, endpoint=Endpoint(http2=row.http2))
            opened = plan_for(port, endpoints=requests, **at_rate(40, 1))
            plans = [replace(plan, target=target) for plan in (closed, opened)]
            outcomes = [run_engine(plan) for plan in plans]
            if not row.has_log:
                with urlopen(f"http://127.0.0.1:{port}/count", timeout=10) as response:
                    counted = int(response.read())
        finally:
            server.send_signal(signal.SIGTERM)
    if row.has_log:  # it is complete once the server has ended
        counted = sum(b"GET /n HTTP/" in line for line in log.read_bytes().splitlines())
    reports = [report_of(plan, outcome) for plan, outcome in zip(plans, outcomes, strict=True)]
    assert [(report.counts.ok, len(report.errors)) for report in reports] == [(200, 0), (40, 0)]
    assert counted == 240
    assert (reports[1].sent_rps, reports[1].run.sending_s) == (40, 1)
    assert {outcome.http_versions for outcome in outcomes} == {frozenset({"2" if row.http2 else "1.1"})}

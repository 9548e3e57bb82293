"""The alert receiver: accepts Alertmanager's webhook, and exports metrics about deliveries to Prometheus.

It writes to the spool and responds at once; the sender, a separate process, delivers.
"""

import io
import json
import signal
import socket
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from toombos_cli import processes
from toombos_cli.alerts.ledger_file import read_ledger
from toombos_cli.alerts.webhook import MAX_BODY_BYTES, events_of
from toombos_cli.base.errors import OperationError
from toombos_cli.base.untrusted import UntrustedError
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes import is_ready
from toombos_cli.project import alert_spool
from toombos_cli.project.service_probe import ask_service
from toombos_cli.project.state import read_state

_LENGTH_DIGITS = 10
_HEAD_S = 30.0
"""For the head of a request, and the silence before it on a connection that is kept."""
_BODY_S = 3.0
_OUTCOMES = ("delivered", "gave-up")


def run_receiver(manifest: Manifest, service: Service, commands: Mapping[str, str]) -> None:
    """Serve on the service's address until SIGTERM or SIGINT. Raise OperationError if the port is in use.

    `commands` maps the names of the alert rules to their commands: see `events_of`.
    """
    handler = type("Handler", (_Handler,), {"manifest": manifest, "commands": commands})
    try:
        server = ThreadingHTTPServer((service.host, service.port), handler)
    except OSError as error:
        raise OperationError(f"cannot listen: {error.strerror}", where=service.url) from None
    server.daemon_threads = True
    for number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for the loop that this handler interrupts, so it needs its own thread.
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    with server:
        alert_spool.begin_sender(manifest.project)  # for alerts left from an earlier run
        server.serve_forever(poll_interval=0.1)


def waits_for_a_sender(manifest: Manifest) -> bool:
    """Return whether an incident is due to be closed or repeated although no alert arrived; checked on every scrape."""
    ledger, now = read_ledger(manifest.project), time.time()
    return bool(ledger.overdue(now) or ledger.untaken(now))


def prometheus_is_silent(manifest: Manifest) -> bool:
    """Return whether Prometheus is silent: Alertmanager then resolves alerts just because nothing confirms them."""
    prometheus = manifest.services.get("prometheus")
    if prometheus is None:
        return False
    result = ask_service(manifest, prometheus)
    return not is_ready(result.reason, result.cause)


def metrics_text(manifest: Manifest) -> bytes:
    """Return `toombos_alert_*` and this process's own metrics in Prometheus' text format, from the ledger."""
    from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    ledger = read_ledger(manifest.project)
    deliveries = Counter(
        "toombos_alert_deliveries", "Messages by channel and outcome", ("channel", "outcome"), registry=registry
    )
    for channel in manifest.alerts.channels:  # start at 0, or the first failure would not be an increase
        for outcome in _OUTCOMES:
            deliveries.labels(channel, outcome)
    for key, count in ledger.deliveries.items():
        channel, _, outcome = key.rpartition("/")
        if outcome in _OUTCOMES and count >= 0:
            deliveries.labels(channel, outcome).inc(count)
    failing = Gauge("toombos_alert_channel_failing", "1 while it accepts no messages", ("channel",), registry=registry)
    for channel in {*manifest.alerts.channels, *ledger.failing}:
        failing.labels(channel).set(channel in ledger.failing)
    supervisor = Gauge("toombos_supervisor_up", "1 while the supervisor of this process runs", registry=registry)
    state = read_state(manifest.project)
    supervisor.set(state is not None and processes.is_alive(state.supervisor))
    incidents = Gauge("toombos_alert_incidents", "Problems that have not ended", ("severity",), registry=registry)
    for severity in Severity:
        incidents.labels(severity.value).set(sum(i.severity is severity for i in ledger.incidents.values()))
    return generate_latest(registry)


class _TimedReader(io.RawIOBase):
    """Reads from a connection until a deadline, however often a few bytes arrive before it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raise TimeoutError at the deadline."""
        self._connection.settimeout(max(self.deadline - time.monotonic(), 0.001))
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    manifest: Manifest
    commands: Mapping[str, str]
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self._reader = _TimedReader(self.connection)
        self.rfile = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        self._reader.deadline = time.monotonic() + _HEAD_S
        super().handle_one_request()

    def do_GET(self) -> None:
        if self.path == "/health":
            self._respond(200, b'{"status": "healthy", "service": "alerts"}', "application/json")
        elif self.path == "/metrics":
            from prometheus_client import CONTENT_TYPE_LATEST

            if waits_for_a_sender(self.manifest):
                alert_spool.begin_sender(self.manifest.project)
            self._respond(200, metrics_text(self.manifest), CONTENT_TYPE_LATEST)
        else:
            self._refuse(404, "this server has /health, /metrics and POST /alertmanager")

    def do_POST(self) -> None:
        if self.path != "/alertmanager":
            self._refuse(404, "this server accepts POST only at /alertmanager")
            return
        length = self.headers.get("Content-Length")
        if length is None or "Transfer-Encoding" in self.headers:
            self._refuse(411, "send the body's length in Content-Length")
        elif not (length.isascii() and length.isdigit()):
            self._refuse(400, "Content-Length is not a number")
        elif len(length) > _LENGTH_DIGITS or int(length) > MAX_BODY_BYTES:
            self._refuse(413, f"send a body of at most {MAX_BODY_BYTES} bytes")
        else:
            self._accept(int(length))

    def _accept(self, length: int) -> None:
        self._reader.deadline = time.monotonic() + _BODY_S
        try:
            body = self.rfile.read(length)
            events = events_of(body, place=alert_spool.place_of(self.manifest.project), commands=self.commands)
        except TimeoutError:
            self._refuse(408, f"the body did not arrive within {_BODY_S:g} s")
            return
        except UntrustedError as error:
            self._refuse(400, f"not an Alertmanager webhook: {error}")
            return
        if any(event.resolved for event in events) and prometheus_is_silent(self.manifest):
            events = tuple(event for event in events if not event.resolved)
        if alert_spool.emit(self.manifest.project, *events):
            self._respond(200, b'{"accepted": %d}' % len(events), "application/json")
        else:  # Alertmanager retries
            self._refuse(503, "the alerts could neither be stored nor be passed to a sender")

    def _refuse(self, status: int, reason: str) -> None:
        self.close_connection = True
        self._respond(status, json.dumps({"detail": reason}).encode(), "application/json")

    def _respond(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name in the base class)
        """Log nothing: alerts have their own log, and probes need none."""

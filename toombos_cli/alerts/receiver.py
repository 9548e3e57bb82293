"""The alert receiver: accepts Alertmanager's webhook, and exports metrics about deliveries to Prometheus.

It writes to the spool and responds at once; the sender, a separate process, delivers.
"""

import hashlib
import json
import signal
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from toombos_cli import processes
from toombos_cli.alerts.ledger_file import read_ledger
from toombos_cli.base.errors import OperationError
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes import Reason, probe_http
from toombos_cli.project import alert_spool
from toombos_cli.project.alert_spool import AlertEvent
from toombos_cli.project.state import read_state

_MAX_BODY_BYTES = 4 * 1024 * 1024
_OUTCOMES = ("delivered", "gave-up")


def run_receiver(manifest: Manifest, service: Service) -> None:
    """Serve on the service's address until SIGTERM or SIGINT. Raise OperationError if the port is in use."""
    handler = type("Handler", (_Handler,), {"manifest": manifest})
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


def events_of(webhook: Mapping[str, Any], place: str = "") -> tuple[AlertEvent, ...]:
    """Return the alerts in Alertmanager's webhook body, version 4. `place` is added to each. Raise ValueError."""
    alerts = webhook.get("alerts")
    if not isinstance(alerts, list):
        raise ValueError("no list of alerts")  # noqa: TRY004  (a bad value in a body, not a bad argument)
    return tuple(_event(alert, place) for alert in alerts)


def _event(alert: Any, place: str) -> AlertEvent:
    try:
        labels: dict[str, str] = dict(alert["labels"])
        annotations: dict[str, str] = dict(alert.get("annotations") or {})
        resolved = alert["status"] == "resolved"
    except (TypeError, KeyError, ValueError):
        raise ValueError("an alert without labels or status") from None
    name = str(labels.get("alertname", "alert"))
    identity = hashlib.sha256(json.dumps(sorted(labels.items())).encode()).hexdigest()[:12]
    severity = labels.get("severity")
    details = [
        annotations.get("description"),
        *(_line(key, labels.get(key)) for key in ("service", "instance")),
        _line("since", _whole_seconds(str(alert.get("startsAt") or ""))),
        _line("on", place),
        _line("next", None if resolved else annotations.get("command")),
        _line("runbook", annotations.get("runbook")),
    ]
    return AlertEvent(
        key=f"{name}:{identity}",
        source="alertmanager",
        episode=str(alert.get("startsAt") or ""),
        severity=Severity(severity) if severity in set(Severity) else Severity.P2,
        title=f"{name}: {annotations['summary']}" if annotations.get("summary") else name,
        body="\n".join(detail for detail in details if detail),
        resolved=resolved,
    )


def _whole_seconds(moment: str) -> str:
    """Return Alertmanager's time without fractions of a second, unchanged if it does not parse."""
    try:
        return datetime.fromisoformat(moment).isoformat(sep=" ", timespec="seconds")
    except ValueError:
        return moment


def _line(name: str, value: str | None) -> str:
    return f"{name}: {value}" if value else ""


def waits_for_a_sender(manifest: Manifest) -> bool:
    """Return whether an incident is due to be closed or repeated although no alert arrived; checked on every scrape."""
    ledger, now = read_ledger(manifest.project), time.time()
    return bool(ledger.overdue(now) or ledger.untaken(now))


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
        deliveries.labels(*key.rsplit("/", 1)).inc(count)
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


class _Handler(BaseHTTPRequestHandler):
    manifest: Manifest
    protocol_version = "HTTP/1.1"
    timeout = 30  # free the thread of a client that goes silent

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
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MAX_BODY_BYTES:
            self._refuse(413 if length.isdigit() else 411, f"send a body of at most {_MAX_BODY_BYTES} bytes")
            return
        try:
            body = json.loads(self.rfile.read(int(length)))
            events = events_of(body if isinstance(body, dict) else {}, alert_spool.place_of(self.manifest.project))
        except ValueError as error:
            self._refuse(400, f"not an Alertmanager webhook: {error}")
            return
        if any(event.resolved for event in events) and self._prometheus_is_silent():
            events = tuple(event for event in events if not event.resolved)
        if alert_spool.emit(self.manifest.project, *events):
            self._respond(200, b'{"accepted": %d}' % len(events), "application/json")
        else:  # Alertmanager retries
            self._refuse(503, "the alerts could neither be stored nor be passed to a sender")

    def _prometheus_is_silent(self) -> bool:
        """Return whether Prometheus is silent: Alertmanager then resolves alerts just because nothing confirms them."""
        prometheus = self.manifest.services.get("prometheus")
        return prometheus is not None and probe_http(prometheus.url + prometheus.health).reason is not Reason.OK

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

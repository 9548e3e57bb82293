"""`toombos alert test` and `toombos alert status`."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

from toombos_cli.alerts.channels import AlertChannel, channels
from toombos_cli.alerts.ledger import Message
from toombos_cli.alerts.ledger_file import read_ledger, write_ledger
from toombos_cli.alerts.log import AlertLog
from toombos_cli.alerts.reports import AlertStatusReport, AlertTestReport, ChannelOutcome, FailingChannel, OpenIncident
from toombos_cli.alerts.sender import Delivery, deliver
from toombos_cli.base import locks
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.project.alert_spool import AlertDirectory

_LEDGER_S = 5.0


def run_test(manifest: Manifest, severity: Severity) -> AlertTestReport:
    """Send a test message at once through every channel that carries the severity. Raise ConfigurationError.

    The result counts like any delivery: it resolves or raises AlertsUndelivered.
    """
    ways = tuple(way for way in channels(manifest) if severity in way.severities)
    message = Message(
        kind="test", severity=severity, title="Test alert", body="Nothing is wrong: `toombos alert test`."
    )
    log = AlertLog(AlertDirectory(manifest.project).log)
    attempts = manifest.alerts.delivery.attempts

    def test(way: AlertChannel) -> tuple[Delivery, ChannelOutcome]:
        started = time.monotonic()
        delivery = deliver(way, manifest, message, log, attempts=attempts)
        outcome = ChannelOutcome(
            channel=way.name,
            delivered=delivery.delivered,
            attempts=delivery.attempts,
            duration_s=round(time.monotonic() - started, 3),
            reason=delivery.reason,
        )
        return delivery, outcome

    with ThreadPoolExecutor(max(1, len(ways))) as pool:
        tested = tuple(pool.map(test, ways))
    _count(manifest, tuple(delivery for delivery, _ in tested))
    return AlertTestReport(severity=severity.value, channels=tuple(outcome for _, outcome in tested))


def _count(manifest: Manifest, deliveries: tuple[Delivery, ...]) -> None:
    """Record the deliveries in the ledger, unless it is locked or not writable: the test result matters more."""
    directory = AlertDirectory(manifest.project)
    with contextlib.suppress(OSError), locks.hold(directory.lock, patience_s=_LEDGER_S):
        ledger = read_ledger(manifest.project)
        for delivery in deliveries:
            ledger.count(delivery.channel, delivered=delivery.delivered, now=time.time())
        write_ledger(directory, ledger)


def run_status(manifest: Manifest) -> AlertStatusReport:
    """Return the open incidents, worst first, and the deliveries by `channel/outcome`. Raise OperationError."""
    ledger = read_ledger(manifest.project, strict=True)
    incidents = tuple(
        OpenIncident(
            key=key,
            severity=incident.severity.value,
            title=incident.title,
            first_at=incident.first_at,
            last_at=incident.last_at,
            told_at=incident.told_at or None,
            untaken_at=incident.untaken_at or None,
            count=incident.count,
        )
        for key, incident in sorted(ledger.incidents.items(), key=lambda item: (item[1].severity, item[1].first_at))
    )
    return AlertStatusReport(
        incidents=incidents,
        withheld=ledger.withheld.count,
        waiting=len(ledger.outbox),
        deliveries=ledger.deliveries,
        failing=tuple(FailingChannel(channel=name, since=since) for name, since in sorted(ledger.failing.items())),
    )

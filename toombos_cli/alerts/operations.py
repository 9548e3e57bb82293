"""`toombos alert test` and `toombos alert status`."""

import time
from concurrent.futures import ThreadPoolExecutor

from toombos_cli.alert_events import AlertDirectory
from toombos_cli.alerts.channels import Channel, channels
from toombos_cli.alerts.ledger import Message
from toombos_cli.alerts.log import AlertLog
from toombos_cli.alerts.reports import AlertStatusReport, AlertTestReport, ChannelOutcome, OpenIncident
from toombos_cli.alerts.sender import deliver, read_ledger
from toombos_cli.manifest.alerts import Severity
from toombos_cli.manifest.model import Manifest


def run_test(manifest: Manifest, severity: Severity) -> AlertTestReport:
    """Sends a test message at once through every channel that carries the severity. Raises ConfigurationError."""
    ways = tuple(way for way in channels(manifest) if severity in way.severities)
    message = Message(
        kind="test", severity=severity, title="Test alert", body="Nothing is wrong: `toombos alert test`."
    )
    log = AlertLog(AlertDirectory(manifest.project).log)

    def test(way: Channel) -> ChannelOutcome:
        started = time.monotonic()
        (delivery,) = deliver(manifest, (way,), (message,), log)
        return ChannelOutcome(
            channel=way.name,
            delivered=delivery.delivered,
            attempts=delivery.attempts,
            duration_s=round(time.monotonic() - started, 3),
            reason=delivery.reason,
        )

    with ThreadPoolExecutor(max(1, len(ways))) as pool:
        return AlertTestReport(severity=severity.value, channels=tuple(pool.map(test, ways)))


def run_status(manifest: Manifest) -> AlertStatusReport:
    """The open incidents, worst first, and the deliveries by `channel/outcome`."""
    ledger = read_ledger(manifest.project)
    incidents = tuple(
        OpenIncident(
            key=key,
            severity=incident.severity.value,
            title=incident.title,
            first_at=incident.first_at,
            last_at=incident.last_at,
            told_at=incident.told_at or None,
            count=incident.count,
        )
        for key, incident in sorted(ledger.incidents.items(), key=lambda item: (item[1].severity, item[1].first_at))
    )
    return AlertStatusReport(
        incidents=incidents,
        withheld=ledger.withheld.count,
        waiting=len(ledger.outbox),
        deliveries=ledger.deliveries,
    )

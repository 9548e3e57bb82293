"""Decides which alerts become messages: a problem once, again if it lasts or worsens, never more than the limit.

Uses no clock and no files: `now` is seconds since the epoch, and the sender stores the ledger between its runs.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from toombos_cli.base.text import duration
from toombos_cli.base.untrusted import EpochSeconds
from toombos_cli.manifest.tables.alerts import CRITICAL, REPORTED_EVERY_S, Alerts, Severity
from toombos_cli.project.alert_spool import AlertEvent

_HOUR_S = 3600.0
_QUIET_S, _LATEST_S = 5.0, 60.0
_SUMMARY_PAUSE_S = 900.0
_STORM = 10
_REMEMBERED_S = 7 * 86400.0
_SUMMARY_TITLES = 5
_SILENT_S = 4.0 * REPORTED_EVERY_S


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A notification. For a problem, also its key and the time and severity of the previous notification.

    `command` is the toombos command to run next, without the program's name.
    """

    kind: Literal["problem", "recovery", "summary", "test"]
    severity: Severity
    title: str
    body: str = ""
    command: tuple[str, ...] = ()
    key: str = ""
    before: tuple[float, Severity | None] = (0.0, None)


class Incident(msgspec.Struct, kw_only=True):
    """A problem that has not ended. `told_at` is 0 until a notification is sent: not held back, and delivered.

    `source` and `episode` come from its events. `untaken_at` is when every channel refused its last message, else 0.
    """

    severity: Severity
    title: str
    body: str = ""
    source: str = ""
    episode: str = ""
    first_at: EpochSeconds
    last_at: EpochSeconds
    told_at: EpochSeconds = 0.0
    told_severity: Severity | None = None
    untaken_at: EpochSeconds = 0.0
    count: int = 1


class Withheld(msgspec.Struct, kw_only=True):
    """What the limit has held back since the last summary."""

    count: int = 0
    since: EpochSeconds = 0.0
    last_at: EpochSeconds = 0.0
    by_severity: dict[Severity, int] = {}
    worst: list[tuple[Severity, str]] = []


class Ledger(msgspec.Struct, kw_only=True):
    """Everything that must outlive one sender.

    `outbox` holds messages whose delivery has not ended; `deliveries` counts by `channel/outcome`; `failing` maps each
    channel that did not take its last message to the time since when.
    """

    incidents: dict[str, Incident] = {}
    told: list[tuple[EpochSeconds, Severity]] = []
    withheld: Withheld = msgspec.field(default_factory=Withheld)
    summarised_at: EpochSeconds = 0.0
    outbox: list[Message] = []
    deliveries: dict[str, int] = {}
    failing: dict[str, EpochSeconds] = {}

    def judge(self, events: Iterable[AlertEvent], now: float, alerts: Alerts) -> tuple[Message, ...]:
        """Return the messages to send for these events, in their order."""
        self.told = [(at, severity) for at, severity in self.told if now - at < _HOUR_S]
        self.incidents = {k: i for k, i in self.incidents.items() if now - i.last_at < _REMEMBERED_S}
        lost = [self._lost(key, now, alerts) for key in self.overdue(now)]
        again = [self._tell(key, self.incidents[key], now, alerts) for key in self.untaken(now)]
        messages = [self._recovery(e, now, alerts) if e.resolved else self._problem(e, now, alerts) for e in events]
        return tuple(message for message in (*lost, *again, *messages) if message is not None)

    def overdue(self, now: float) -> tuple[str, ...]:
        """Return the problems that Alertmanager stopped repeating: a restart made it forget them before they ended."""
        return tuple(k for k, i in self.incidents.items() if i.source == "alertmanager" and now - i.last_at > _SILENT_S)

    def untaken(self, now: float) -> tuple[str, ...]:
        """Return the problems whose last message no channel took and that are due to be sent again."""
        return tuple(k for k, i in self.incidents.items() if i.untaken_at and now - i.untaken_at >= REPORTED_EVERY_S)

    def undelivered(self, message: Message, now: float) -> None:
        """Note that no channel took the message: the problem is sent again after some minutes."""
        incident = self.incidents.get(message.key) if message.kind == "problem" else None
        if incident is not None:
            if (sent := (incident.told_at, message.severity)) in self.told:
                self.told.remove(sent)  # nobody received it, so it does not count against the limit
            incident.told_at, incident.told_severity = message.before
            incident.untaken_at = now

    def summary(self, now: float) -> Message | None:
        """Return one message about everything held back, once the storm has passed or has lasted; else None."""
        due_at = self._summary_due_at()
        if due_at is None or now < due_at:
            return None
        counts = dict(self.withheld.by_severity)
        critical = sum(counts.get(severity, 0) for severity in CRITICAL)
        critical += sum(severity in CRITICAL for _, severity in self.told)
        listed = ", ".join(f"{counts[severity]} {severity}" for severity in Severity if severity in counts)
        message = Message(
            kind="summary",
            severity=Severity.P0 if critical > _STORM else min(counts),
            title=f"Alert storm: {self.withheld.count} more alerts were held back ({listed})",
            body="\n".join(
                (
                    *(f"{severity}: {title}" for severity, title in self.withheld.worst),
                    "full list: logs/alerts.log",
                )
            ),
            command=("alert", "status"),
        )
        self.withheld = Withheld()
        self.summarised_at = now
        return message

    def summary_in_s(self, now: float) -> float | None:
        """Return the seconds until a summary is due, or None if nothing was held back."""
        due_at = self._summary_due_at()
        return None if due_at is None else max(0.0, due_at - now)

    def count(self, channel: str, *, delivered: bool, now: float) -> None:
        """Record the result of one delivery."""
        key = f"{channel}/{'delivered' if delivered else 'gave-up'}"
        self.deliveries[key] = self.deliveries.get(key, 0) + 1
        if delivered:
            self.failing.pop(channel, None)
        else:
            self.failing.setdefault(channel, now)

    def _problem(self, event: AlertEvent, now: float, alerts: Alerts) -> Message | None:
        incident = self.incidents.get(event.key)
        if incident is None or incident.episode != event.episode:
            incident = Incident(
                severity=event.severity,
                title=event.title,
                body=event.body,
                source=event.source,
                episode=event.episode,
                first_at=event.at,
                last_at=now,
            )
            self.incidents[event.key] = incident
            return self._tell(event.key, incident, now, alerts)
        told, worse = incident.told_severity, event.severity < (incident.told_severity or incident.severity)
        incident.count += 1
        incident.last_at, incident.severity = now, event.severity
        incident.title, incident.body = event.title, event.body
        if not worse and (incident.untaken_at or (told is not None and now - incident.told_at < alerts.repeat_after_s)):
            return None
        return self._tell(event.key, incident, now, alerts)

    def _tell(self, key: str, incident: Incident, now: float, alerts: Alerts) -> Message | None:
        lasting = f" (for {duration(now - incident.first_at)})" if incident.count > 1 or incident.untaken_at else ""
        message = Message(
            kind="problem",
            severity=incident.severity,
            title=incident.title + lasting,
            body=incident.body,
            key=key,
            before=(incident.told_at, incident.told_severity),
        )
        incident.untaken_at = 0.0
        if not self._within_limit(message, now, alerts):
            return None
        incident.told_at, incident.told_severity = now, incident.severity
        return message

    def _recovery(self, event: AlertEvent, now: float, alerts: Alerts) -> Message | None:
        incident = self.incidents.pop(event.key, None)
        if incident is None or (incident.told_severity is None and not incident.untaken_at):  # never sent
            return None
        message = Message(
            kind="recovery",
            severity=incident.told_severity or incident.severity,
            title=f"Recovered: {incident.title} (after {duration(now - incident.first_at)})",
            body=event.body,
        )
        return message if self._within_limit(message, now, alerts) else None

    def _lost(self, key: str, now: float, alerts: Alerts) -> Message | None:
        incident = self.incidents.pop(key)
        if incident.told_severity is None:
            return None
        message = Message(
            kind="recovery",
            severity=incident.told_severity,
            title=f"No longer reported: {incident.title} (last {duration(now - incident.last_at)} ago)",
            body="Monitoring was restarted meanwhile, so its end was not seen.",
            command=("health",),
        )
        return message if self._within_limit(message, now, alerts) else None

    def _within_limit(self, message: Message, now: float, alerts: Alerts) -> bool:
        """Count only messages that are at least as urgent, so that lesser ones never hold back a P0."""
        if sum(severity <= message.severity for _, severity in self.told) < alerts.max_per_hour:
            self.told.append((now, message.severity))
            return True
        held = self.withheld
        held.since = held.since or now
        held.worst = sorted({*held.worst, (message.severity, message.title)})[:_SUMMARY_TITLES]
        held.count += 1
        held.last_at = now
        held.by_severity[message.severity] = held.by_severity.get(message.severity, 0) + 1
        return False

    def _summary_due_at(self) -> float | None:
        if not self.withheld.count:
            return None
        storm_over = min(self.withheld.last_at + _QUIET_S, self.withheld.since + _LATEST_S)
        return max(storm_over, self.summarised_at + _SUMMARY_PAUSE_S if self.summarised_at else 0.0)

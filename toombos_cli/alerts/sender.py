"""The sender: takes the spool, keeps the ledger, delivers with bounded retries, and leaves when all is quiet."""

import fcntl
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from toombos_cli.alert_events import AlertDirectory, AlertEvent
from toombos_cli.alerts.channels import Channel, channels
from toombos_cli.alerts.ledger import Ledger, Message
from toombos_cli.alerts.log import AlertLog
from toombos_cli.errors import ConfigurationError
from toombos_cli.manifest.model import Manifest
from toombos_cli.private_files import make_private_directory, take_lines, write_private

_LINGER_S = 0.3
_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How one message fared on one channel; `reason` says why it failed, "" when it arrived."""

    channel: str
    message: Message
    delivered: bool
    attempts: int
    reason: str


def run_sender(manifest: Manifest) -> bool:
    """Delivers what was raised until nothing is left to say; False when another sender is at work already.

    Raises OSError when `run/alerts` cannot be used.
    """
    directory = AlertDirectory(manifest.project)
    make_private_directory(directory.path)
    worked = False
    while not worked or directory.spool.exists():  # what came when this one had stopped looking, but held the lock
        lock = os.open(directory.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _Sender(manifest, directory).run()
        except BlockingIOError:
            return worked
        finally:
            os.close(lock)
        worked = True
    return True


def read_ledger(project: Path) -> Ledger:
    """The ledger as last written; an empty one when there is none that can be read."""
    try:
        return msgspec.json.decode(AlertDirectory(project).ledger.read_bytes(), type=Ledger)
    except (OSError, msgspec.DecodeError):
        return Ledger()


def deliver(
    manifest: Manifest, ways: Iterable[Channel], messages: tuple[Message, ...], log: AlertLog
) -> tuple[Delivery, ...]:
    """Sends each message through every channel that carries its severity, channels side by side."""
    ways = tuple(ways)
    if not ways or not messages:
        return ()
    with ThreadPoolExecutor(len(ways), thread_name_prefix="alert channel") as pool:
        results = pool.map(lambda way: _through(way, manifest, messages, log), ways)
        return tuple(delivery for result in results for delivery in result)


def _through(way: Channel, manifest: Manifest, messages: tuple[Message, ...], log: AlertLog) -> list[Delivery]:
    """One channel's messages in order. After one was given up, the rest of them get a single attempt each."""
    patience = manifest.alerts.delivery
    deliveries: list[Delivery] = []
    for message in messages:
        if message.severity not in way.severities:
            continue
        attempts = patience.attempts if all(earlier.delivered for earlier in deliveries) else 1
        deliveries.append(_persist(way, manifest.name, message, attempts, patience.first_pause_s))
        _note(deliveries[-1], log)
    return deliveries


def _persist(way: Channel, system: str, message: Message, attempts: int, pause_s: float) -> Delivery:
    reason: str | None = None
    for number in range(1, attempts + 1):
        reason = way.attempt(system, message)
        if reason is None:
            return Delivery(channel=way.name, message=message, delivered=True, attempts=number, reason="")
        if number < attempts:
            time.sleep(pause_s * 2 ** (number - 1))
    return Delivery(channel=way.name, message=message, delivered=False, attempts=attempts, reason=reason or "")


def _note(delivery: Delivery, log: AlertLog) -> None:
    outcome = "delivered" if delivery.delivered else "gave up"
    log.write(
        "INFO" if delivery.delivered else "ERROR",
        f"{outcome}: {delivery.message.title}",
        channel=delivery.channel,
        severity=delivery.message.severity.value,
        attempts=delivery.attempts,
        reason=delivery.reason,
    )


class _Sender:
    def __init__(self, manifest: Manifest, directory: AlertDirectory) -> None:
        self._manifest = manifest
        self._directory = directory
        self._log = AlertLog(directory.log)
        self._ledger = read_ledger(manifest.project)
        try:
            self._channels = channels(manifest)
        except ConfigurationError as error:
            self._channels = ()
            for problem in error.problems:
                self._log.write("ERROR", f"alerts are not sent: {problem.where}: {problem.message}", hint=problem.hint)

    def run(self) -> None:
        quiet_since = time.monotonic()
        while True:
            if self._work():
                quiet_since = time.monotonic()
            summary_in_s = self._ledger.summary_in_s(time.time())
            if summary_in_s is None and time.monotonic() - quiet_since >= _LINGER_S:
                return
            time.sleep(_POLL_S)

    def _work(self) -> bool:
        """One round; whether there was anything to do.

        What was taken from the spool is dropped when the ledger holds what comes of it, and a message leaves the
        ledger when its delivery has ended: a sender that dies in between repeats, it does not forget.
        """
        events = self._take()
        now = time.time()
        self._ledger.outbox += self._ledger.judge(events, now, self._manifest.alerts)
        summary = self._ledger.summary(now)
        if summary is not None:
            self._ledger.outbox.append(summary)
        if not events and not self._ledger.outbox:
            return False
        self._save()
        self._directory.taken.unlink(missing_ok=True)
        for delivery in deliver(self._manifest, self._channels, tuple(self._ledger.outbox), self._log):
            self._ledger.count(delivery.channel, "delivered" if delivery.delivered else "gave-up")
        self._ledger.outbox.clear()
        self._save()
        return True

    def _take(self) -> tuple[AlertEvent, ...]:
        events = []
        for line in take_lines(self._directory.spool, self._directory.taken):
            try:
                event = msgspec.json.decode(line, type=AlertEvent)
            except msgspec.DecodeError:
                self._log.write("WARNING", "a line of the spool is no alert and is dropped")
                continue
            level = "INFO" if event.resolved else "WARNING"
            what = "recovered" if event.resolved else "raised"
            self._log.write(
                level, f"{what}: {event.title}", key=event.key, severity=event.severity.value, source=event.source
            )
            events.append(event)
        return tuple(events)

    def _save(self) -> None:
        write_private(self._directory.ledger, msgspec.json.encode(self._ledger))

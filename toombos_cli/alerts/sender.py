"""The sender: reads the spool, keeps the ledger, delivers with bounded retries, and ends when nothing is left to do."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import msgspec

from toombos_cli.alerts.channels import AlertChannel, usable_channels
from toombos_cli.alerts.ledger import Message
from toombos_cli.alerts.ledger_file import read_ledger, write_ledger
from toombos_cli.alerts.log import AlertLog
from toombos_cli.base import locks
from toombos_cli.base.directories import make_private_directory
from toombos_cli.base.files import take_lines
from toombos_cli.base.fixes import toombos
from toombos_cli.base.own_records import decode_own
from toombos_cli.base.redaction import Redactor
from toombos_cli.base.untrusted import UntrustedError
from toombos_cli.manifest.model import Manifest
from toombos_cli.project.alert_spool import AlertDirectory, AlertEvent
from toombos_cli.project.mode import mode_now
from toombos_cli.settings.env_files import read_env_files
from toombos_cli.settings.known_secrets import known_secrets

_LINGER_S = 0.3
_POLL_S = 0.1
_LOCK_S = 300.0  # for a sender with lines of its own; longer than the deliveries of a storm


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The result of one message on one channel; `reason` says why it failed, "" if it arrived."""

    channel: str
    message: Message
    delivered: bool
    attempts: int
    reason: str


def run_sender(manifest: Manifest, lines: Sequence[bytes] = ()) -> bool:
    """Deliver everything that was raised, then end. Return False if another sender is already running.

    `lines` are events that could not be written to the spool. Raise OSError if `run/alerts` is unusable.
    """
    directory = AlertDirectory(manifest.project)
    make_private_directory(directory.path)
    worked = False
    while not worked or directory.spool.exists():  # what came when this one had stopped looking, but held the lock
        lock = locks.take(directory.lock, patience_s=_LOCK_S if lines else 0.0)
        if lock is None:
            return worked
        try:
            with _Sender(manifest, directory) as sender:
                sender.run(lines)
        finally:
            os.close(lock)
        lines = ()
        worked = True
    return True


def deliver(way: AlertChannel, manifest: Manifest, message: Message, log: AlertLog, *, attempts: int) -> Delivery:
    """Send one message through one channel, with up to `attempts` tries, and log the result."""
    pause_s, reason = manifest.alerts.delivery.first_pause_s, ""
    next_line = f"\nnext: {toombos(manifest.project, *message.command)}" if message.command else ""
    sent = msgspec.structs.replace(message, body=message.body + next_line)
    for number in range(1, attempts + 1):
        refused = way.attempt(manifest.name, sent)
        if refused is None:
            delivery = Delivery(channel=way.name, message=message, delivered=True, attempts=number, reason="")
            break
        reason = refused
        if number < attempts:
            time.sleep(pause_s * 2 ** (number - 1))
    else:
        delivery = Delivery(channel=way.name, message=message, delivered=False, attempts=attempts, reason=reason)
    log.write(
        "INFO" if delivery.delivered else "ERROR",
        f"{'delivered' if delivery.delivered else 'gave up'}: {message.title}",
        channel=delivery.channel,
        severity=message.severity.value,
        attempts=delivery.attempts,
        reason=delivery.reason,
    )
    return delivery


@dataclass(slots=True)
class _Lane:
    """The messages of one channel, one after the other: a channel that hangs does not delay the others."""

    way: AlertChannel
    pool: ThreadPoolExecutor
    gave_up: bool = False

    def deliver(self, manifest: Manifest, message: Message, log: AlertLog) -> Delivery:
        """Send a message; after one was given up, try each further one only once until one arrives."""
        attempts = 1 if self.gave_up else manifest.alerts.delivery.attempts
        delivery = deliver(self.way, manifest, message, log, attempts=attempts)
        self.gave_up = not delivery.delivered
        return delivery


class _Sender:
    def __init__(self, manifest: Manifest, directory: AlertDirectory) -> None:
        self._manifest = manifest
        self._directory = directory
        self._log = AlertLog(directory.log)
        self._ledger = read_ledger(manifest.project)
        env_files, mode = read_env_files(manifest), mode_now(manifest)
        self._secrets = tuple(known_secrets(manifest, env_files, mode=mode, environ=os.environ))
        ways, self._unusable = usable_channels(manifest)
        self._lanes = tuple(_Lane(way, ThreadPoolExecutor(1, f"alert channel {way.name}")) for way in ways)
        self._under_way: list[tuple[Message, list[Future[Delivery]]]] = []
        for problem in self._unusable.values():
            self._log.write("ERROR", f"alerts are not sent: {problem.where}: {problem.message}", hint=problem.hint)

    def __enter__(self) -> "_Sender":
        return self

    def __exit__(self, *_: object) -> None:
        for lane in self._lanes:
            lane.pool.shutdown(wait=False, cancel_futures=True)

    def run(self, lines: Sequence[bytes]) -> None:
        """Work until no delivery is running and no event arrives for a moment; `lines` are events outside the spool."""
        self._send(tuple(self._ledger.outbox))  # left by a sender that died
        self._work(self._events(lines) + self._take())
        quiet_since = time.monotonic()
        while True:
            if self._work(self._take()) or self._under_way:
                quiet_since = time.monotonic()
            summary_in_s = self._ledger.summary_in_s(time.time())
            if summary_in_s is None and time.monotonic() - quiet_since >= _LINGER_S:
                return
            time.sleep(_POLL_S)

    def _work(self, events: tuple[AlertEvent, ...]) -> bool:
        """Do one round; return whether there was anything to do.

        Events leave the spool only once the ledger holds their messages, and messages leave the ledger only once their
        deliveries have ended: a sender that dies in between repeats a message rather than lose one.
        """
        now = time.time()
        ended = self._collect(now)
        due = self._ledger.overdue(now) or self._ledger.untaken(now)
        messages = self._ledger.judge(events, now, self._manifest.alerts)
        if (summary := self._ledger.summary(now)) is not None:
            messages += (summary,)
        if not (ended or due or events or messages):
            return False
        self._ledger.outbox += messages
        self._save()
        self._directory.taken.unlink(missing_ok=True)
        self._send(messages)
        return True

    def _send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            for name in self._unusable:
                if message.severity in self._manifest.alerts.channels[name].severities:
                    self._ledger.count(name, delivered=False, now=time.time())
            futures = [
                lane.pool.submit(lane.deliver, self._manifest, message, self._log)
                for lane in self._lanes
                if message.severity in lane.way.severities
            ]
            self._under_way.append((message, futures))

    def _collect(self, now: float) -> bool:
        """Remove the messages whose deliveries have ended from the outbox; return whether there were any."""
        over = [entry for entry in self._under_way if all(future.done() for future in entry[1])]
        for message, futures in over:
            deliveries = [future.result() for future in futures]
            for delivery in deliveries:
                self._ledger.count(delivery.channel, delivered=delivery.delivered, now=now)
            if self._is_carried(message) and not any(delivery.delivered for delivery in deliveries):
                self._ledger.undelivered(message, now)
            self._ledger.outbox.remove(message)
        self._under_way = [entry for entry in self._under_way if entry not in over]
        return bool(over)

    def _is_carried(self, message: Message) -> bool:
        """Return whether a channel, usable or not, carries this severity."""
        return any(message.severity in channel.severities for channel in self._manifest.alerts.channels.values())

    def _take(self) -> tuple[AlertEvent, ...]:
        return self._events(take_lines(self._directory.spool, self._directory.taken))

    def _events(self, lines: Sequence[bytes]) -> tuple[AlertEvent, ...]:
        events = []
        for line in lines:
            try:
                event: AlertEvent = decode_own(line, AlertEvent)
            except UntrustedError:
                self._log.write("WARNING", "a line of the spool is not an alert and is dropped")
                continue
            event = Redactor(self._secrets).value(event)  # a new one: a key must read the same in every sender
            level = "INFO" if event.resolved else "WARNING"
            what = "recovered" if event.resolved else "raised"
            self._log.write(
                level, f"{what}: {event.title}", key=event.key, severity=event.severity.value, source=event.source
            )
            events.append(event)
        return tuple(events)

    def _save(self) -> None:
        """Save the ledger. If it cannot be saved, keep delivering from memory."""
        known = set(self._manifest.alerts.channels)
        self._ledger.failing = {name: since for name, since in self._ledger.failing.items() if name in known}
        try:
            write_ledger(self._directory, self._ledger)
        except OSError as error:
            self._log.write("ERROR", f"the alert ledger cannot be written: {error.strerror}")

"""Raising an alert: a line appended to the spool, and a sender process that is begun when none is at work.

That is all that the raising program waits for. What is told to whom, and how often, is decided by the sender
(`toombos_cli.alerts`), so a receiver that is down or slow can hold up nobody.
"""

import os
import subprocess
import time
from pathlib import Path

import msgspec

from toombos_cli import processes
from toombos_cli.manifest.alerts import Severity
from toombos_cli.own_command import own_argv
from toombos_cli.private_files import append_line


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something went wrong, or is well again.

    `key` is the same for every repetition and for the recovery: `crash-loop:crm`. `at` is seconds since the epoch.
    """

    key: str
    source: str
    severity: Severity
    title: str
    body: str = ""
    resolved: bool = False
    at: float = msgspec.field(default_factory=time.time)


class AlertDirectory:
    """The paths of the alerts below a project's `run/`."""

    def __init__(self, project: Path) -> None:
        self.path = project / "run" / "alerts"
        self.spool = self.path / "spool.jsonl"
        self.taken = self.path / "spool.taken.jsonl"
        self.ledger = self.path / "ledger.json"
        self.lock = self.path / "sender.lock"
        self.log = project / "logs" / "alerts.log"


def emit(project: Path, *events: AlertEvent, send: bool = True) -> None:
    """Hands the events over: an append and, with `send`, the start of a sender. Never raises, never waits for one.

    An alert that cannot even be written down (disk full) is lost: whoever raised it has reported it already.
    """
    try:
        for event in events:
            append_line(AlertDirectory(project).spool, msgspec.json.encode(event))
        if send and events:
            begin_sender(project)
    except OSError:
        return


def begin_sender(project: Path) -> None:
    """Starts a detached sender; it leaves at once when another one is at work. Raises OSError."""
    _begun[:] = [sender for sender in _begun if sender.poll() is None]
    _begun.append(
        subprocess.Popen(
            own_argv(project, "alert", "deliver"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=project,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name != processes.TAG},
        )
    )


def open_keys(project: Path) -> frozenset[str]:
    """The keys of the problems that the sender knows and that have not ended."""
    try:
        return frozenset(msgspec.json.decode(AlertDirectory(project).ledger.read_bytes(), type=_Open).incidents)
    except (OSError, msgspec.DecodeError):
        return frozenset()


class _Open(msgspec.Struct):
    incidents: dict[str, msgspec.Raw] = {}


def sender_pids() -> frozenset[int]:
    """The senders that this process began and that have not ended; they outlive it."""
    return frozenset(sender.pid for sender in _begun)


_begun: list["subprocess.Popen[bytes]"] = []  # kept until they end, so that they are waited for

"""Raises an alert: appends a line to the spool and starts a sender process unless one is running.

The program that raises it waits for nothing else. The sender (`toombos_cli.alerts`) decides who is notified of what,
and how often, so a receiver that is down or slow delays nobody.
"""

import contextlib
import errno
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from toombos_cli import processes
from toombos_cli.base.errors import ConfigurationError
from toombos_cli.base.files import append_line
from toombos_cli.base.own_records import encode_own, read_own
from toombos_cli.base.text import printable
from toombos_cli.base.untrusted import EpochSeconds, UntrustedError
from toombos_cli.manifest import ALERTS_LOG
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.project.commands import own_argv

_PIPE_BYTES = 60_000
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A problem, or its recovery.

    `key` is the same for every repetition and for the recovery: `crash-loop:crm`. `at` is seconds since the epoch.
    `episode`, if the source knows it, distinguishes a repetition from a problem that ended unnoticed and recurred.
    """

    key: str
    source: str
    severity: Severity
    title: str
    body: str = ""
    resolved: bool = False
    episode: str = ""
    at: EpochSeconds = msgspec.field(default_factory=time.time)


class AlertDirectory:
    """The paths of the alerts below a project's `run/`."""

    def __init__(self, project: Path) -> None:
        self.path = project / "run" / "alerts"
        self.spool = self.path / "spool.jsonl"
        self.taken = self.path / "spool.taken.jsonl"
        self.ledger = self.path / "ledger.json"
        self.lock = self.path / "sender.lock"
        self.log = project / ALERTS_LOG


def emit(project: Path, *events: AlertEvent, send: bool = True) -> bool:
    """Append the events to the spool and, with `send`, start a sender. Never raises, never waits for the sender.

    Events that cannot be written go to the sender's stdin: it can work on a full disk. Return False if no sender
    could be started, or if this user may not write the spool: the sender then could hardly work either.
    """
    unwritten, safe = [], True
    for event in events:
        line = encode_own(event)
        try:
            append_line(AlertDirectory(project).spool, line)
        except OSError as error:
            unwritten.append(line)
            safe = safe and error.errno in _FULL
    if not events or not (send or unwritten):
        return True
    try:
        begin_sender(project, unwritten)
    except OSError:
        return False
    return safe


def begin_sender(project: Path, unwritten: Sequence[bytes] = ()) -> None:
    """Start a detached sender; it exits at once if another one is running, unless it is given lines itself.

    Raises OSError.
    """
    _begun[:] = [sender for sender in _begun if sender.poll() is None]
    sender = subprocess.Popen(
        own_argv(project, "alert", "deliver", *(("--stdin",) if unwritten else ())),
        stdin=subprocess.PIPE if unwritten else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=project,
        start_new_session=True,
        env=_sender_environment(project),
    )
    _begun.append(sender)
    if sender.stdin is not None:
        with sender.stdin as pipe:
            pipe.write(_whole_lines(unwritten))


def _sender_environment(project: Path) -> dict[str, str]:
    """Return the environment without the variables that a supervised service got from env files at its start.

    They would override a secret that was changed in such a file since.
    """
    dropped = {processes.TAG}
    if processes.TAG in os.environ:
        from toombos_cli.manifest.reading.loader import load_manifest  # a supervisor without an alert needs neither
        from toombos_cli.settings.env_files import read_env_files

        with contextlib.suppress(ConfigurationError):
            dropped.update(name for file in read_env_files(load_manifest(project)) for name in file.values)
    return {name: value for name, value in os.environ.items() if name not in dropped}


def _whole_lines(lines: Sequence[bytes]) -> bytes:
    """Return as many lines as fit into a pipe, so that writing them never blocks."""
    kept = b""
    for line in lines:
        if len(kept) + len(line) < _PIPE_BYTES:
            kept += line + b"\n"
    return kept


def place_of(project: Path) -> str:
    """Return where an alert comes from, for people with several machines: host and project directory."""
    return printable(f"{socket.gethostname()}, {project}")


def open_keys(project: Path) -> frozenset[str]:
    """Return the keys of the open problems that the sender knows."""
    try:
        return frozenset(read_own(AlertDirectory(project).ledger, _Open).incidents)
    except (OSError, UntrustedError):
        return frozenset()


class _Open(msgspec.Struct):
    incidents: dict[str, msgspec.Raw] = {}


def sender_pids() -> frozenset[int]:
    """Return the pids of the running senders that this process started; they outlive it."""
    return frozenset(sender.pid for sender in _begun)


_begun: list["subprocess.Popen[bytes]"] = []  # kept until they end, so that they are reaped

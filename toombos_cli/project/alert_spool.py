"""Raising an alert: a line appended to the spool, and a sender process that is begun when none is at work.

That is all that the raising program waits for. What is told to whom, and how often, is decided by the sender
(`toombos_cli.alerts`), so a receiver that is down or slow can hold up nobody.
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
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.project.commands import own_argv

_PIPE_BYTES = 60_000
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something went wrong, or is well again.

    `key` is the same for every repetition and for the recovery: `crash-loop:crm`. `at` is seconds since the epoch.
    `episode`, where the source knows it, tells repetitions from a problem that ended unnoticed and began again.
    """

    key: str
    source: str
    severity: Severity
    title: str
    body: str = ""
    resolved: bool = False
    episode: str = ""
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


def emit(project: Path, *events: AlertEvent, send: bool = True) -> bool:
    """Hands the events over: an append and, with `send`, the start of a sender. Never raises, never waits for one.

    What cannot be written down is handed to the sender itself, which can do its work on a full disk. False when it
    could not be begun, or where this user may not write it could hardly do its work either.
    """
    unwritten, safe = [], True
    for event in events:
        line = msgspec.json.encode(event)
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
    """Starts a detached sender; it leaves at once when another one is at work, unless it was given lines itself.

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
    """The environment, without what a supervised service was given of `.env` when it was started.

    Left in, it would beat a secret that was changed in `.env` since.
    """
    dropped = {processes.TAG}
    if processes.TAG in os.environ:
        from toombos_cli.settings.env_file import read_env_file  # a supervisor without an alert does without

        with contextlib.suppress(ConfigurationError):
            dropped.update(read_env_file(project).values)
    return {name: value for name, value in os.environ.items() if name not in dropped}


def _whole_lines(lines: Sequence[bytes]) -> bytes:
    """As many lines as a pipe holds: nobody waits until they are read."""
    kept = b""
    for line in lines:
        if len(kept) + len(line) < _PIPE_BYTES:
            kept += line + b"\n"
    return kept


def place_of(project: Path) -> str:
    """Where an alert comes from, for people who look after several machines: host and project directory."""
    return f"{socket.gethostname()}, {project}"


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

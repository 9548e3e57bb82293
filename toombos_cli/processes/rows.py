"""The values that describe a process."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

_SHOWN_CHARS = 200


class ProcessIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """One process, uniquely: pids are reused, and start ticks count from one boot in one pid namespace."""

    boot_id: str
    pid_namespace: int
    pid: int
    start_ticks: int


class ProcessRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the process table. `cpu_s` is user plus system time since its start."""

    pid: int
    parent: int
    group: int
    session: int
    start_ticks: int
    cpu_s: float
    rss_bytes: int
    zombie: bool
    stopped: bool = False
    """Suspended by a signal (SIGSTOP, Ctrl-Z) or a debugger: the process exists and does nothing."""


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """One listening TCP socket. `pid` is None if it belongs to another user's process."""

    host: str
    port: int
    pid: int | None
    uid: int | None = None
    """The user who opened it, or None if that is unknown."""


class FarEnd(NamedTuple):
    """The far end of a connected socket; `inode` distinguishes the socket from all others since the boot."""

    host: str
    port: int
    inode: int


def shown_command(words: Iterable[str]) -> str:
    """Return a command line for display: on one line, without secrets in options, about 200 characters at most."""
    from toombos_cli.base.redaction import Redactor

    redactor = Redactor()
    line = redactor.text(" ".join(" ".join(redactor.argv(words)).split()))
    if len(line) <= _SHOWN_CHARS:
        return line
    # Cut between words: a half secret would not be recognised as one later.
    return line[:_SHOWN_CHARS].rpartition(" ")[0] or line[:_SHOWN_CHARS]

"""What one process is, as plain values."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

_SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """One process for ever: a pid alone is reused, and start ticks count from one boot in one pid namespace."""

    boot_id: str
    pid_namespace: int
    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
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
    """Suspended by a signal (SIGSTOP, Ctrl-Z) or a debugger: it exists and does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One listening TCP socket. `pid` and `command` are None when another user's process holds it."""

    host: str
    port: int
    pid: int | None
    command: str | None


class FarEnd(NamedTuple):
    """Where one socket is connected to; `inode` tells it from every other socket since the boot."""

    host: str
    port: int
    inode: int


def shown_command(words: Iterable[str]) -> str:
    """A command line for people: on one line, without the secrets that options carry, about 200 characters at most."""
    from toombos_cli.base.redaction import Redactor

    line = Redactor().text(" ".join(" ".join(words).split()))
    if len(line) <= _SHOWN_CHARS:
        return line
    # Cut between words: half of a secret would not be known as one later on.
    return line[:_SHOWN_CHARS].rpartition(" ")[0] or line[:_SHOWN_CHARS]

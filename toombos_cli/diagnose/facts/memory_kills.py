"""The processes that the kernel ended for want of memory, as its own messages of the last day say."""

import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

import msgspec

from toombos_cli.base.programs import find_program
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted
from toombos_cli.diagnose.facts.source import Fact, Facts

_DAY_S = 86_400.0
_RECORD_BYTES = 8192
_MOST_RECORDS = 100_000
_JOURNAL_TIMEOUT_S = 1.5
_KERNEL = 0
"""The facility of the kernel's own messages: a program that writes to /dev/kmsg has another one."""
_GROUP = re.compile(r"oom-kill:.*?\boom_memcg=(?P<group>[^,]+),.*\bpid=(?P<pid>\d+)")
_KILLED = re.compile(r"[Oo]ut of memory(?: \([^)]*\))?: Kill(?:ed)? process (?P<pid>\d+) \((?P<name>.*?)\)(?=[ ,]|$)")

Message = tuple[float, str]
"""When the kernel wrote it, in seconds since the epoch, and its text."""


class MemoryKill(msgspec.Struct, frozen=True, kw_only=True):
    """A process that the kernel ended. `group` is the control group at its limit, "" if the machine had no memory left.

    `source` is where the message was read, and `text` the message.
    """

    pid: int
    name: str
    at: float
    group: str = ""
    source: str
    text: str


def _gather(facts: Facts) -> tuple[MemoryKill, ...]:
    return tuple(kill for kill in _from_kernel_or_journal() if facts.now - kill.at < _DAY_S)


def _from_kernel_or_journal() -> Iterator[MemoryKill]:
    try:
        yield from kills_in(list(_ring_buffer()), "/dev/kmsg")
    except OSError:  # only privileged users read it; members of adm read the journal
        with suppress(OSError, subprocess.SubprocessError, UntrustedError, KeyError, TypeError, ValueError):
            yield from kills_in(_journal(), "journalctl -k")


def kills_in(messages: Iterable[Message], source: str) -> Iterator[MemoryKill]:
    """Yield what the messages of the kernel say about ended processes."""
    groups: dict[str, str] = {}
    for at, text in messages:
        if match := _GROUP.search(text):
            groups[match["pid"]] = match["group"]
        elif match := _KILLED.search(text):
            group = groups.pop(match["pid"], "")
            yield MemoryKill(pid=int(match["pid"]), name=match["name"], at=at, group=group, source=source, text=text)


def _ring_buffer() -> Iterator[Message]:
    """Yield the messages in the kernel's buffer. Raise OSError if this user may not read them."""
    booted_at = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
    device = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    try:
        for _ in range(_MOST_RECORDS):
            try:
                record = os.read(device, _RECORD_BYTES).decode("utf-8", "replace")
            except BrokenPipeError:  # it was overwritten meanwhile
                continue
            except BlockingIOError:  # the end
                return
            head, _, text = record.partition(";")
            priority, _, microseconds, *_ = head.split(",")
            if int(priority) >> 3 == _KERNEL:
                yield booted_at + int(microseconds) / 1e6, text.splitlines()[0] if text else ""
    finally:
        os.close(device)


def _journal() -> Iterator[Message]:
    program = find_program("journalctl")
    if program is None:
        return
    argv = (program, "-k", "-o", "json", "--since", "-1day", "--output-fields", "MESSAGE", "--no-pager")
    done = subprocess.run(argv, capture_output=True, check=True, stdin=subprocess.DEVNULL, timeout=_JOURNAL_TIMEOUT_S)
    for line in done.stdout.splitlines():
        if b"emory" in line or b"oom-kill" in line:
            entry = decode_untrusted(line)
            yield int(entry["__REALTIME_TIMESTAMP"]) / 1e6, str(entry.get("MESSAGE", ""))


MEMORY_KILLS: Fact[tuple[MemoryKill, ...]] = Fact("memory_kills", tuple[MemoryKill, ...], _gather)

"""A command that a key has started: a process of its own on a small terminal, whose output the screen shows."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING

from rich.text import Text
from textual.message import Message

from toombos_cli.base.text import folded, how_it_ended
from toombos_cli.logs.lines import shown_on_terminal
from toombos_cli.project.commands import own_argv
from toombos_cli.ui.background import Background
from toombos_cli.ui.terminal_text import TerminalText

if TYPE_CHECKING:
    from pathlib import Path

    from toombos_cli.base.redaction import Redactor

_ROWS = 24
_READ_BYTES = 65_536
_SHOWN_EVERY_S = 0.1
_MOST_AT_ONCE_BYTES = 256 * 1024
_PATIENCE_S = 15.0
_COLORS = re.compile(r"(\x1b\[[0-9;]*m)")


class OutputRead(Message):
    """The output of a command so far; `ended` says how it ended, "" while it runs."""

    def __init__(self, source: Background, lines: list[Text], ended: str = "") -> None:
        super().__init__()
        self.source, self.lines, self.ended = source, lines, ended


class CommandRun:
    """One run of `toombos WORDS`. It has no stdin: whatever asks a question is refused by the command itself."""

    def __init__(self, project: "Path", words: tuple[str, ...], *, width: int, color: bool) -> None:
        self.line = " ".join(("toombos", *words))
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, width, 0, 0))
        plain = () if color else ("--no-color",)
        try:
            self._process = subprocess.Popen(
                own_argv(project, *words[:1], *plain, *words[1:]),
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                env=_environment(),
                start_new_session=True,
            )
        finally:
            os.close(theirs)

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    def interrupt(self) -> None:
        """Send what Ctrl-C would send."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGINT)

    def see_off(self) -> None:
        """Interrupt it and wait until it has ended, for a limited time; what it asked of the supervisor goes on."""
        self.interrupt()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE_S)

    def read(self, redactor: "Redactor", thread: Background) -> None:
        """Post the output as it grows, and how the command ended."""
        text, decoder = TerminalText(), getincrementaldecoder("utf-8")("replace")
        shown = _ShownLines(redactor)
        begun = time.monotonic()
        lives = True
        while lives:
            lives = self._process.poll() is None  # asked first: what it wrote before its end is read
            if data := self._moment():
                text.feed(decoder.decode(data))
                if lives:
                    thread.post(OutputRead(thread, shown.of(text.lines)))
        os.close(self._ours)
        code = self._process.returncode
        took = f"{how_it_ended(code if code >= 0 else 128 - code)} after {time.monotonic() - begun:.1f} s"
        thread.post(OutputRead(thread, shown.of(text.lines), took))

    def _moment(self) -> bytes:
        """Return the output of a moment; of a flood, its end."""
        due, data = time.monotonic() + _SHOWN_EVERY_S, b""
        while (left := due - time.monotonic()) > 0:
            if not select.select([self._ours], [], [], left)[0]:
                break
            try:
                data = (data + os.read(self._ours, _READ_BYTES))[-_MOST_AT_ONCE_BYTES:]
            except OSError:  # Linux: nobody has the other side open any more
                break
        return data


class _ShownLines:
    """Lines as they are shown: in their colours, without secrets and without control characters."""

    def __init__(self, redactor: "Redactor") -> None:
        self._redactor = redactor
        self._known: dict[str, Text] = {}

    def of(self, lines: list[str]) -> list[Text]:
        """Return the lines; those of the last call are known."""
        known, self._known = self._known, {}
        for line in lines:
            self._known[line] = known[line] if line in known else self._shown(line)
        return [self._known[line] for line in lines]

    def _shown(self, line: str) -> Text:
        plain = shown_on_terminal(line)
        safe = self._redactor.text(plain)
        if safe != plain:  # where the colours were is not known any more
            return Text(folded(safe))
        parts = (part if part.startswith("\x1b[") else folded(part) for part in _COLORS.split(line))
        return Text.from_ansi("".join(parts))


def _environment() -> dict[str, str]:
    """Return the environment without what belongs to the terminal of the screen."""
    mine = ("TEXTUAL", "COLUMNS", "LINES", "ROWS", "GITHUB_ACTIONS")
    return {name: value for name, value in os.environ.items() if not name.startswith(mine)} | {"TERM": "xterm-256color"}

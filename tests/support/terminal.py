"""The real `toombos` on a terminal with a known width."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.runner import TOOMBOS
from tests.support.waiting import wait_for, waited_for_cpu

_LOOK_S = 0.05


def on_a_terminal(
    *args: str, cwd: Path, width: int, env: Mapping[str, str], until: str | None = None, answer: bytes = b""
) -> str:
    """Return what `toombos ARGS` prints on a terminal.

    Once the output contains `until`, the command gets the answer, or without one a Ctrl-C.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM", "COLUMNS", "LINES")}
    process = subprocess.Popen(
        [*TOOMBOS, *args], cwd=cwd, env=clean | dict(env), stdout=theirs, stderr=theirs, stdin=theirs
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not chunk:
            break
        text += chunk
        if until is not None and until in text.decode("utf-8", "replace"):
            if answer:
                os.write(ours, answer)
            else:
                process.send_signal(signal.SIGINT)
            until = None
    os.close(ours)
    code = process.wait(30)
    assert until is None
    if code == 130 and not answer:
        assert b"\x1b[?1049l" in text  # the alternate screen was left
    return text.decode().replace("\r\n", "\n")


class Session:
    """A `toombos` that runs on a terminal of its own, which is its controlling one, until the block ends.

    `program` is the command line that the arguments are added to.
    """

    def __init__(
        self, *args: str, cwd: Path, width: int, program: Sequence[str] = TOOMBOS, term: str = "xterm-256color"
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM", "COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _WITH_CONTROLLING_TERMINAL, *program, *args],
            cwd=cwd,
            env=clean | {"TERM": term},
            stdout=theirs,
            stderr=theirs,
            stdin=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._text = b""
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while not self._closed.is_set():
            if select.select([self._ours], [], [], _LOOK_S)[0]:  # a read that waits would keep the terminal open
                try:
                    self._text += os.read(self._ours, 65536)
                except OSError:  # Linux: the other side is closed
                    return

    @property
    def text(self) -> str:
        """What the terminal was sent until now."""
        return self._text.decode("utf-8", "replace").replace("\r\n", "\n")

    def wait_for(self, text: str, within_s: float = 30.0) -> None:
        """Wait until the text was printed."""
        wait_for(lambda: text in self.text, within_s=within_s, what=f"{text!r} on the terminal")

    def press_ctrl_c(self) -> None:
        """Type Ctrl-C: the terminal sends the signal."""
        self.press("\x03")

    def press(self, keys: str) -> None:
        """Type these keys."""
        os.write(self._ours, keys.encode())

    def time_until(self, shown: str, *, after: str) -> float:
        """Type keys; return the seconds until the text is printed anew, without those in which a CPU was waited for."""
        known, waited, begun = len(self._text), self._waited_for_cpu(), time.perf_counter()
        self.press(after)
        while shown.encode() not in self._text[known:]:
            took = time.perf_counter() - begun
            assert took < 15, f"{shown!r} was not printed after {after!r}"
            time.sleep(0.001)
        return time.perf_counter() - begun - (self._waited_for_cpu() - waited)

    def _waited_for_cpu(self) -> float:
        """Return for how long the main thread of the command, and both threads here, were ready but had no CPU."""
        own = (f"self/task/{thread}" for thread in (threading.get_native_id(), self._reader.native_id))
        return waited_for_cpu(f"{self.process.pid}/task/{self.process.pid}", *own)

    @property
    def echoes(self) -> bool:
        """Whether the terminal shows what is typed and hands it over by lines, as it did before the command."""
        flags = termios.tcgetattr(self._ours)[3]
        return bool(flags & termios.ECHO and flags & termios.ICANON)

    def close(self) -> None:
        """Close the terminal's window."""
        self._closed.set()
        self._reader.join()
        os.close(self._ours)

    def wait(self) -> int:
        """Return the exit code, once all that was printed is read."""
        code = self.process.wait(30)
        self._reader.join(5)
        return code

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
        if not self._closed.is_set():
            self.close()


_WITH_CONTROLLING_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""

"""The keys of a view that repeats: `q` ends it like Ctrl-C, at once, and no key is echoed into it."""

import os
import select
import signal
import sys
import termios
import threading
from types import TracebackType

_ENDING = frozenset(b"qQ\x04")
_LOOK_S = 0.2
_NONE = -1


class PressedKeys:
    """Reads the terminal on stdin, if it is one, until the block ends; then the terminal is as it was before.

    `ended` tells whether one of the keys has interrupted the process, rather than a signal of somebody else.
    """

    def __init__(self) -> None:
        self.ended = False
        self._terminal = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else _NONE
        self._closed = threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "PressedKeys":
        if self._terminal != _NONE:
            self._before = termios.tcgetattr(self._terminal)
            self._hold()
            self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        if self._terminal != _NONE:
            self._listener.join()
            if self._is_ours():
                termios.tcsetattr(self._terminal, termios.TCSANOW, self._before)

    def _hold(self) -> None:
        """Let keys arrive one by one and without an echo; after Ctrl-Z and `fg`, the shell has reset that."""
        if not self._is_ours():
            return
        now = termios.tcgetattr(self._terminal)
        held = now[3] & ~(termios.ECHO | termios.ICANON)
        if now[3] != held:
            termios.tcsetattr(self._terminal, termios.TCSANOW, [*now[:3], held, *now[4:]])

    def _is_ours(self) -> bool:
        """Report whether this process is in the foreground: in the background the terminal would stop it."""
        try:
            return os.tcgetpgrp(self._terminal) == os.getpgrp()
        except OSError:
            return False

    def _listen(self) -> None:
        while not self._closed.is_set():
            self._hold()
            if not self._is_ours():
                self._closed.wait(_LOOK_S)
            elif select.select([self._terminal], [], [], _LOOK_S)[0]:
                typed = os.read(self._terminal, 64)
                if not typed:  # the terminal is gone
                    return
                if _ENDING.intersection(typed):
                    self.ended = True
                    os.kill(os.getpid(), signal.SIGINT)
                    return

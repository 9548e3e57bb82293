"""Threads that read for the screen, and the messages in which they hand over what they have read."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from textual.app import App


class ThreadFailed(Message):
    """A background thread has ended with an error that only a bug explains."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Background:
    """One thread that reads until it is closed.

    It is a daemon: whatever it waits for, the screen can end. `post` hands a message over and waits until the screen
    has taken it, so that a slow terminal never lets messages pile up.
    """

    def __init__(self, app: "App[int]", work: Callable[["Background"], None]) -> None:
        self._app = app
        self._work = work
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._taken = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def closed(self) -> bool:
        """Whether nobody waits for more."""
        return self._closed.is_set()

    def close(self) -> None:
        """Let the thread end as soon as it looks."""
        self._closed.set()
        self._wake.set()
        self._taken.set()

    def wake(self) -> None:
        """End a pause."""
        self._wake.set()

    def pause(self, time_s: float) -> None:
        """Wait that long, or until somebody wakes or closes it."""
        self._wake.wait(time_s)
        self._wake.clear()

    def taken(self) -> None:
        """Note that the screen has shown the last message."""
        self._taken.set()

    def post(self, message: Message) -> None:
        """Hand the message over, unless the thread is closed, and wait until it is taken."""
        if self.closed:
            return
        self._taken.clear()
        if self._app.post_message(message):
            self._taken.wait()

    def _run(self) -> None:
        try:
            self._work(self)
        except Exception as error:
            self._app.post_message(ThreadFailed(error))

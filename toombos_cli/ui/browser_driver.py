"""The screen's end of a browser's connection."""

import os
from functools import partial
from typing import Any

from textual import messages
from textual.drivers.web_driver import WebDriver


class BrowserDriver(WebDriver):
    """Textual's driver below textual-serve; the screen ends also if the server has gone without a word."""

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self._write = partial(self._write_if_read)

    def run_input_thread(self) -> None:
        """Handle what the server sends until it sends no more, and end the screen then."""
        super().run_input_thread()
        if not self.exit_event.is_set():
            self._app.post_message(messages.ExitApp())

    def _write_if_read(self, data: bytes) -> int:
        try:
            return os.write(self.fileno, data)
        except BrokenPipeError:  # the input has ended too
            return len(data)

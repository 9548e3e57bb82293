"""Detects a closed stdout, so that --watch and --follow end with their reader."""

import select
import time
from typing import IO


def sleep_while_read(output: IO[str], seconds: float) -> None:
    """Sleep. Raise BrokenPipeError as soon as nobody reads `output` any more: the next write may be hours away."""
    reader = select.poll()
    reader.register(output.fileno(), 0)  # errors and hang-ups are always reported
    for _, event in reader.poll(seconds * 1000):
        if event & (select.POLLERR | select.POLLHUP):
            raise BrokenPipeError
        time.sleep(seconds)  # a device that cannot be polled

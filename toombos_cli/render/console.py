"""Consoles: colours and line width for a terminal; plain, unwrapped text for everything else."""

import os
from typing import IO

from rich.console import Console

# Outside a terminal no cell may be cut off or wrapped, whatever its length.
_UNLIMITED_WIDTH = 100_000


def make_console(stream: IO[str], *, color: bool = True) -> Console:
    """Return a console on `stream` that emits escape codes only if the stream is a capable terminal.

    Encoding errors are escaped, so that a name that the locale cannot show never ends a command.
    """
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    colored = terminal and color and not os.environ.get("NO_COLOR")
    return Console(
        file=stream,
        force_terminal=terminal,
        no_color=not colored,
        color_system="auto" if colored else None,
        width=None if terminal else _UNLIMITED_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not terminal,
        legacy_windows=False,
    )

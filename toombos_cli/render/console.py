"""The one console: whatever is printed is made printable here, for a terminal with colours, else plain and unwrapped.

Text from a process, a log, a response, a file or a stranger must not control the terminal, hide a part of itself, or
forge a line. `PrintableConsole.print` therefore folds each text to one line and escapes what is not printable, also
inside tables and live views; `write_document` does the same for a text that has several lines of our own making.
"""

import os
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from toombos_cli.base.text import folded, printable_lines
from toombos_cli.render.streams import Step, output_stream

# Outside a terminal no cell may be cut off or wrapped, whatever its length.
_UNLIMITED_WIDTH = 100_000


class PrintableConsole(Console):
    """A console whose output consists of printable characters, the line ends of its callers, and its own colours."""

    held_widths: dict[str, int] | None = None
    """The widest that each column of a table has been, by its name, while a view repeats; None outside of one."""

    def print(self, *objects: Any, **given: Any) -> None:
        """Print as rich does, but each text on one line."""
        super().print(*(folded(one) if isinstance(one, str) else one for one in objects), **given)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of anything, with escapes for what is not printable."""
        for segment in super().render(renderable, options):
            text = segment.text
            if segment.control or text == "\n" or text.isprintable():
                yield segment
            else:
                yield Segment(printable_lines(text), segment.style)


def make_console(stream: IO[str], *, color: bool = True) -> PrintableConsole:
    """Return a console on `stream` that emits escape codes only on a capable terminal, or colours that are forced."""
    terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    forced = any(os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE"))
    colored = (terminal or forced) and color and not os.environ.get("NO_COLOR")
    return PrintableConsole(
        file=output_stream(stream),
        force_terminal=terminal,
        no_color=not colored,
        color_system=None if not colored else "auto" if terminal else "standard",
        width=None if terminal else _UNLIMITED_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not terminal,
        legacy_windows=False,
    )


def write_document(console: Console, text: str) -> None:
    """Write a text of several lines, unwrapped, with escapes for what is not printable."""
    console.file.write(printable_lines(text))


def write_commands(console: Console, text: str) -> None:
    """Write commands of our own for GitHub Actions, one per line."""
    stream = console.file
    (stream.stream if isinstance(stream, Step) else stream).write(printable_lines(text))

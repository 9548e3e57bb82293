"""The one console: whatever is printed is made printable here, for a terminal with colours, else plain and unwrapped.

Text from a process, a log, a response, a file or a stranger must not control the terminal, hide a part of itself, or
forge a line. `PrintableConsole.print` therefore folds each text to one line and escapes what is not printable, also
inside tables and live views; `write_document` does the same for a text that has several lines of our own making.
"""

import os
import re
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from toombos_cli.base.text import folded, printable_lines

# Outside a terminal no cell may be cut off or wrapped, whatever its length.
_UNLIMITED_WIDTH = 100_000
_STEP_COMMAND = re.compile(r"^([^\S\n]*):(?=:[A-Za-z][\w-]*.*::)|()#(?=#(?:vso)?\[)", re.MULTILINE)
"""What GitHub Actions takes for a command in the output of a step: `::error::text`, `##[error]text`."""


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
    """Return a console on `stream` that emits escape codes only on a capable terminal, or colours that are forced.

    Encoding errors are escaped, so that a name that the locale cannot show never ends a command.
    """
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    forced = any(os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE"))
    colored = (terminal or forced) and color and not os.environ.get("NO_COLOR")
    return PrintableConsole(
        file=_Step(stream) if os.environ.get("GITHUB_ACTIONS") else stream,  # type: ignore[arg-type]  # as far as used
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
    (stream.stream if isinstance(stream, _Step) else stream).write(printable_lines(text))


class _Step:
    """The output of a step of GitHub Actions: what others wrote does not become a command in it."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self._at_line_start = True

    def write(self, text: str) -> int:
        """Write the text with an escape in place of the first character of each command."""
        begun = "" if self._at_line_start else "."
        changed = _STEP_COMMAND.sub(lambda found: f"{found[1] or ''}\\x{ord(found[0][-1]):02x}", begun + text)
        self.stream.write(changed.removeprefix(begun))
        self._at_line_start = text.endswith("\n") if text else self._at_line_start
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

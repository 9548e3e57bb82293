"""A report that is redrawn in place on the alternate screen, without flicker; the last one stays at the end."""

from collections.abc import Callable
from types import TracebackType

from rich.text import Text

from toombos_cli.render.console import PrintableConsole


class LiveScreen:
    """`draw` runs a function that prints to the console, and shows its output."""

    def __init__(self, console: PrintableConsole) -> None:
        self._console = console
        self._screen = console.screen()
        self._last = Text()

    def draw(self, printing: Callable[[], object], *, footer: str) -> None:
        """Show what `printing` prints, with a dim line below it."""
        with self._console.capture() as captured:
            printing()
        self._last = Text.from_ansi(captured.get())
        self._screen.update(Text.assemble(self._last, "\n\n", (footer, "dim")))

    def __enter__(self) -> "LiveScreen":
        self._screen.__enter__()
        self._console.held_widths = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._screen.__exit__(kind, error, trace)
        self._console.held_widths = None
        self._console.print(self._last)

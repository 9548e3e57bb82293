"""A report that is redrawn in place, without flicker, on a screen of its own; the last one stays when it ends."""

from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text


class LiveScreen:
    """`draw` runs a function that prints to the console, and shows what it printed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._last = Text()

    def draw(self, printing: Callable[[], object], *, footer: str) -> None:
        """Shows what `printing` prints, with a dim line below it."""
        with self._console.capture() as captured:
            printing()
        self._last = Text.from_ansi(captured.get())
        self._live.update(Text.assemble(self._last, "\n\n", (footer, "dim")), refresh=True)

    def __enter__(self) -> "LiveScreen":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        self._console.print(self._last)

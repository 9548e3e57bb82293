"""The progress of a waiting command on stderr: a live line on a terminal, else a line per change if verbose."""

from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from toombos_cli.base.fixes import here
from toombos_cli.base.text import folded
from toombos_cli.cli.invocation import Invocation

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


class Change(Protocol):
    """A service's new phase, and what it waits for."""

    @property
    def service(self) -> str: ...
    @property
    def phase(self) -> str: ...
    @property
    def detail(self) -> str: ...


class Waiting:
    """A display of each service's progress until it is ready; silent with `--quiet`, and gone afterwards."""

    _WAITED_FOR = ("starting", "stopping")

    def __init__(self, invocation: Invocation, *, goes_on: str | None = None) -> None:
        """Return the display. `goes_on` names the work that the supervisor finishes even if the command is ended."""
        self._invocation = invocation
        self._goes_on = goes_on
        self._waits: dict[str, str] = {}
        self._status: Status | None = None

    @cached_property
    def _console(self) -> "Console":
        """The console, made at the first change. What prints the end result is loaded at the same time:
        the services are starting then, so nobody waits for it."""
        import rich.table
        import rich.text  # noqa: F401  (loaded ahead)

        return self._invocation.stderr

    @cached_property
    def _live(self) -> bool:
        return self._console.is_terminal and not self._invocation.options.quiet

    def note(self, change: Change) -> None:
        """Show one change."""
        said = folded(f"{change.phase}: {change.detail}" if change.detail else change.phase)
        if not self._live and self._invocation.options.verbose:
            self._console.print(f"{change.service}: {said}")
        if change.phase in self._WAITED_FOR:
            self._waits[change.service] = said
        else:
            self._waits.pop(change.service, None)
        if self._live:
            self._show("; ".join(f"{name} {what}" for name, what in self._waits.items()))

    def _show(self, text: str) -> None:
        from rich.text import Text  # a str would be read as rich's markup

        if self._status is None:
            self._status = self._console.status(Text(text))
            self._status.start()
        else:
            self._status.update(Text(text))

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()
        if self._goes_on and isinstance(error, KeyboardInterrupt | SystemExit):
            console = self._invocation.stderr
            text = f"note: a {self._goes_on} that has begun goes on in the supervisor"
            console.print(text, style="yellow", soft_wrap=True)
            console.print(f"hint: {here('status')}", style="cyan", soft_wrap=True)

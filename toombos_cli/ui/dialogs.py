"""The dialogs of the screen: whether to run a command, and what the keys do."""

import shlex
from collections.abc import Iterable
from itertools import zip_longest
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

R = TypeVar("R")


class _Dialog(ModalScreen[R]):
    """Ends once: a second key may be on its way when the first one has ended it."""

    _ended = False

    def end(self, result: R) -> None:
        """End with this result, unless it has ended."""
        if not self._ended:
            self._ended = True
            self.dismiss(result)


class Confirmation(_Dialog[tuple[str, ...] | None]):
    """Asks whether to run a command line. It returns the arguments that were added, or None for "no"."""

    AUTO_FOCUS = "Input"  # and no button, or Enter would answer by accident
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
    ]

    def __init__(self, line: str, *, arguments: str | None = None) -> None:
        super().__init__()
        self._line = line
        self._arguments = arguments

    def compose(self) -> ComposeResult:
        """Yield the question, the arguments and the buttons."""
        with Vertical(classes="dialog"):
            yield Static(self._line, markup=False, id="question")
            if self._arguments is not None:
                yield Input(self._arguments, placeholder="more arguments", id="arguments", select_on_focus=False)
            with Horizontal():
                yield Button("Yes (y)" if self._arguments is None else "Run (Enter)", id="yes", compact=True)
                yield Button("No (n)" if self._arguments is None else "No (Esc)", id="no", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer with the button."""
        self.action_answer(event.button.id == "yes")

    def on_input_submitted(self) -> None:
        """Answer with yes."""
        self.action_answer(True)

    def action_answer(self, agreed: bool) -> None:
        """End the question, unless the arguments cannot be understood."""
        if not agreed:
            self.end(None)
            return
        try:
            given = shlex.split(self.query_one(Input).value) if self._arguments is not None else []
        except ValueError as error:
            self.notify(f"the arguments cannot be read: {error}", severity="error", markup=False)
            return
        self.end(tuple(given))


class KeyHelp(_Dialog[None]):
    """Shows what each key does, until any key is pressed."""

    def __init__(self, rows: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        texts = [f"{key:>3}  {title:20}" for key, title in rows]
        half = -(-len(texts) // 2)
        self._text = "\n".join("".join(pair) for pair in zip_longest(texts[:half], texts[half:], fillvalue=""))

    def compose(self) -> ComposeResult:
        """Yield the list."""
        with Vertical(classes="dialog"):
            yield Static(self._text, markup=False)

    def on_key(self, event: Key) -> None:
        """End it, and do nothing else with the key."""
        event.stop()
        self.end(None)

    def on_click(self) -> None:
        """End it."""
        self.end(None)

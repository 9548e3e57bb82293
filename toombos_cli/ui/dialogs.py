"""The questions of the screen: whether to run a command, and what the keys do."""

import shlex
from collections.abc import Iterable
from itertools import zip_longest
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static


class Confirmation(ModalScreen[tuple[str, ...] | None]):
    """Asks whether to run a command line. It returns the arguments that were added, or None for "no"."""

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

    def on_mount(self) -> None:
        """Focus what is typed into, if anything; no button, or Enter would answer by accident."""
        self.set_focus(self.query_one(Input) if self._arguments is not None else None)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer with the button."""
        self.action_answer(event.button.id == "yes")

    def on_input_submitted(self) -> None:
        """Answer with yes."""
        self.action_answer(True)

    def action_answer(self, agreed: bool) -> None:
        """End the question, unless the arguments cannot be understood."""
        if not agreed:
            self.dismiss(None)
            return
        try:
            given = shlex.split(self.query_one(Input).value) if self._arguments is not None else []
        except ValueError as error:
            self.notify(f"the arguments cannot be read: {error}", severity="error", markup=False)
            return
        self.dismiss(tuple(given))


class KeyHelp(ModalScreen[None]):
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

    def on_key(self) -> None:
        """End it."""
        self.dismiss(None)

    def on_click(self) -> None:
        """End it."""
        self.dismiss(None)

"""The text of a small terminal: enough for lines, colours, progress bars and rich's live views."""

import re
from collections import deque

_PIECES = re.compile(r"(\x1b\[[0-?]*[ -/]*[@-~]|\x1b[^\[]|\r?\n|\r)")
_BEGUN = re.compile(r"\x1b(\[[0-?]*[ -/]*)?\Z|\r\Z")
_MOST_LINES = 1_000
_LONGEST_LINE = 16_384


class TerminalText:
    """Turns the output of a command on a terminal into lines, which keep their colour codes."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque([""], maxlen=_MOST_LINES)
        self._above = 0
        """How many lines the cursor is above the last one."""
        self._at_start = False
        """Whether the next text overwrites the line."""
        self._rest = ""

    @property
    def lines(self) -> list[str]:
        """The lines so far."""
        return list(self._lines)

    def feed(self, text: str) -> None:
        """Add output, which may end within a sequence."""
        text = self._rest + text
        begun = _BEGUN.search(text)
        self._rest = begun[0] if begun else ""
        for piece in _PIECES.split(text[: len(text) - len(self._rest)]):
            self._take(piece)

    def _take(self, piece: str) -> None:
        if piece in ("\n", "\r\n"):
            self._down()
        elif piece == "\r":
            self._at_start = True
        elif piece.startswith("\x1b[") and piece.endswith("A"):
            self._above = min(self._above + int(piece[2:-1] or 1), len(self._lines) - 1)
        elif piece.startswith("\x1b[") and piece.endswith("K"):
            self._lines[-1 - self._above] = ""
        elif piece and (not piece.startswith("\x1b") or piece.endswith("m")):
            kept = "" if self._at_start else self._lines[-1 - self._above]
            self._lines[-1 - self._above] = (kept + piece)[:_LONGEST_LINE]
            self._at_start = False

    def _down(self) -> None:
        self._at_start = False
        if self._above:
            self._above -= 1
        else:
            self._lines.append("")

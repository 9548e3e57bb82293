"""The log on the screen: a bounded number of lines, of which only the visible ones are drawn; filter and search."""

import re
from collections import deque
from collections.abc import Iterable

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from toombos_cli.logs.lines import is_error

MOST_LINES = 5_000
_EVENT_LINE = re.compile(r"(\S+ +\| )?-- ")
_ERROR = Style(color="red")
_EVENT = Style(italic=True)
_MATCH = Style(reverse=True)
_PRESENT_MATCH = Style(reverse=True, bold=True, underline=True)


class LogPane(ScrollView, can_focus=True):
    """Shows the last lines, and follows the newest one while it is in view.

    A filter leaves lines out, a search marks what it finds. Both mean plain text in any case, not a pattern, which
    could take any time.
    """

    def __init__(self, *, id: str) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._all: deque[str] = deque(maxlen=MOST_LINES)
        self._shown: deque[str] = deque(maxlen=MOST_LINES)
        self._widest = 0
        self._filter = ""
        self._search = ""
        self._match: int | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines that pass the filter."""
        return tuple(self._shown)

    def replace(self, lines: Iterable[str]) -> None:
        """Show these lines instead of all others."""
        self._all.clear()
        self._all.extend(lines)
        self._filtered()

    def add(self, lines: Iterable[str]) -> None:
        """Add new lines at the end; the oldest ones go."""
        lines = list(lines)
        self._all.extend(lines)
        new = [line for line in lines if self._passes(line)]
        gone = max(0, len(self._shown) + len(new) - MOST_LINES)
        follows = self.is_at_end
        self._shown.extend(new)
        if gone and self._match is not None:
            self._match = self._match - gone if self._match >= gone else None
        self._measure(new)
        if follows:
            self._to_end()
        elif gone:
            self.scroll_to(y=max(0, self.scroll_offset.y - gone), animate=False, immediate=True)
        self.refresh()

    def filter_by(self, text: str) -> int:
        """Show only the lines that contain the text, all if it is "". Return their number."""
        self._filter = text.casefold()
        self._filtered()
        return len(self._shown)

    def search(self, text: str) -> bool:
        """Mark the text, and go to the last line that contains it. Report whether there is one."""
        self._search, self._match = text.casefold(), None
        return self.find_next(-1)

    def find_next(self, step: int) -> bool:
        """Go to the next match (1) or the one before (-1), around the ends. Report whether there is one."""
        count = len(self._shown)
        found = None
        if self._search:
            lines = list(self._shown)
            start = self._match if self._match is not None else (count if step < 0 else -1)
            places = ((start + step * distance) % count for distance in range(1, count + 1))
            found = next((place for place in places if self._search in lines[place].casefold()), None)
        self._match = found
        if found is not None:
            self.scroll_to(y=max(0, found - self.size.height // 2), animate=False, immediate=True)
        self.refresh()
        return found is not None

    @property
    def is_at_end(self) -> bool:
        """Whether the newest line is in view."""
        return self.scroll_offset.y >= self.max_scroll_y - 1

    def render_line(self, y: int) -> Strip:
        """Return one visible line."""
        left, top = self.scroll_offset
        at, width = top + y, self.size.width
        base = self.rich_style
        if not 0 <= at < len(self._shown):
            return Strip.blank(width, base)
        line = self._shown[at]
        style = base + _EVENT if _EVENT_LINE.match(line) else base + _ERROR if is_error(line) else base
        return Strip(self._segments(line, style, at)).crop_extend(left, left + width, base)

    def _segments(self, line: str, style: Style, at: int) -> list[Segment]:
        folded = line.casefold()
        if not self._search or self._search not in folded or len(folded) != len(line):
            return [Segment(line, style)]
        mark = style + (_PRESENT_MATCH if at == self._match else _MATCH)
        segments, begin = [], 0
        while (found := folded.find(self._search, begin)) >= 0:
            end = found + len(self._search)
            segments += [Segment(line[begin:found], style), Segment(line[found:end], mark)]
            begin = end
        return [*segments, Segment(line[begin:], style)]

    def _passes(self, line: str) -> bool:
        return not self._filter or self._filter in line.casefold()

    def _filtered(self) -> None:
        self._shown = deque(filter(self._passes, self._all), maxlen=MOST_LINES)
        self._match, self._widest = None, 0
        self._measure(self._shown)
        self._to_end()
        self.refresh()

    def _measure(self, lines: Iterable[str]) -> None:
        self._widest = max(self._widest, max(map(cell_len, lines), default=0))
        self.virtual_size = Size(self._widest, len(self._shown))

    def _to_end(self) -> None:
        self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)

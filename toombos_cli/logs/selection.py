"""Which lines of a log are shown: those of a kind, with a pattern, of a span of time, without toombos's own."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, takewhile

from toombos_cli.logs.entries import begins_entry, entries_of, is_error_entry
from toombos_cli.logs.lines import is_startup

EntryFilter = Callable[[Sequence[str]], bool]
LineFilter = Callable[[str], bool]
_MOST_LINES_OPEN = 1000
_MOST_UNCERTAIN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The entries that pass every filter in `wanted`, without the lines that one in `unwanted` accepts.

    An entry whose first line is unwanted is left out as a whole.
    """

    wanted: tuple[EntryFilter, ...] = ()
    unwanted: tuple[LineFilter, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    @property
    def chooses(self) -> bool:
        """Whether an entry can be left out for another reason than its time."""
        return bool(self.wanted or self.unwanted)

    def shown(self, entry: list[str]) -> list[str]:
        """Return the lines of the entry to show, in their order."""
        if not self.chooses:
            return entry
        if self._is_unwanted(entry[0]) or not all(passes(entry) for passes in self.wanted):
            return []
        return [line for line in entry if not self._is_unwanted(line)]

    def spans(self, moment: datetime) -> bool:
        """Return whether the time is in the span."""
        return (self.since is None or moment >= self.since) and (self.until is None or moment <= self.until)

    def _is_unwanted(self, line: str) -> bool:
        return any(passes(line) for passes in self.unwanted)


ALL = Selection()


def errors(entry: Sequence[str]) -> bool:
    """Accept entries that report an error."""
    return is_error_entry(entry)


def startup(entry: Sequence[str]) -> bool:
    """Accept entries about a start or a stop."""
    return any(map(is_startup, entry))


def matching(pattern: re.Pattern[str]) -> EntryFilter:
    """Return a filter that accepts the entries with a line in which the pattern is found."""
    return lambda entry: any(map(pattern.search, entry))


def containing(pattern: re.Pattern[str]) -> LineFilter:
    """Return a filter that accepts the lines in which the pattern is found."""
    return lambda line: bool(pattern.search(line))


class Following:
    """Selects from lines as they arrive: the last entry is shown as soon as no line came after it for a moment."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._open: list[str] = []
        self._shown = 0

    def add(self, lines: list[str]) -> list[str]:
        """Return the lines to show now. Without new lines, those of the last entry."""
        if not self._selection.chooses:
            return lines
        entries = list(entries_of(self._open + lines))
        kept = 0
        if lines and len(entries[-1]) < _MOST_LINES_OPEN:
            # The last lines may stand before others that join them to the entry before them.
            uncertain = takewhile(lambda entry: len(entry) == 1 and not begins_entry(entry[0]), reversed(entries))
            kept = 1 + sum(1 for _ in islice(uncertain, _MOST_UNCERTAIN))
        done, still_open = entries[: max(0, len(entries) - kept)], entries[len(entries) - kept :] if kept else []
        ready: list[str] = []
        for entry in done:
            shown = self._selection.shown(entry)
            ready += shown[self._shown :]
            self._shown = 0
            if not lines:
                still_open = [entry]
        if not lines and done:
            self._shown = len(self._selection.shown(done[-1]))
        self._open = [line for entry in still_open for line in entry]
        return ready

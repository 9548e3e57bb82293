"""Groups lines into entries: a line that begins one, and those that continue it, such as a stack trace.

A line with a time or a level, or a JSON object, begins an entry. After an entry that began with a time, every line
without one continues it. In logs without times, a line continues if it is indented, closes a bracket, or is a known
part of a stack trace, or if it stands just before such a line, as the names of fields and functions do.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from toombos_cli.logs.lines import is_error, timestamp_of

_LONGEST_ENTRY = 1000
_LEVEL = re.compile(
    r"\W{0,2}(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERR|ERROR|CRIT|CRITICAL|FATAL|PANIC|SEVERE|ALERT|EMERG)\b[\]:| -]"
    r"|(?:time|ts|level|lvl)=\S",
    re.IGNORECASE,
)
_ACCESS = re.compile(r"[0-9a-fA-F:.]{3,45} \S+ \S+ \[")
_CONTINUES = re.compile(
    r"\s+\S|[)\]}]+[,;.]?$|Caused by:|Suppressed:|goroutine \d+ \[|created by |exit status \d+$|note: |stack backtrace:"
    r"|During handling of the above exception|The above exception was the direct cause|Node\.js v\d"
)
_TRACEBACK = re.compile(r"(?:Exception Group )?Traceback \(most recent call last\)")
_MESSAGE_FOLLOWS = re.compile(r"thread .* panicked at .*:$")


def begins_entry(line: str) -> bool:
    """Return whether the line certainly begins an entry: it has a time or a level, or it is a JSON object."""
    if line[:1].isspace():
        return False
    return is_dated(line) or _is_object(line) or bool(_LEVEL.match(line) or _ACCESS.match(line))


def is_dated(line: str) -> bool:
    """Return whether the line begins with its time."""
    return not line.startswith("{") and timestamp_of(line[:80]) is not None


def is_error_entry(entry: Sequence[str]) -> bool:
    """Return whether one of the lines reports an error, or the JSON object that they are."""
    if entry[0].startswith("{") and (whole := " ".join(entry)).endswith("}"):
        return is_error(whole)
    return any(map(is_error, entry))


def entries_of(lines: Sequence[str]) -> Iterator[list[str]]:
    """Yield the lines, in their order, as entries of one line or more."""
    entry: list[str] = []
    dated = wrong = False
    for index, line in enumerate(lines):
        error = is_error(line)
        certainly = begins_entry(line)
        if entry and not certainly and _goes_on(lines, index, entry, dated=dated, wrong=wrong, error=error):
            entry.append(line)
        else:
            if entry:
                yield entry
            entry = [line]
            dated, wrong = is_dated(line) or (dated and not certainly), False
        wrong = wrong or error
    if entry:
        yield entry


def _goes_on(lines: Sequence[str], index: int, entry: list[str], *, dated: bool, wrong: bool, error: bool) -> bool:
    """Return whether a line without a time or a level continues the entry before it, which is `wrong` or not."""
    line = lines[index]
    if line[:1].isspace() and line.strip():
        return True
    if _is_object(entry[0], entry[-1]) or (not wrong and (error or line == "{")):
        return False
    if dated or _CONTINUES.match(line) or _MESSAGE_FOLLOWS.match(lines[index - 1]):
        return True
    if not line.strip():
        after = next((later for later in lines[index + 1 : index + 3] if later.strip()), "")
        return bool(_CONTINUES.match(after)) or (wrong and _stands_before_more(lines, index + 1))
    if not wrong:
        return False
    in_traceback = any(map(_TRACEBACK.match, entry)) and lines[index - 1][:1].isspace()
    return in_traceback or _stands_before_more(lines, index)


def _stands_before_more(lines: Sequence[str], index: int) -> bool:
    """Return whether the next line is indented, as below the name of a field or a function."""
    if index + 1 >= len(lines):
        return False
    line, after = lines[index], lines[index + 1]
    return not begins_entry(line) and after[:1].isspace() and bool(after.strip())


def _is_object(first: str, last: str | None = None) -> bool:
    """Return whether lines are a whole JSON object, by their ends."""
    return first.startswith("{") and (first if last is None else last).rstrip().endswith("}")


def entries_backwards(newest_first: Iterable[str]) -> Iterator[list[str]]:
    """Yield the entries of lines that come newest first, the newest entry first."""
    later: list[str] = []
    for line in newest_first:
        certainly = begins_entry(line)
        if certainly and not later:  # most entries are one line
            yield [line]
            continue
        later.append(line)
        if certainly or len(later) >= _LONGEST_ENTRY:
            yield from reversed(list(entries_of(later[::-1])))
            later.clear()
    yield from reversed(list(entries_of(later[::-1])))

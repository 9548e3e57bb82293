"""Text for people: printable lines, sizes and durations, in the same format everywhere."""

import math
import re

from toombos_cli.base.errors import UsageError

UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BREAKS = re.compile(r"[\t-\r\x1c-\x1f\x85\u2028\u2029]+")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d)?")


def printable(text: str | bytes) -> str:
    """Return the text with unprintable characters escaped, such as `\\x1b`; a tab stays a tab.

    Text from a log, a file name or a server must not control the terminal that shows it. Bytes that are not UTF-8 are
    escaped too.
    """
    if isinstance(text, bytes):
        text = text.decode(errors="backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """Return a text of several lines with every line printable; only a newline ends a line."""
    return "\n".join(map(printable, text.split("\n")))


def folded(text: str) -> str:
    """Return the text as one printable line: a blank takes the place of each line break or tab and the blanks there.

    A text that is printable already stays as it is.
    """
    if text.isprintable():
        return text
    parts = _BREAKS.split(text.rstrip())
    return printable(" ".join(parts[:1] + [part.strip() for part in parts[1:]]))


def one_line(text: str, *, limit: int = 200) -> str:
    """Return the text as one printable line of at most `limit` characters; an ellipsis replaces the rest."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def signal_name(number: int) -> str:
    """Return the name of a signal, as in `SIGKILL`."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:  # only the first and the last real-time signals have names
        return f"signal {number}"


def how_it_ended(exit_code: int) -> str:
    """Return how a process ended, such as `ended with exit code 3` or `was ended by SIGKILL`."""
    return f"ended with exit code {exit_code}" if exit_code >= 0 else f"was ended by {signal_name(-exit_code)}"


def size(size_bytes: float) -> str:
    """Return a size with a binary unit, such as `812 B`, `1.5 MiB` or `214 GiB`."""
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1000 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" or abs(amount) >= 100 else f"{amount:.1f} {unit}"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units, such as `42 s`, `3 min 10 s`, `2 h` or `5 d 4 h`."""
    minutes, rest_s = divmod(round(seconds), 60)
    hours, rest_min = divmod(minutes, 60)
    days, rest_h = divmod(hours, 24)
    parts = [(days, "d"), (rest_h, "h"), (rest_min, "min"), (rest_s, "s")]
    first = next((place for place, (number, _) in enumerate(parts) if number), len(parts) - 1)
    shown = parts[first : first + 2]
    return " ".join(f"{number} {unit}" for number, unit in shown if number) or "0 s"


def seconds(amount: float) -> str:
    """Return a limit or a measured time in seconds, rounded for people: `0.25 s`, `2.57 s` or `90 s`."""
    if amount >= 100:
        return f"{amount:.0f} s"
    return f"{amount:.3g} s" if amount >= 1 else f"{round(amount, 3):g} s"


def parse_duration(text: str, *, where: str) -> float:
    """Return the seconds of `90`, `500ms`, `30s`, `1.5m` or `2d`. Raise UsageError; `where` names the option."""
    match = _DURATION.fullmatch(text.strip())
    amount_s = float(match[1]) * UNITS_S[match[2] or "s"] if match else 0.0
    if not 0 < amount_s < math.inf:
        raise UsageError(f"{text!r} is not a duration above 0", where=where, hint="for example 500ms, 30s, 1.5m or 1h")
    return amount_s

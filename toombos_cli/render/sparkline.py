"""A row of numbers as a line of small bars."""

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-=+*%#"
_NOTHING = "x"


def sparkline(values: tuple[float | None, ...], *, width: int, encoding: str = "utf-8") -> str:
    """The last `width` values, scaled from 0 to the highest of them; `x` for None (no answer).

    In an encoding without block characters the bars are ASCII.
    """
    bars = _BLOCKS
    try:
        bars.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        bars = _ASCII
    shown = values[-width:]
    top = max((value for value in shown if value is not None), default=0.0) or 1.0
    return "".join(_NOTHING if v is None else bars[min(int(v / top * len(bars)), len(bars) - 1)] for v in shown)

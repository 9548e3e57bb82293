"""A series of numbers as a line of small bars."""

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-=+*%#"
_NOTHING = "x"


def sparkline(values: tuple[float | None, ...], *, width: int, encoding: str = "utf-8") -> str:
    """Return the last `width` values as bars, scaled from 0 to the highest; `x` for None (no response).

    An encoding without block characters gets ASCII bars.
    """
    bars = _BLOCKS
    try:
        bars.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        bars = _ASCII
    shown = values[-width:]
    top = max((value for value in shown if value is not None), default=0.0) or 1.0
    return "".join(_NOTHING if v is None else bars[min(int(v / top * len(bars)), len(bars) - 1)] for v in shown)

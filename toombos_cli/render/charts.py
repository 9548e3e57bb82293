"""Charts as inline SVG: the same figures always produce the same text, and the page loads nothing.

Colours come from the page's style sheet through the classes `series-N`, for a light and a dark mode.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

WIDTH, HEIGHT = 720, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 30, 34

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A named line: (x, y) ascending in x. `color` selects the class `series-N`."""

    name: str
    points: Points
    color: int = 1
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps the values of an axis to coordinates in the picture."""

    low: float
    high: float
    begin: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = log10(low), log10(high), log10(max(value, self.low))
        share = (value - low) / (high - low) if high > low else 0.0
        return round(self.begin + share * (self.end - self.begin), 2)


def line_chart(
    title: str, series: Sequence[Series], *, x_end: float, unit: str, y_label: Callable[[float], str]
) -> str:
    """Return lines over time, from 0 to `x_end` seconds; `y_label` formats a value of the vertical axis in `unit`."""
    highest = max((y for one in series for _, y in one.points), default=0.0)
    ticks = _ticks(highest)
    x = _Scale(0, max(x_end, 1e-9), _LEFT, WIDTH - _RIGHT)
    y = _Scale(0, ticks[-1], HEIGHT - _BOTTOM, _TOP)
    parts = [_horizontal(y.at(tick), y_label(tick)) for tick in ticks]
    parts += [_vertical(x.at(tick), f"{tick:g} s") for tick in _ticks(x_end) if tick <= x_end * 1.001]
    parts += [_line(one, x, y) for one in series]
    return _picture(title, unit, parts, [(one.name, one.color) for one in series])


def distribution_chart(
    title: str,
    buckets: Sequence[tuple[float, int]],
    *,
    marks: Sequence[tuple[str, float]],
    label: Callable[[float], str],
) -> str:
    """Return a histogram of the samples on a logarithmic axis, with named marks at some values (> 0)."""
    shown = [(max(value, 1.0), count) for value, count in buckets]
    low = min((value for value, _ in shown), default=1.0) / 1.1
    high = max((value for value, _ in shown), default=10.0) * 1.1
    bars = _bars(shown, low, high)
    ticks = _ticks(max(bars.values(), default=0))
    x = _Scale(low, high, _LEFT, WIDTH - _RIGHT, logarithmic=True)
    y = _Scale(0, ticks[-1], HEIGHT - _BOTTOM, _TOP)
    parts = [_horizontal(y.at(tick), f"{tick:g}") for tick in ticks]
    parts += [_vertical(x.at(tick), label(tick)) for tick in _log_ticks(low, high)]
    width = (WIDTH - _LEFT - _RIGHT) / _BARS
    for index, count in sorted(bars.items()):
        top = y.at(count)
        parts.append(
            f'<rect class="bar series-1" x="{_LEFT + index * width:.2f}" y="{top}" width="{width * 0.9:.2f}" '
            f'height="{max(HEIGHT - _BOTTOM - top, 0.8):.2f}"/>'
        )
    for row, (name, value) in enumerate(marks):
        place = x.at(max(value, low))
        anchor = "end" if place > WIDTH - 120 else "start"
        shift = -4 if anchor == "end" else 4
        parts.append(
            f'<line class="mark" x1="{place}" x2="{place}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
            f'<text class="mark-name" x="{place + shift}" y="{_TOP + 11 + 13 * row}" text-anchor="{anchor}">'
            f"{escape(name)} {escape(label(value))}</text>"
        )
    return _picture(title, "requests", parts, [])


def bar_chart(title: str, bars: Sequence[tuple[str, int, int]]) -> str:
    """Return horizontal bars of (name, count, colour), each with its count beside it."""
    height = 34 + 26 * max(len(bars), 1)
    most = max((count for _, count, _ in bars), default=1)
    room = WIDTH - 150 - 90
    parts = []
    for row, (name, count, color) in enumerate(bars):
        top = 28 + 26 * row
        length = max(1.0, room * count / max(most, 1))
        parts.append(
            f'<text x="142" y="{top + 14}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="bar series-{color}" x="150" y="{top}" width="{length:.2f}" height="18"/>'
            f'<text x="{156 + length:.2f}" y="{top + 14}">{count}</text>'
        )
    return _picture(title, "", parts, [], height=height)


_BARS = 80


def _bars(shown: Sequence[tuple[float, int]], low: float, high: float) -> dict[int, int]:
    """Return the counts by bar: the logarithmic axis is divided into `_BARS` equal parts."""
    scale = _Scale(low, high, 0, _BARS, logarithmic=True)
    found: dict[int, int] = {}
    for value, count in shown:
        index = min(int(scale.at(value)), _BARS - 1)
        found[index] = found.get(index, 0) + count
    return found


def _ticks(highest: float) -> list[float]:
    """Return round values from 0 to at least `highest`, in about four steps."""
    if highest <= 0:
        return [0, 1]
    raw = highest / 4
    power: float = 10 ** floor(log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    ticks = [0.0]
    while ticks[-1] < highest * 0.9999:
        ticks.append(round(len(ticks) * step, 10))
    return ticks


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 of each decade in the range, or only 1 if there are many decades."""
    decades = range(floor(log10(low)), floor(log10(high)) + 1)
    factors = (1,) if len(decades) > 4 else (1, 2, 5)
    return [factor * 10.0**d for d in decades for factor in factors if low <= factor * 10.0**d <= high]


def _line(series: Series, x: _Scale, y: _Scale) -> str:
    places = [(x.at(a), y.at(b)) for a, b in series.points]
    if not places:
        return ""
    if len(places) == 1:
        return f'<circle class="dot series-{series.color}" cx="{places[0][0]}" cy="{places[0][1]}" r="3.5"/>'
    path = "M" + " L".join(f"{a} {b}" for a, b in places)
    dashes = ' stroke-dasharray="5 4"' if series.dashed else ""
    return f'<path class="line series-{series.color}" d="{path}"{dashes}/>'


def _horizontal(place: float, label: str) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{place}" y2="{place}"/>'
        f'<text x="{_LEFT - 7}" y="{place + 4}" text-anchor="end">{escape(label)}</text>'
    )


def _vertical(place: float, label: str) -> str:
    anchor = "end" if place > WIDTH - _RIGHT - 18 else "middle"
    return (
        f'<line class="grid" x1="{place}" x2="{place}" y1="{HEIGHT - _BOTTOM}" y2="{HEIGHT - _BOTTOM + 4}"/>'
        f'<text x="{place}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="{anchor}">{escape(label)}</text>'
    )


def _picture(
    title: str, unit: str, parts: Sequence[str], legend: Sequence[tuple[str, int]], height: int = HEIGHT
) -> str:
    shown = [f'<text class="unit" x="8" y="16">{escape(unit)}</text>'] if unit else []
    place = float(WIDTH - _RIGHT)
    for name, color in reversed(legend):
        place -= 7.0 * len(name) + 26
        shown.append(
            f'<rect class="bar series-{color}" x="{place:.1f}" y="9" width="12" height="5"/>'
            f'<text x="{place + 17:.1f}" y="16">{escape(name)}</text>'
        )
    label = escape(title, quote=True)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">'
        f"<title>{escape(title)}</title>{''.join(shown)}{''.join(parts)}</svg>"
    )

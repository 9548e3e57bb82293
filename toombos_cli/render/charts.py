"""Charts as HTML figures: the same figures always produce the same text, and the page loads and runs nothing.

Places are percentages of the plot, so a chart fills any width while its letters and lines keep their size. Values
under the pointer are shown by the style sheet alone. Colours are the classes `s1` to `s6` of the page's style sheet.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

Label = Callable[[float], str]
Points = Sequence[tuple[float, float | None]]

THOUSANDS = ("", "k", "M", "G")
"""The units of a count, for `short`."""
_BARS = 80
_GRAIN = 1000
"""The size of the box in which lines are drawn, which the browser stretches to the plot."""
_FAR = 3.0
"""A limit this many times above the highest value is drawn at the upper edge, or the lines would be flat."""
_DECADES_WITH_STEPS, _DECADES_WHEN_NARROW = 2.8, 3.8
"""The most decades of an axis with labels at 2 and 5 too, and of a narrow axis with a label at each decade."""
_HEADROOM = 1.1
"""Room above a limit for its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A named line: (x, y) ascending in x, with None where nothing was measured. `color` selects the class `sN`."""

    name: str
    points: Points
    color: int = 1
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A value to compare a chart with: the limit of an objective, or, in the colour of a line, what a baseline had."""

    name: str
    value: float
    before: int = 0


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps the values of an axis to shares of the plot, 0..1."""

    low: float
    high: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = log10(low), log10(high), log10(max(value, self.low))
        return (value - low) / (high - low) if high > low else 0.0


def line_chart(
    title: str, series: Sequence[Series], *, x_end: float, y_label: Label, levels: Sequence[Level] = ()
) -> str:
    """Return lines over time, from 0 to `x_end` seconds, with the values at each point under the pointer."""
    measured = [y for one in series for _, y in one.points if y is not None]
    highest = max(measured, default=0.0)
    near = [level.value * _HEADROOM for level in levels if level.value <= highest * _FAR]
    ticks = _ticks(max([highest, *near]))
    x, y = _Scale(0, max(x_end, 1e-9)), _Scale(0, ticks[-1])
    parts = [_horizontal(y.at(tick), y_label(tick)) for tick in ticks]
    parts += [_vertical(x.at(tick), f"{tick:g} s") for tick in _ticks(x_end) if tick <= x_end * 1.001]
    parts += [_lines(series, x, y)]
    parts += [_level(level, y.at(level.value), row) for row, level in enumerate(levels)]
    keys = [_key(f"key s{one.color}{' dashed' if one.dashed else ''}", one.name) for one in series]
    keys += [_key(f"key {_kind(level)}", _far_name(level, y)) for level in levels]
    said = [f"{one.name} {_range(one, y_label)}" for one in series]
    said += [f"{_meaning(level)} {level.name}" for level in levels]
    return _figure(title, parts, keys, _columns(series, x, y_label), said)


def distribution_chart(
    title: str,
    buckets: Sequence[tuple[float, int]],
    *,
    marks: Sequence[tuple[str, float]],
    label: Label,
    levels: Sequence[Level] = (),
) -> str:
    """Return a histogram of the samples on a logarithmic axis, with named marks at some values (> 0)."""
    shown = [(max(value, 1.0), count) for value, count in buckets]
    low = min((value for value, _ in shown), default=1.0) / 1.1
    high = max((value for value, _ in shown), default=10.0) * 1.1
    bars = _bars(shown, low, high)
    ticks = _ticks(max(bars.values(), default=0))
    x, y = _Scale(low, high, logarithmic=True), _Scale(0, ticks[-1])
    parts = [_horizontal(y.at(tick), short(tick, *THOUSANDS)) for tick in ticks]
    parts += [_vertical(x.at(tick), label(tick), minor=minor) for tick, minor in _log_ticks(low, high)]
    columns = []
    for index, count in sorted(bars.items()):
        left, top = index / _BARS, y.at(count)
        parts.append(
            f'<rect class="bar s1" x="{_percent(left)}" y="{_percent(1 - top)}" width="{_percent(0.9 / _BARS)}" '
            f'height="{_percent(top)}"/>'
        )
        begin, end = (low * (high / low) ** (i / _BARS) for i in (index, index + 1))
        columns.append((left, 1 / _BARS, [f"{label(begin)} to {label(end)}", _requests(count)]))
    parts += [_mark(name, x.at(value), row, len(marks)) for row, (name, value) in enumerate(marks)]
    parts += [_limit_in_distribution(level, x) for level in levels if low <= level.value <= high]
    keys = [_key("", f"{name} {label(value)}") for name, value in marks]
    keys += [_key(f"key {_kind(level)}", _far_name(level, x)) for level in levels]
    said = [f"{name} {label(value)}" for name, value in marks]
    return _figure(title, parts, keys, columns, said, marks=len(marks))


def bar_chart(title: str, bars: Sequence[tuple[str, int, int]]) -> str:
    """Return horizontal bars of (name, count, colour), each with its count beside it."""
    most = max((count for _, count, _ in bars), default=1)
    rows = "".join(
        f'<div class="row"><span class="name">{escape(name)}</span><span class="room"><span class="fill s{color}" '
        f'style="width:{_percent(count / max(most, 1))}"></span></span><span class="count">{count}</span></div>'
        for name, count, color in bars
    )
    return f'<figure class="chart"><figcaption>{escape(title)}</figcaption>{rows or "nothing to count"}</figure>'


def short(value: float, *units: str) -> str:
    """Format a value with three digits in the first unit in which it is below 1000; each is 1000 of the one before."""
    for unit in units[:-1]:
        if abs(value) < 999.5:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}{units[-1]}"


def _figure(
    title: str,
    parts: Sequence[str],
    keys: Sequence[str],
    columns: Sequence[tuple[float, float, Sequence[str]]],
    said: Sequence[str],
    *,
    marks: int = 0,
) -> str:
    spoken = escape(f"{title}: {'; '.join(said)}" if said else title, quote=True)
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption><div class="legend">{"".join(keys)}</div>'
        f'<div class="plot" style="margin-top:{18 + 15 * marks}px"><svg role="img" aria-label="{spoken}">'
        f'{"".join(parts)}</svg><div class="values" aria-hidden="true">{"".join(map(_value, columns))}</div>'
        f"</div></figure>"
    )


def _value(column: tuple[float, float, Sequence[str]]) -> str:
    """Return a strip of the plot that shows its lines of text while the pointer is on it, and once it is clicked."""
    left, width, lines = column
    side = ' class="left"' if left + width / 2 > 0.5 else ""
    text = "<br>".join(map(escape, lines))
    return f'<i{side} tabindex="-1" style="left:{_percent(left)};width:{_percent(width)}"><b>{text}</b></i>'


def _columns(series: Sequence[Series], x: _Scale, y_label: Label) -> list[tuple[float, float, list[str]]]:
    """Return (left, width, texts) of the strip around each x at which a series has a value."""
    values: dict[float, list[str]] = {}
    for one in series:
        for at, value in one.points:
            if value is not None:
                values.setdefault(at, [f"{at:.3g} s"]).append(f"{one.name} {y_label(value)}")
    places = sorted(values)
    edges = [0.0, *((a + b) / 2 for a, b in pairwise(places)), x.high] if places else []
    return [
        (x.at(left), x.at(right) - x.at(left), values[at])
        for at, (left, right) in zip(places, pairwise(edges), strict=True)
    ]


def _lines(series: Sequence[Series], x: _Scale, y: _Scale) -> str:
    """Return the lines in a box of their own; a series of a single value is a level line."""
    paths = []
    for one in series:
        runs: list[list[tuple[float, float]]] = [[]]
        for at, value in one.points:
            if value is None:
                runs.append([])
            else:
                runs[-1].append((round(x.at(at) * _GRAIN, 1), round((1 - y.at(value)) * _GRAIN, 1)))
        d = "".join(_path(run) for run in runs if run)
        dashes = ' stroke-dasharray="5 4"' if one.dashed else ""
        paths.append(f'<path class="line s{one.color}" d="{d}"{dashes}/>' if d else "")
    box = f'<svg class="lines" viewBox="0 0 {_GRAIN} {_GRAIN}" preserveAspectRatio="none">'
    return f"{box}{''.join(paths)}</svg>"


def _path(run: Sequence[tuple[float, float]]) -> str:
    if len(run) == 1:
        ((at, value),) = run
        run = [(max(at - _GRAIN / 50, 0), value), (min(at + _GRAIN / 50, _GRAIN), value)]
    return "M" + "L".join(f"{a:g} {b:g}" for a, b in run)


def _level(level: Level, share: float, row: int) -> str:
    """Return a horizontal line with its name; one that is far above the plot is at the upper edge."""
    place = _percent(1 - min(share, 1.0))
    side = ('x="100%" text-anchor="end"', 'x="0"', 'x="50%" text-anchor="middle"')[row % 3]
    name = level.name if share <= 1 else f"↑ {level.name}"
    return (
        f'<line class="{_kind(level)}" x1="0" x2="100%" y1="{place}" y2="{place}"/>'
        f'<text class="{_kind(level)}" {side} y="{place}" dy="-4">{escape(name)}</text>'
    )


def _limit_in_distribution(level: Level, x: _Scale) -> str:
    place = _percent(x.at(level.value))
    return f'<line class="{_kind(level)}" x1="{place}" x2="{place}" y1="0" y2="100%"/>'


def _mark(name: str, share: float, row: int, of: int) -> str:
    """Return a vertical line with its name above the plot; a later row begins lower, so no line crosses a name."""
    place = _percent(share)
    top = 15 * (row - of) + 4
    return (
        f'<line class="mark" x1="{place}" x2="{place}" y1="{top}" y2="100%"/>'
        f'<text class="mark" x="{place}" y="{top}" dy="4" text-anchor="middle">{escape(name)}</text>'
    )


def _kind(level: Level) -> str:
    return f"before s{level.before}" if level.before else "limit"


def _meaning(level: Level) -> str:
    return "baseline" if level.before else "objective"


def _far_name(level: Level, scale: _Scale) -> str:
    return level.name if level.value <= scale.high else f"{level.name} (above this chart)"


def _range(series: Series, label: Label) -> str:
    values = [y for _, y in series.points if y is not None]
    if not values:
        return "not measured"
    return f"{label(min(values))} to {label(max(values))}, at the end {label(values[-1])}"


def _key(kind: str, name: str) -> str:
    swatch = f'<i class="{kind}"></i>' if kind else ""
    return f"<span>{swatch}{escape(name)}</span>"


def _requests(count: int) -> str:
    return f"{count} request{'s' if count != 1 else ''}"


def _percent(share: float) -> str:
    return f"{round(share * 100, 2):g}%"


def _bars(shown: Sequence[tuple[float, int]], low: float, high: float) -> dict[int, int]:
    """Return the counts by bar: the logarithmic axis is divided into `_BARS` equal parts."""
    scale = _Scale(low, high, logarithmic=True)
    found: dict[int, int] = {}
    for value, count in shown:
        index = min(int(scale.at(value) * _BARS), _BARS - 1)
        found[index] = found.get(index, 0) + count
    return found


def _ticks(highest: float) -> list[float]:
    """Return round values from 0 to at least `highest`, in about four steps."""
    if highest <= 0:
        return [0, 1]
    raw = highest / 4
    power: float = 10 ** floor(log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    return [round(index * step, 10) for index in range(ceil(highest * 0.9999 / step) + 1)]


def _log_ticks(low: float, high: float) -> list[tuple[float, bool]]:
    """Return 1, 2 and 5 of each decade, or 1 alone, each with whether a narrow chart has no room for its label."""
    first, last, span = floor(log10(low)), floor(log10(high)), log10(high / low)
    factors = (1, 2, 5) if span <= _DECADES_WITH_STEPS else (1,)
    ticks = [(factor, decade) for decade in range(first, last + 1) for factor in factors]
    inside = [
        (factor * 10.0**decade, factor, decade) for factor, decade in ticks if low <= factor * 10.0**decade <= high
    ]
    if len(factors) == 1:
        return [(tick, span > _DECADES_WHEN_NARROW and decade % 2 == 1) for tick, _, decade in inside]
    return [(tick, factor != 1 and span > 1) for tick, factor, _ in inside]


def _horizontal(share: float, label: str) -> str:
    place = _percent(1 - share)
    return (
        f'<line class="grid" x1="0" x2="100%" y1="{place}" y2="{place}"/>'
        f'<text x="-8" y="{place}" dy="4" text-anchor="end">{escape(label)}</text>'
    )


def _vertical(share: float, label: str, *, minor: bool = False) -> str:
    place = _percent(share)
    anchor, kind = "end" if share > 0.97 else "middle", ' class="minor"' if minor else ""
    return (
        f'<line class="grid" x1="{place}" x2="{place}" y1="97%" y2="100%"/>'
        f'<text{kind} x="{place}" y="100%" dy="18" text-anchor="{anchor}">'
        f"{escape(label)}</text>"
    )

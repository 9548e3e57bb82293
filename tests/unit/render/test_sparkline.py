"""A series of numbers as a line of bars."""

import pytest

from toombos_cli.render.sparkline import sparkline

CASES = {
    "rising": ((1, 2, 3, 4, 5, 6, 7, 8), 8, "utf-8", "▂▃▄▅▆▇██"),
    "only the last values": ((9, 0, 8), 2, "utf-8", "▁█"),
    "no response": ((4, None, 4), 9, "utf-8", "█x█"),
    "no values": ((), 9, "utf-8", ""),
    "all zero": ((0, 0), 9, "utf-8", "▁▁"),
    "an encoding without bars": ((0, 8), 9, "ascii", "_#"),
    "an unknown encoding": ((8,), 9, "no-such-encoding", "#"),
}


@pytest.mark.parametrize(("values", "width", "encoding", "line"), CASES.values(), ids=CASES)
def test_values_are_drawn_as_bars(values, width, encoding, line):
    assert sparkline(values, width=width, encoding=encoding) == line

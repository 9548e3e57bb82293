"""The small terminal on which commands of the screen run."""

import pytest

from toombos_cli.ui.terminal_text import TerminalText

ROWS = {
    "lines": ("a\r\nb\n", ["a", "b", ""]),
    "a progress bar that overwrites itself": ("10 %\r55 %\r100 %\r\ndone\r\n", ["100 %", "done", ""]),
    "a spinner that gives way to the result": (
        "\x1b[?25l\x1b[32mo\x1b[0m waiting\r\x1b[2Ko waiting\r\n\x1b[?25h\r\x1b[1A\x1b[2Kstarted\r\n",
        ["started", ""],
    ),
    "a live view of several lines": ("1\r\n2\r\n3\r\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K4\r\n5\r\n6", ["4", "5", "6"]),
    "colours stay, titles and keypad modes go": ("\x1b[31mred\x1b[0m\x1b=\x1b[?1h", ["\x1b[31mred\x1b[0m"]),
    "a cursor far above the first line": ("a\r\n\x1b[99Ab", ["ab", ""]),
}


@pytest.mark.parametrize(("output", "lines"), ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("whole", [True, False], ids=["at once", "one character after the other"])
def test_output_becomes_the_lines_that_a_terminal_would_show(output: str, lines: list[str], whole: bool):
    text = TerminalText()
    for part in [output] if whole else output:
        text.feed(part)
    assert text.lines == lines

"""Parsing `.env`: the values match python-dotenv, and every line number is exact."""

from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from toombos_cli.settings.env_file import parse_env_text

PATH = Path(".env")

LINES = {
    "on the first line": ("A=1\n", {"A": 1}, []),
    "after blank lines": ("\n\n\nA=1\n", {"A": 4}, []),
    "after a comment": ("# c\n\n# d\nA=1\n", {"A": 4}, []),
    "the last of two lines": ("A=1\nA=2\n", {"A": 2}, []),
    "the first line of a quoted value": ('A=1\nB="x\ny"\nC=1\n', {"A": 1, "B": 2, "C": 4}, []),
    "CR LF": ("A=1\r\nB: 2\r\nC=3\r\n", {"A": 1, "C": 3}, [2]),
    "CR LF after an invalid line": ("\r\nB: 2\r\n\r\nD: 3\r\nC=3\r\n", {"C": 5}, [2, 4]),
    "an invalid line after blank lines": ("A=1\n\n\nB: 2\n", {"A": 1}, [4]),
    "a bare name": ("A=1\nB\n", {"A": 1}, [2]),
    "a bare name unsets": ("A=1\nA\n", {}, [2]),
    "a byte order mark": ("\ufeffA=1\nB\n", {"A": 1}, [2]),
    "no newline at the end": ("A=1\nB", {"A": 1}, [2]),
    "CR alone": ("A=1\rB: 2\rC=3", {"A": 1, "C": 3}, [2]),
}


@pytest.mark.parametrize(("text", "lines", "dropped"), LINES.values(), ids=LINES.keys())
def test_settings_and_invalid_lines_have_their_line_numbers(text, lines, dropped):
    found = parse_env_text(text, PATH)

    assert found.lines == lines
    assert [binding.line for binding in found.unparsed] == dropped


def test_an_invalid_passage_has_a_first_and_a_last_line():
    (dropped,) = parse_env_text('\nA="x\nB=1\nC="y"\nD=1\n', PATH).unparsed

    assert (dropped.line, dropped.last_line) == (2, 4)


@given(st.text(alphabet="AB=:'\"\\\n\r\t #${}-x\u00e9", max_size=60))
def test_values_match_python_dotenv_and_the_text_is_kept(text):
    found = parse_env_text(text, PATH)

    expected = dotenv_values(stream=StringIO(text.replace("\r\n", "\n").replace("\r", "\n")))
    assert found.values == {name: value for name, value in expected.items() if value is not None}
    assert "".join(binding.original for binding in found.bindings) == text
    assert all(1 <= b.line <= b.last_line for b in found.bindings)


def test_a_value_is_never_in_the_representation():
    assert "hunter22" not in repr(parse_env_text("API_KEY=hunter22\nAPI_KEY: hunter22\n", PATH))

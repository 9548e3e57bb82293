"""`.env` with the place of everything: the values are those of python-dotenv, the lines are the file's own."""

from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from toombos_cli.settings.env_file import parse_env_text

PATH = Path(".env")

LINES = {
    "first line": ("A=1\n", {"A": 1}, []),
    "after blank lines": ("\n\n\nA=1\n", {"A": 4}, []),
    "after a comment": ("# c\n\n# d\nA=1\n", {"A": 4}, []),
    "the last of two": ("A=1\nA=2\n", {"A": 2}, []),
    "where a quoted value begins": ('A=1\nB="x\ny"\nC=1\n', {"A": 1, "B": 2, "C": 4}, []),
    "CR LF": ("A=1\r\nB: 2\r\nC=3\r\n", {"A": 1, "C": 3}, [2]),
    "CR LF after a dropped line": ("\r\nB: 2\r\n\r\nD: 3\r\nC=3\r\n", {"C": 5}, [2, 4]),
    "dropped after blank lines": ("A=1\n\n\nB: 2\n", {"A": 1}, [4]),
    "bare key": ("A=1\nB\n", {"A": 1}, [2]),
    "a bare key unsets": ("A=1\nA\n", {}, [2]),
    "byte order mark": ("\ufeffA=1\nB\n", {"A": 1}, [2]),
    "no newline at the end": ("A=1\nB", {"A": 1}, [2]),
    "old Macintosh": ("A=1\rB: 2\rC=3", {"A": 1, "C": 3}, [2]),
}


@pytest.mark.parametrize(("text", "lines", "dropped"), LINES.values(), ids=LINES.keys())
def test_lines(text, lines, dropped):
    found = parse_env_text(text, PATH)

    assert found.lines == lines
    assert [binding.line for binding in found.unparsed] == dropped


def test_a_dropped_stretch_knows_where_it_ends():
    (dropped,) = parse_env_text('\nA="x\nB=1\nC="y"\nD=1\n', PATH).unparsed

    assert (dropped.line, dropped.last_line) == (2, 4)


@given(st.text(alphabet="AB=:'\"\\\n\r\t #${}-x\u00e9", max_size=60))
def test_values_are_those_of_python_dotenv_and_the_text_is_kept(text):
    found = parse_env_text(text, PATH)

    expected = dotenv_values(stream=StringIO(text.replace("\r\n", "\n").replace("\r", "\n")))
    assert found.values == {name: value for name, value in expected.items() if value is not None}
    assert "".join(binding.original for binding in found.bindings) == text
    assert all(1 <= b.line <= b.last_line for b in found.bindings)


def test_a_value_is_never_in_the_representation():
    assert "hunter22" not in repr(parse_env_text("API_KEY=hunter22\nAPI_KEY: hunter22\n", PATH))

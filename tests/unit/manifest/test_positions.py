"""The line numbers of TOML keys."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toombos_cli.manifest.reading.positions import key_lines, nearest_line

CASES = [
    pytest.param("a = 1\nb = 2\n", ("b",), 2, id="top-level key"),
    pytest.param("[s.crm]\nport = 1\n", ("s", "crm", "port"), 2, id="key of a dotted table"),
    pytest.param("[s.crm]\nport = 1\n", ("s", "crm"), 1, id="the table itself"),
    pytest.param('["a.b"]\n"c d" = 1\n', ("a.b", "c d"), 2, id="quoted names keep their dots"),
    pytest.param("a.b.c = 1\n", ("a", "b", "c"), 1, id="dotted key"),
    pytest.param("[[step]]\nn = 1\n[[step]]\nn = 2\n", ("step", 1, "n"), 4, id="second table of an array"),
    pytest.param("[[s]]\n[s.x]\nk = 1\n[[s]]\n[s.x]\nk = 2\n", ("s", 1, "x", "k"), 6, id="table inside an array table"),
    pytest.param('a = """\nb = 1\n"""\nb = 2\n', ("b",), 4, id="a multi-line string contains no keys"),
    pytest.param("a = '''\nb = 1\n'''\nb = 2\n", ("b",), 4, id="a multi-line literal string contains no keys"),
    pytest.param('a = [\n  "b = 1",\n  "]",\n]\nb = 2\n', ("b",), 5, id="a multi-line array contains no keys"),
    pytest.param("# a = 1\na = 2 # ]\nb = 3\n", ("b",), 3, id="comments are ignored"),
    pytest.param('a = "[" \nb = 3\n', ("b",), 2, id="brackets in strings are ignored"),
]


@pytest.mark.parametrize(("text", "path", "line"), CASES)
def test_a_key_is_found_on_its_line(text, path, line):
    tomllib.loads(text)
    assert key_lines(text)[path] == line


def test_a_missing_key_gets_the_line_of_the_nearest_table_above_it():
    lines = key_lines("[services.crm]\nport = 1\n")
    assert nearest_line(lines, ("services", "crm", "command")) == 1
    assert nearest_line(lines, ("other",)) is None


_names = st.text("abcdefgh_-", min_size=1, max_size=6)
_values = st.sampled_from(["1", '"x = [ {"', "'''\n[t]\n'''", "[1, [2],\n 3]", "{ k = '}' }", "true # k = 1"])


@given(st.dictionaries(_names, st.dictionaries(_names, _values, max_size=4), max_size=4))
def test_every_key_of_any_valid_text_is_found_on_its_line(tables):
    text, expected = "", {}
    for table, keys in tables.items():
        expected[(table,)] = text.count("\n") + 1
        text += f"[{table}]\n"
        for key, value in keys.items():
            expected[(table, key)] = text.count("\n") + 1
            text += f"{key} = {value}\n"
    tomllib.loads(text)
    assert key_lines(text) == expected

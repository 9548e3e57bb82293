"""Printable lines, sizes and durations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toombos_cli.base.errors import UsageError
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.base.text import duration, one_line, parse_duration, printable, seconds, size


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("déjà vu \N{SNOWMAN}", "déjà vu \N{SNOWMAN}", id="printable text stays"),
        pytest.param("a\tb", "a\tb", id="a tab stays"),
        pytest.param("\x1b[31mred\x1b[0m\x07", r"\x1b[31mred\x1b[0m\x07", id="terminal escapes are written out"),
        pytest.param("a\nb\r\n", r"a\nb\r\n", id="newlines are written out"),
        pytest.param("\u202egnp.exe", r"\u202egnp.exe", id="direction overrides are written out"),
        pytest.param("\ud800\ufffe", r"\ud800\ufffe", id="surrogates and noncharacters are written out"),
        pytest.param(b"caf\xe9", r"caf\xe9", id="bytes that are not UTF-8 are written out"),
        pytest.param("né".encode(), "né", id="UTF-8 is decoded"),
    ],
)
def test_text_becomes_printable(text: str | bytes, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(" a\n\n b\t c ", "a b c", id="white space becomes one space"),
        pytest.param("a\x1bb", r"a\x1bb", id="control characters are written out"),
        pytest.param("x" * 11, "x" * 9 + "…", id="an ellipsis replaces the end of a long text"),
        pytest.param("x" * 10, "x" * 10, id="a text of the limit stays"),
        pytest.param("", "", id="an empty text stays"),
    ],
)
def test_text_becomes_one_line(text: str, line: str) -> None:
    assert one_line(text, limit=10) == line


@given(st.text())
def test_one_line_of_any_text_is_printable_and_bounded(text: str) -> None:
    line = one_line(text, limit=50)
    assert line.isprintable()
    assert len(line) <= 50


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (200 * 1024, "200 KiB"),
        (41 * 1024**2, "41.0 MiB"),
        (1023 * 1024**2, "1.0 GiB"),
        (5000 * 1024**3, "5000 GiB"),
        (-3 * 1024**2, "-3.0 MiB"),
    ],
)
def test_a_size_has_a_unit(size_bytes: int, shown: str) -> None:
    assert size(size_bytes) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (42, "42 s"),
        (59.6, "1 min"),
        (190, "3 min 10 s"),
        (7200, "2 h"),
        (7205, "2 h"),
        (7500, "2 h 5 min"),
        (86400, "1 d"),
        (5 * 86400 + 4 * 3600 + 59, "5 d 4 h"),
    ],
)
def test_a_duration_has_units(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("500ms", 0.5), ("250 us", 0.00025), ("30s", 30), ("1.5m", 90), ("1h", 3600), (" 2 d ", 172800)],
)
def test_a_typed_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text, where="--for") == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "-1s", "soon", "3 weeks", "1e3", "nan", "inf", "9" * 400 + "h", "1h30m"]
)
def test_an_invalid_duration_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="not a duration") as raised:
        parse_duration(text, where="--for")
    assert raised.value.problems[0].where == "--for"


@pytest.mark.parametrize(
    ("word", "otherwise", "hint"),
    [
        pytest.param("bakup", None, "did you mean 'backup'?", id="a misspelt name"),
        pytest.param("BACKUP", None, "did you mean 'backup'?", id="a name in another case"),
        pytest.param("xyz", "names: backup", "names: backup", id="no name is close, and there is another hint"),
        pytest.param("xyz", None, None, id="no name is close"),
    ],
)
def test_the_hint_suggests_the_nearest_name(word: str, otherwise: str | None, hint: str | None) -> None:
    assert did_you_mean(word, ["backup", "health"], otherwise) == hint


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        pytest.param(2.57238, "2.57 s", id="a measured time has three digits"),
        pytest.param(0.695683, "0.696 s", id="below a second it has milliseconds"),
        pytest.param(0.00001, "0 s", id="what is too short to show is 0"),
        pytest.param(30.0, "30 s", id="a whole number has no point"),
        pytest.param(1.5, "1.5 s", id="a limit that a person wrote stays as it is"),
        pytest.param(1234.56, "1235 s", id="a long time is whole and has no exponent"),
    ],
)
def test_seconds_are_rounded_for_people(amount: float, shown: str) -> None:
    assert seconds(amount) == shown

"""YAML of others: scalars stay as written, lines are known, and what multiplies or repeats is refused."""

import pytest

from toombos_cli.base.untrusted import UntrustedError, decode_untrusted_yaml


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        *(
            ("no", "no"),
            ("true", "true"),
            ("22:22", "22:22"),
            ("3.10", "3.10"),
            ("0x10", "0x10"),
            ("2024-01-01", "2024-01-01"),
        ),
        *(
            ("~", None),
            ("null", None),
            ("", None),
            ("'null'", "null"),
            ('"a\\tb"', "a\tb"),
            ("|\n  a\n  b\n", "a\nb\n"),
        ),
    ],
)
def test_a_scalar_stays_as_it_is_written(scalar: str, value: str | None) -> None:
    assert decode_untrusted_yaml(f"a: {scalar}").value == {"a": value}


def test_the_own_keys_of_a_mapping_win_over_merged_ones_and_earlier_merged_ones_over_later_ones() -> None:
    text = "a: &a {k: 1, l: 1}\nb: &b {k: 2, m: 2}\nc: {<<: [*a, *b], l: 3}\n"
    assert decode_untrusted_yaml(text).value["c"] == {"k": "1", "l": "3", "m": "2"}


def test_the_lines_of_the_upper_keys_are_known() -> None:
    lines = decode_untrusted_yaml("a:\n  b:\n    - c\n    - d: e\n").lines
    assert (lines[("a", "b", 1)], lines[("a", "b", 1, "d")]) == (4, 4)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("a: 1\nb: [" + "[" * 200, 2, id="too deep"),
        pytest.param("a: 1\na: 2\n", 2, id="a repeated key"),
        pytest.param("a: 1\nb: {c: 1, c: 2}\n", 2, id="a repeated key of a flow"),
        pytest.param("a: &x [*x]", 1, id="an alias of itself"),
        pytest.param("a: !!python/name:os.system x", 1, id="a tag of Python"),
        pytest.param("a: 1\n\tb: 2\n", 2, id="a tab"),
        pytest.param("a: 1\nb: \x01\n", 2, id="a control character"),
        pytest.param("a: 'b\n", 2, id="an open quote"),
    ],
)
def test_a_text_beyond_the_bounds_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(UntrustedError) as caught:
        decode_untrusted_yaml(text)
    assert caught.value.line == line

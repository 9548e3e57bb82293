"""JSON paths: the dotted form, JSONPath of RFC 9535, and numbers with all of their digits."""

import msgspec
import pytest

from toombos_cli.base.untrusted import decode_untrusted
from toombos_cli.manifest.tables.conditions import read_condition, value_at

GONE = msgspec.UNSET
DOCUMENT = decode_untrusted(
    """{"status": "up", "a.b": 1, "a[0]": 2, "it's": 3, "items": [{"id": 1, "name": "x", "price": 1.10},
    {"id": 2, "name": "y", "price": 20.5}], "none": null, "empty": [], "deep": {"items": [{"id": 3}]}, "$": 4}""",
    exact=True,
)
QUERIES = {
    "$": DOCUMENT,
    "$.status": "up",
    "$['a.b']": 1,
    '$["a[0]"]': 2,
    "$['it\\'s']": 3,
    "$['$']": 4,
    "$.items[0].name": "x",
    "$.items[-1].id": 2,
    "$.none": None,
    "$.empty": [],
    "$.gone": GONE,
    "$.items[9]": GONE,
    "$.status.gone": GONE,
    "$.items[*].name": ["x", "y"],
    "$.items[?@.price < 1.2].name": ["x"],
    "$.items[?@.price == 1.1].id": [1],
    "$.items[0:1].id": [1],
    "$..id": [1, 2, 3],
    "$['status','none']": ["up", None],
    "$.items[?@.name == 'z']": [],
    "$.items[?length(@.name) == 1].id": [1, 2],
}


@pytest.mark.parametrize(("path", "value"), QUERIES.items(), ids=QUERIES)
def test_a_query_gives_its_value_or_the_list_of_its_values(path, value):
    assert value_at(DOCUMENT, path) == value


def test_a_query_of_a_list_finds_its_items():
    assert value_at([{"name": "x"}], "$[0].name") == "x"
    assert value_at([{"name": "x"}], "[0].name") == "x"


WRONG = ["$.", "$..", "$a", "$[", "$.a[x]", "$.a b", "$.a[?]", "$.a ", "$.a-b", "$.a[01]", "$[?nope(@)]", "$.a[?@.x==]"]


@pytest.mark.parametrize("path", WRONG)
def test_an_invalid_query_is_refused(path):
    with pytest.raises(ValueError, match="is not a JSONPath query"):
        value_at(msgspec.UNSET, path)


ABSENT = {
    "no value": ("$.gone", {"exists": False}, True),
    "no values": ("$.items[?@.id == 9]", {"exists": False}, True),
    "no values, but demanded": ("$.items[?@.id == 9]", {"exists": True}, False),
    "no values, counted": ("$.items[?@.id == 9]", {"length": 0}, True),
    "values": ("$.items[?@.id == 1]", {"exists": True}, True),
    "an empty list is a value": ("$.empty", {"exists": True}, True),
}


@pytest.mark.parametrize(("path", "demand", "holds"), ABSENT.values(), ids=ABSENT)
def test_a_query_that_finds_nothing_is_absent(path, demand, holds):
    assert read_condition(demand).holds(value_at(DOCUMENT, path)) is holds


# received, demand, holds
NUMBERS = {
    "1.10 is 1.1": ("1.10", 1.1, True),
    "1.0 is 1": ("1.0", 1, True),
    "1e2 is 100": ("1e2", 100, True),
    "a number beyond 2^53 is itself": ("9007199254740993", 9007199254740993, True),
    "a number beyond 2^53 is not its neighbour": ("9007199254740993", 9007199254740992, False),
    "nor its neighbour as a fraction": ("9007199254740993.0", 9007199254740992, False),
    "nor the other way round": ("9007199254740992", 9007199254740993, False),
    "at least its neighbour": ("9007199254740992", {"min": 9007199254740993}, False),
    "at most its neighbour": ("9007199254740993", {"max": 9007199254740992}, False),
    "at least itself": ("9007199254740993", {"min": 9007199254740993}, True),
    "in a list": ("[9007199254740993]", [9007199254740992], False),
    "in an object": ('{"a": 1.10}', {"equals": {"a": 1.1}}, True),
    "contained": ("[0.30000000000000004]", {"contains": 0.3}, False),
    "one of": ("18446744073709551617", {"one_of": [18446744073709551616, 18446744073709551617]}, True),
    "0.1 + 0.2 is not 0.3": ("0.30000000000000004", 0.3, False),
    "more digits than a float has": ("0.10000000000000000001", 0.1, False),
    "beyond every float": ("1e400", {"min": 1}, True),
    "not every number beyond it is the same": ("1e400", {"equals": float("inf")}, False),
    "with an exponent beyond every use": ("1e99999999999999999999", {"min": 1}, True),
    "true is not 1 in a list": ("[true]", [1], False),
    "1 is not true in an object": ('{"a": 1}', {"equals": {"a": True}}, False),
    "a type": ("1.10", {"type": "number"}, True),
}


@pytest.mark.parametrize(("received", "demand", "holds"), NUMBERS.values(), ids=NUMBERS)
def test_numbers_are_compared_digit_for_digit(received, demand, holds):
    assert read_condition(demand).holds(decode_untrusted(received, exact=True)) is holds

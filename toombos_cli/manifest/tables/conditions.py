"""Conditions on a value of a response: `{ min = 1 }`, `{ matches = "^v2" }`, or just the expected value."""

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from toombos_cli.base.exact_numbers import as_decimal, encode_exact, is_number
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.manifest.tables.table import Table

if TYPE_CHECKING:
    from jsonpath_rfc9535 import JSONPathQuery

_PATH = re.compile(r"(?:^|\.)([^.\[\]]+)|\[(-?\d+)\]")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


class Matches(list[Any]):
    """The values that a JSONPath query with wildcards, slices or filters found; none of them counts as absent."""


class Condition(Table, frozen=True, omit_defaults=True):
    """A condition on a value: every operator that is given must hold. `length` is of a string, array or object."""

    equals: Any = msgspec.UNSET
    one_of: tuple[Any, ...] | msgspec.UnsetType = msgspec.UNSET
    min: int | float | str | msgspec.UnsetType = msgspec.UNSET
    max: int | float | str | msgspec.UnsetType = msgspec.UNSET
    matches: str | msgspec.UnsetType = msgspec.UNSET
    contains: Any = msgspec.UNSET
    length: int | msgspec.UnsetType = msgspec.UNSET
    min_length: int | msgspec.UnsetType = msgspec.UNSET
    type: Literal["string", "number", "boolean", "array", "object", "null"] | msgspec.UnsetType = msgspec.UNSET
    exists: bool | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if self.matches is not msgspec.UNSET:
            try:
                re.compile(self.matches)
            except re.error as error:
                raise ValueError(f"matches = {self.matches!r} is not a regular expression: {error}") from None

    def holds(self, value: Any) -> bool:
        """Report whether `value` meets the condition; UNSET means that there is no value."""
        if value is msgspec.UNSET:
            return self.exists is False
        if isinstance(value, Matches) and not value and self.exists is not msgspec.UNSET:
            return self.exists is False
        return self.exists is not False and all(
            _TESTS[name](value, wanted) for name, wanted in self._given() if name != "exists"
        )

    def __str__(self) -> str:
        return " and ".join(_said(name, wanted) for name, wanted in self._given())

    def _given(self) -> list[tuple[str, Any]]:
        pairs = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return [(name, wanted) for name, wanted in pairs if wanted is not msgspec.UNSET]


def read_condition(demand: Any) -> Condition:
    """Return the condition that a value in the manifest describes. Raises ValueError for an unknown operator."""
    if isinstance(demand, Condition):
        return demand
    if not isinstance(demand, dict):
        return Condition(equals=demand)
    known = Condition.__struct_fields__
    for name in demand:
        if name not in known:
            raise ValueError("; ".join(filter(None, (f"unknown operator {name!r}", did_you_mean(name, known)))))
    try:
        return msgspec.convert(demand, Condition)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def value_at(document: Any, path: str) -> Any:
    """Return the value at a path such as `results.email.status` or `posts[0].id`, or UNSET.

    A path that begins with `$` is a JSONPath query (RFC 9535): it gives its value if it can only have one, else the
    list of all values that it finds. Raises ValueError for an invalid path.
    """
    if path == "$":
        return document
    if path.startswith("$"):
        return _queried(document, path)
    position, value = 0, document
    while position < len(path):
        part = _PATH.match(path, position)
        if part is None:
            raise ValueError(f"{path!r} is not a path: write a.b[0].c, or $ for the whole document")
        position = part.end()
        if value is msgspec.UNSET:
            continue
        name, index = part[1], part[2]
        if name is not None:
            value = value.get(name, msgspec.UNSET) if isinstance(value, dict) else msgspec.UNSET
        else:
            inside = isinstance(value, list) and -len(value) <= int(index) < len(value)
            value = value[int(index)] if inside else msgspec.UNSET
    return value


def _queried(document: Any, path: str) -> Any:
    from jsonpath_rfc9535 import JSONPathError

    query = _query(path)
    if document is msgspec.UNSET:
        return msgspec.UNSET
    try:
        found = query.find(document).values()
    except JSONPathError as error:
        raise ValueError(f"{path!r} cannot be evaluated: {error}") from None
    if not query.singular_query():
        return Matches(found)
    return found[0] if found else msgspec.UNSET


@lru_cache(maxsize=512)
def _query(path: str) -> "JSONPathQuery":
    import jsonpath_rfc9535  # takes 25 ms, and few manifests need it

    try:
        return jsonpath_rfc9535.compile(path)
    except jsonpath_rfc9535.JSONPathError as error:
        raise ValueError(f"{path!r} is not a JSONPath query (RFC 9535): {error}") from None


def _same(value: Any, wanted: Any) -> bool:
    """Report whether two JSON values are equal, digit for digit; true is not 1, and 1.0 is 1."""
    if is_number(value) and is_number(wanted):
        return as_decimal(value) == as_decimal(wanted)
    if isinstance(value, list | tuple) and isinstance(wanted, list | tuple):
        return len(value) == len(wanted) and all(map(_same, value, wanted))
    if isinstance(value, dict) and isinstance(wanted, dict):
        return value.keys() == wanted.keys() and all(_same(value[key], wanted[key]) for key in value)
    return type(value) is type(wanted) and bool(value == wanted)


def _order(value: Any, wanted: Any) -> int | None:
    """Return whether a value is below (-1), equal to (0) or above (1) another; None if they cannot be compared."""
    if is_number(value) and is_number(wanted):
        order = as_decimal(value).compare(as_decimal(wanted))
        return None if order.is_nan() else int(order)
    if isinstance(value, str) and isinstance(wanted, str):
        return (value > wanted) - (value < wanted)
    return None


def _contains(value: Any, wanted: Any) -> bool:
    if isinstance(value, str):
        return isinstance(wanted, str) and wanted in value
    return isinstance(value, list | dict) and any(_same(item, wanted) for item in value)


_TESTS: dict[str, Any] = {
    "equals": _same,
    "one_of": lambda value, wanted: any(_same(value, item) for item in wanted),
    "min": lambda value, wanted: _order(value, wanted) in (0, 1),
    "max": lambda value, wanted: _order(value, wanted) in (0, -1),
    "matches": lambda value, wanted: isinstance(value, str) and re.search(wanted, value) is not None,
    "contains": _contains,
    "length": lambda value, wanted: isinstance(value, str | list | dict) and len(value) == wanted,
    "min_length": lambda value, wanted: isinstance(value, str | list | dict) and len(value) >= wanted,
    "type": lambda value, wanted: (
        isinstance(value, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))
    ),
}


def _said(name: str, wanted: Any) -> str:
    if name == "exists":
        return "present" if wanted else "absent"
    text = encode_exact(wanted)
    words = {"equals": "", "one_of": "one of ", "min": "at least ", "max": "at most ", "type": "a "}
    return f"{words.get(name, name.replace('_', ' ') + ' ')}{text}"

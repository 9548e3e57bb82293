"""Conditions of the smoke test on a value: `{ min = 1 }`, `{ matches = "^v2" }`, or just the expected value."""

import re
from typing import Any, Literal

import msgspec

from toombos_cli.base.spelling import did_you_mean
from toombos_cli.manifest.tables.service import Table

_PATH = re.compile(r"(?:^|\.)([^.\[\]]+)|\[(-?\d+)\]")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


class Condition(Table, frozen=True, omit_defaults=True):
    """A condition on a value: every operator that is given must hold. `length` is of a string, array or object."""

    equals: Any = msgspec.UNSET
    one_of: tuple[Any, ...] | msgspec.UnsetType = msgspec.UNSET
    min: float | str | msgspec.UnsetType = msgspec.UNSET
    max: float | str | msgspec.UnsetType = msgspec.UNSET
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
    """Return the value at a path such as `results.email.status` or `posts[0].id` (`$`: the document), or UNSET.

    Raises ValueError for an invalid path.
    """
    if path == "$":
        return document
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


def _same(value: Any, wanted: Any) -> bool:
    """Report whether two JSON values are equal; true is not 1."""
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


def _compares(value: Any, wanted: Any) -> bool:
    return (
        not isinstance(value, bool)
        and isinstance(value, str) == isinstance(wanted, str)
        and (isinstance(value, int | float | str))
    )


def _contains(value: Any, wanted: Any) -> bool:
    if isinstance(value, str):
        return isinstance(wanted, str) and wanted in value
    return isinstance(value, list | dict) and any(_same(item, wanted) for item in value)


_TESTS: dict[str, Any] = {
    "equals": _same,
    "one_of": lambda value, wanted: any(_same(value, item) for item in wanted),
    "min": lambda value, wanted: _compares(value, wanted) and value >= wanted,
    "max": lambda value, wanted: _compares(value, wanted) and value <= wanted,
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
    text = msgspec.json.encode(wanted).decode()
    words = {"equals": "", "one_of": "one of ", "min": "at least ", "max": "at most ", "type": "a "}
    return f"{words.get(name, name.replace('_', ' ') + ' ')}{text}"

"""Reports without anything that could control a terminal or forge a line: what every format for people starts from."""

import dataclasses
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeVar

from toombos_cli.base.fixes import Fix
from toombos_cli.base.text import folded, printable_lines

T = TypeVar("T")


def presentable(value: T) -> T:
    """Return a report, or a part of one, in which each text is one printable line.

    A field whose metadata has `lines` keeps its line ends. The words of a fix stay: its command quotes them.
    """
    found: T = _presentable(value)
    return found


def _presentable(value: Any) -> Any:
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return folded(value)
    if isinstance(value, PurePath):
        return value if str(value).isprintable() else type(value)(folded(str(value)))
    if isinstance(value, Mapping):
        return {_presentable(key): _presentable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | frozenset | set):
        return type(value)(map(_presentable, value))
    if hasattr(value, "__struct_fields__"):  # a table of the manifest; a type check would import msgspec
        return _changed(value, {name: _presentable(getattr(value, name)) for name in value.__struct_fields__})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _changed(value, {field.name: _field(value, field) for field in dataclasses.fields(value)})
    return value


def _field(record: Any, field: "dataclasses.Field[Any]") -> Any:
    value = getattr(record, field.name)
    if "lines" in field.metadata:
        return {k: printable_lines(v) for k, v in value.items()} if isinstance(value, dict) else printable_lines(value)
    return value if isinstance(record, Fix) and field.name == "argv" else _presentable(value)


def _changed(record: Any, values: Mapping[str, Any]) -> Any:
    """Return the record with these values, or itself if they are its own."""
    changed = {name: value for name, value in values.items() if value != getattr(record, name)}
    if not changed:
        return record
    if dataclasses.is_dataclass(record):
        return dataclasses.replace(record, **changed)  # type: ignore[type-var]  # not a class
    import msgspec

    return msgspec.structs.replace(record, **changed)

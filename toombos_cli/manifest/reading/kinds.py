"""Looks up the types of the manifest: which keys a table has, which values a key accepts."""

from enum import EnumType
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.reading.layers import KeyPath
from toombos_cli.manifest.tables.table import Table


def is_table(kind: Any) -> bool:
    """Report whether `kind` is the type of a manifest table."""
    return isinstance(kind, type) and issubclass(kind, Table)


def kind_at(path: KeyPath) -> Any:
    """Return the type of the value at `path`, or None if there is no such key."""
    kind: Any = Manifest
    for part in path:
        kind = _table_in(kind)
        if is_table(kind):
            types = {field.name: field.type for field in msgspec.structs.fields(kind)}
            kind = types.get(str(part))
        else:
            arguments = [a for a in get_args(kind) if is_table(_table_in(a))]
            kind = arguments[0] if arguments else kind if isinstance(part, int) else None
    return kind


def keys_at(path: KeyPath) -> list[str]:
    """Return the keys that the table at `path` may have."""
    kind = _table_in(kind_at(path))
    return [field.name for field in msgspec.structs.fields(kind) if field.name != "name"] if is_table(kind) else []


def choices_of(kind: Any) -> list[str]:
    """Return the choices for a value of this type, or for an item of it; [] if it is not limited to choices."""
    if isinstance(kind, EnumType):
        members: list[Any] = list(kind.__members__.values())
        return [str(member.value) for member in members]
    if get_origin(kind) is Literal:
        return [choice for choice in map(str, get_args(kind)) if choice]
    return next((found for argument in reversed(get_args(kind)) if (found := choices_of(argument))), [])


def _table_in(kind: Any) -> Any:
    """Return the table in a union such as `str | Expectation`, or the type itself."""
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        return next((part for part in get_args(kind) if is_table(part)), kind)
    return kind

"""Makes a value of any type of the product's reports, every text in it being the same."""

import dataclasses
import types
import typing
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from toombos_cli.base.fixes import Fix

T = TypeVar("T")
_MOMENT = "2026-11-28T10:00:00+00:00"
_GIVEN = {
    "ArchiveRow.created_at": _MOMENT,
    "RestoreReport.made_at": _MOMENT,
    "Comparison.metric": "p50_us",
    "LoadReport.failed_status": {"500": 1},
    "LoadReport.status": {"200": 1},
    "MonitoringRow.state": "down",
    "SettingsChangeReport.action": "encrypt",
}
"""Texts that a view parses, or looks up."""


def made_up(kind: type[T], text: str) -> T:
    """Return a value of this type, whose texts are all `text`, with as much in it as the type allows."""
    value: T = _made(kind, text)
    return value


def _made(kind: Any, text: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _made(next(arg for arg in args if arg is not type(None)), text)
    if origin is typing.Annotated:
        return _made(args[0], text)
    if origin is Literal:
        return args[0]
    if origin in (tuple, list, frozenset, set):
        items = [arg for arg in args if arg is not ...] or [str]
        return origin(_made(arg, text) for arg in (items * 2 if len(items) == 1 else items))
    if origin is not None and issubclass(origin, typing.Mapping):
        return {_made(args[0], text): _made(args[1], text)}
    if isinstance(kind, type):
        return _of_class(kind, text)
    return text


def _of_class(kind: type, text: str) -> Any:
    if issubclass(kind, Enum):
        return next(iter(kind))
    if issubclass(kind, PurePath):
        return Path("/project") / text
    if issubclass(kind, datetime):
        return datetime.fromtimestamp(0, UTC)
    if kind in (bool, int, float, bytes):
        return kind(1)
    if kind is Fix:
        return Fix(advice=text)
    if typing.is_typeddict(kind):
        return {name: _made(hint, text) for name, hint in typing.get_type_hints(kind).items()}
    names: tuple[str, ...] = ()
    if issubclass(kind, msgspec.Struct):
        names = kind.__struct_fields__
    elif dataclasses.is_dataclass(kind):
        names = tuple(field.name for field in dataclasses.fields(kind))
    hints = typing.get_type_hints(kind, include_extras=True)
    given = {name: _GIVEN.get(f"{kind.__name__}.{name}") or _made(hints[name], text) for name in names}
    return kind(**given) if names else text

"""The JSON envelope: the single document that every command prints with `--json`, even on failure."""

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from pathlib import PurePath
from typing import Any

from toombos_cli.base.errors import Problem
from toombos_cli.base.fixes import Fix
from toombos_cli.base.results import Report
from toombos_cli.render.formats import Output

SCHEMA_VERSION = 2


def show(report: Report, output: Output, exit_code: int) -> None:
    """Print the report's envelope."""
    _print(document(report, output.command, exit_code), output)


def document(report: Report, command: str, exit_code: int) -> dict[str, Any]:
    """Return the report's envelope: `schema_version, command, verdict, exit_code, data, errors`."""
    data = {name: value for name, value in plain(report).items() if name not in report.hidden}
    return _envelope(command, report.verdict.value, exit_code, data, report.problems)


def print_envelope(
    output: Output, *, verdict: str, exit_code: int, data: dict[str, Any], errors: tuple[Problem, ...] = ()
) -> None:
    """Print the envelope of a command that produced no report."""
    _print(_envelope(output.command, verdict, exit_code, data, errors), output)


def _envelope(
    command: str, verdict: str, exit_code: int, data: dict[str, Any], errors: tuple[Problem, ...]
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "verdict": verdict,
        "exit_code": exit_code,
        "data": data,
        "errors": [plain(problem) for problem in errors],
    }


def _print(document: dict[str, Any], output: Output) -> None:
    stream = output.document
    text = json.dumps(document, indent=2 if stream.isatty() else None, ensure_ascii=True)
    stream.write(f"{text}\n")  # in one call: a value that cannot be written must not leave half a document
    stream.flush()


def plain(value: Any) -> Any:
    """Return `value` in JSON types: tuples become arrays, enums their values, times ISO 8601.

    Dataclasses and tables of the manifest become objects.
    """
    if isinstance(value, Fix):
        return value.document()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "__struct_fields__"):  # a table of the manifest; a type check would import msgspec
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    return value

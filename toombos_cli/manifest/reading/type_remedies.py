"""What a value of the wrong type is, in words for people, and what to write instead."""

import json
import re
import shlex
from typing import Any, get_args, get_origin

import msgspec

from toombos_cli.base.errors import UsageError
from toombos_cli.base.redaction import is_secret_name
from toombos_cli.base.text import parse_duration
from toombos_cli.manifest.reading.kinds import choices_of, is_table

_MISMATCH = re.compile(r"Expected `([^`]+)`, got `([^`]+)`$")
_WORDS = {
    "str": "a text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}
_GOT = _WORDS | {"bool": "true or false without quotes", "float": "a number with a point"}
_TRUTH = dict.fromkeys(("true", "yes", "on", "1"), "true") | dict.fromkeys(("false", "no", "off", "0"), "false")
_SHELL_SYNTAX = re.compile(r"[|&;<>$*?~`()\n#]|^\w+=")
_SECONDS_PER = {"_ms": 0.001, "_s": 1.0, "_h": 3600.0}
_MIB_PER = {"k": 1 / 1024, "m": 1, "g": 1024}


def type_mismatch(text: str) -> tuple[list[str], str] | None:
    """Return the types that msgspec expected and the one it got, or None for another kind of error."""
    found = _MISMATCH.match(text)
    return (found[1].split(" | "), found[2]) if found else None


def in_words(expected: list[str], got: str) -> str:
    """Return a sentence such as `must be a whole number, not a text in quotes`."""
    wanted = [_WORDS.get(name, name) for name in expected if name != "null"]
    if {"int", "float"} <= set(expected):
        wanted.remove(_WORDS["int"])
    return f"must be {' or '.join(wanted)}, not {_GOT.get(got, got)}"


def wrong_entry(value: Any, kind: Any) -> str | None:
    """Return the first key of a mapping whose value is not of the mapping's type, or None."""
    arguments = get_args(kind)
    if not isinstance(value, dict) or get_origin(kind) is not dict:
        return None
    for key, item in value.items():
        try:
            msgspec.convert(item, arguments[1])
        except msgspec.ValidationError:
            return str(key)
    return None


def what_to_write(key: str, value: Any, kind: Any, expected: list[str]) -> str | None:
    """Return the line to write for a key, or None if only a person knows what was meant. Secrets are not repeated."""
    if is_secret_name(key):
        return f'{key} = "..."' if "str" in expected else None
    written = _written(key, value, kind, expected)
    return None if written is None else f"{key} = {written}"


def _written(key: str, value: Any, kind: Any, expected: list[str]) -> str | None:
    if isinstance(value, str):
        return _from_text(key, value, kind, expected)
    if isinstance(value, list) and "array" in expected and all(isinstance(item, str | int | float) for item in value):
        return _array([_text_of(item) for item in value])
    if isinstance(value, list) and "object" in expected and get_origin(kind) is dict:
        return _table_of_pairs(value)
    if isinstance(value, list) and expected == ["str"] and len(value) == 1 and isinstance(value[0], str):
        return json.dumps(value[0], ensure_ascii=False)
    if isinstance(value, bool | int | float) and expected in (["str"], ["str", "null"]):
        return json.dumps(_text_of(value))
    if isinstance(value, int) and "array" in expected:
        return f"[{value}]" if int in get_args(kind) else None
    return str(int(value)) if isinstance(value, float) and value.is_integer() and "int" in expected else None


def _from_text(key: str, text: str, kind: Any, expected: list[str]) -> str | None:
    """Return what a text means where another type is expected."""
    if "bool" in expected:
        return {
            "true": "true",
            "yes": "true",
            "on": "true",
            "1": "true",
            "false": "false",
            "no": "false",
            "off": "false",
            "0": "false",
        }.get(text.strip().lower())
    if "int" in expected or "float" in expected:
        return _number(key, text.strip(), whole="float" not in expected)
    if "array" in expected:
        return _array(_command(text) if key.endswith("command") else _items(text))
    if "object" in expected and key == "depends_on":
        return _array(_items(text))
    if "object" in expected:
        return _table_with(text, kind)
    return None


def _number(key: str, text: str, *, whole: bool) -> str | None:
    """Return a number for a text such as `7101`, `1m30s` or `512M`, in the unit that the key's name ends with."""
    if re.fullmatch(r"-?\d+" if whole else r"-?\d+(\.\d+)?", text):
        return text
    if key.endswith("_mb") and (size := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg])i?b?", text.lower())):
        return f"{float(size[1]) * _MIB_PER[size[2]]:g}"
    for unit, unit_s in _SECONDS_PER.items():
        if key.endswith(unit):
            try:
                return f"{parse_duration(text, where=key) / unit_s:g}"
            except UsageError:
                return None
    return None


def _command(text: str) -> list[str]:
    """Return the words of a command line; with the syntax of a shell, those that run it in one."""
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    return ["sh", "-c", text] if _SHELL_SYNTAX.search(text) or not words else words


def _items(text: str) -> list[str]:
    return [item for item in re.split(r"[,\s]+", text.strip()) if item]


def _array(items: list[str]) -> str:
    return f"[{', '.join(json.dumps(item, ensure_ascii=False) for item in items)}]"


def _table_with(text: str, kind: Any) -> str | None:
    """Return a table with the one key that has this value among its choices."""
    table = next((part for part in (kind, *get_args(kind)) if is_table(part)), None)
    fields = msgspec.structs.fields(table) if table else ()
    named = [field.name for field in fields if text in choices_of(field.type)]
    return f'{{ {named[0]} = "{text}" }}' if named else None


def _table_of_pairs(items: list[Any]) -> str | None:
    """Return a table for a list of texts such as `A=b`, as other tools write variables."""
    pairs = [item.partition("=") for item in items if isinstance(item, str) and re.match(r"[\w.-]+=", item)]
    if len(pairs) != len(items) or any(is_secret_name(name) for name, _, _ in pairs):
        return None
    return f"{{ {', '.join(f'{name} = {json.dumps(value, ensure_ascii=False)}' for name, _, value in pairs)} }}"


def _text_of(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

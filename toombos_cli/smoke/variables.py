"""Variables in a step: `${name}` for captured values, `${env.NAME}` and `${run.id}`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from toombos_cli.manifest.tables.smoke import SmokeStep

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_.-]*)\}")
ENVIRONMENT, RUN_ID = "env.", "run.id"


class MissingVariableError(Exception):
    """A step needs a value that no earlier step has captured."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def used_by(step: SmokeStep) -> tuple[str, ...]:
    """Return the names that a step uses, each once, in order of appearance."""
    parts = (step.path, step.headers, step.body, step.json, step.metrics, step.cleanup and step.cleanup.path)
    return tuple(dict.fromkeys(name for text in _texts(parts) for name in _VARIABLE.findall(text)))


def sent_by(step: SmokeStep) -> tuple[str, ...]:
    """Return the names of the environment's variables that a step sends to its service."""
    parts = (step.path, step.headers, step.body, step.cleanup and step.cleanup.path)
    found = dict.fromkeys(name for text in _texts(parts) for name in _VARIABLE.findall(text))
    return tuple(name.removeprefix(ENVIRONMENT) for name in found if name.startswith(ENVIRONMENT))


def fill(value: Any, values: Mapping[str, Any]) -> Any:
    """Return `value` with its variables replaced; a text that is a single variable becomes its value, with its type.

    An environment variable that is not set becomes "". Raises MissingVariableError for any other missing value.
    """
    if isinstance(value, str):
        whole = _VARIABLE.fullmatch(value)
        return _value(whole[1], values) if whole else _VARIABLE.sub(lambda m: _text(_value(m[1], values)), value)
    if isinstance(value, Mapping):
        return {key: fill(item, values) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill(item, values) for item in value]
    return value


def fill_path(path: str, values: Mapping[str, Any]) -> str:
    """Return a path with its variables filled in, percent-encoded so that a value cannot lead to another path."""
    return _VARIABLE.sub(lambda m: quote(_text(_value(m[1], values)), safe=""), path)


def credentials(steps: Iterable[SmokeStep], service: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a service's steps that consist of one variable which is set: its keys, not their values."""
    return {
        name: value
        for step in steps
        if step.service == service
        for name, value in step.headers.items()
        if (match := _VARIABLE.fullmatch(value))
        and match[1].startswith(ENVIRONMENT)
        and environment.get(match[1].removeprefix(ENVIRONMENT))
    }


def _value(name: str, values: Mapping[str, Any]) -> Any:
    if name in values:
        return values[name]
    if name.startswith(ENVIRONMENT):
        return ""
    raise MissingVariableError(name)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)

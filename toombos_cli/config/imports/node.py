"""A foreign file as a tree whose every value knows its line, so that each complaint can name the place."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toombos_cli.base.errors import ConfigurationError

_MOST = 1e9
"""No time or count of a service is larger."""
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Foreign:
    """A file to take over: where it is, its text with plain line ends, and the lines of its upper keys."""

    path: Path
    text: str
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    def problem(self, message: str, *, line: int | None = None, hint: str | None = None) -> ConfigurationError:
        """Return the error for a mistake in this file."""
        where = str(self.path) if line is None else f"{self.path}:{line}"
        return ConfigurationError(message, where=where, hint=hint)


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a foreign file, or the absence of one (None), with the way to it."""

    value: Any
    source: Foreign
    path: KeyPath = ()

    @property
    def line(self) -> int | None:
        """The line of the value, or of the closest key above it whose line is known."""
        lengths = range(len(self.path), 0, -1)
        return next((self.source.lines[self.path[:n]] for n in lengths if self.path[:n] in self.source.lines), None)

    @property
    def name(self) -> str:
        """The way to the value, as in `services.web.ports`."""
        return ".".join(map(str, self.path))

    def __bool__(self) -> bool:
        return self.value is not None

    def __getitem__(self, key: str) -> "Node":
        """Return the value of a key; one without a value if there is no such key, or no mapping."""
        value = self.value.get(key) if isinstance(self.value, dict) else None
        return Node(value, self.source, (*self.path, key))

    def entries(self) -> "dict[str, Node]":
        """Return the values of a mapping by key; {} for none. Raise ConfigurationError for anything else."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise self.problem("must be a mapping")
        return {str(key): Node(value, self.source, (*self.path, str(key))) for key, value in self.value.items()}

    def items(self) -> "list[Node]":
        """Return the items of a list, or the single value itself; [] for none."""
        if self.value is None:
            return []
        values = self.value if isinstance(self.value, list) else None
        return [self] if values is None else [Node(v, self.source, (*self.path, i)) for i, v in enumerate(values)]

    def scalar(self, default: str = "") -> str:
        """Return a scalar as text. Raise ConfigurationError for a list or a mapping."""
        if self.value is None:
            return default
        if isinstance(self.value, dict | list):
            raise self.problem("must be a single value")
        text = str(self.value).lower() if isinstance(self.value, bool) else str(self.value)
        if "\0" in text:
            raise self.problem("must not contain the character NUL")
        return text

    def is_true(self) -> bool:
        """Report whether a switch is on."""
        return self.scalar().lower() in ("true", "yes", "on", "1")

    def is_false(self) -> bool:
        """Report whether a switch is off, rather than absent."""
        return self.scalar().lower() in ("false", "no", "off", "0")

    def number(self) -> float | None:
        """Return a number, or None if there is none. Raise ConfigurationError for another text."""
        if self.value is None:
            return None
        try:
            number = float(self.scalar())
        except ValueError:
            number = math.nan
        if not abs(number) < _MOST:
            raise self.problem("must be a number")
        return number

    def problem(self, message: str, *, hint: str | None = None) -> ConfigurationError:
        """Return the error for this value."""
        named = f"{self.name}: {message}" if self.path else message
        return self.source.problem(named, line=self.line, hint=hint)

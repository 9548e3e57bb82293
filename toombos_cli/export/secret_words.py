"""Texts without secrets: a secret in them becomes a reference to a variable, which each engine spells its own way."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from toombos_cli.base.redaction import SHORTEST_SECRET, Redactor
from toombos_cli.config.imports.secrets import is_secret

_REFERENCE = re.compile("\x03([^\x04]*)\x04")
_WORD = re.compile(r"[a-z-]+|[0-9]+")
"""A secret like the name of a program or a number: texts hold it by chance, too."""
_VARIABLE = re.compile(r"[^A-Za-z0-9_]")


def spelled(text: str, *, plain: Callable[[str], str], secret: Callable[[str], str]) -> str:
    """Return the text with its plain parts escaped by one function, and its references spelled by the other."""
    parts = _REFERENCE.split(text)
    return "".join(secret(part) if index % 2 else plain(part) for index, part in enumerate(parts))


def names_in(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the variables that the texts refer to, each once."""
    return tuple(dict.fromkeys(name for text in texts for name in _REFERENCE.findall(text)))


def bare(text: str) -> str:
    """Return the text for a reader: `$NAME` for each reference."""
    return spelled(text, plain=str, secret=lambda name: f"${name}")


def holds(text: str, secret: str) -> bool:
    """Report whether a text holds a secret, except for one that may stand there by chance: short, or a mere word."""
    if len(secret) < SHORTEST_SECRET or secret not in text or _WORD.fullmatch(secret):
        return False
    return _alone(secret).search(text) is not None


def secrets_in(tree: Any, key: str = "") -> Iterator[str]:
    """Yield the keys of a tree of tables whose texts are secrets by their name or form; a reference is none."""
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from secrets_in(value, name)
    elif isinstance(tree, list):
        for value in tree:
            yield from secrets_in(value, key)
    elif isinstance(tree, str) and "${" not in tree and is_secret(key, tree):
        yield key


def _alone(value: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])")


@dataclass(slots=True, kw_only=True)
class Hider:
    """Replaces secrets by references. `known` are the values of the env files that are secrets, by value."""

    known: Mapping[str, str] = field(repr=False)
    named: dict[str, str] = field(default_factory=dict, repr=False)
    """The secrets that stand in the manifest itself, by the name of the variable that must hold them from now on."""

    def text(self, text: str) -> str:
        """Return a text in which values of the env files are references."""
        for value in sorted(self.known, key=len, reverse=True):
            name = self.known[value]
            text = _alone(value).sub(f"\x03{name}\x04", text) if len(value) >= SHORTEST_SECRET else text
        return text

    def variable(self, name: str, value: str, *, secret: bool) -> str:
        """Return the value of a variable of the manifest: a reference to itself if it is a secret."""
        if (secret or is_secret(name, value)) and "\x03" not in self.text(value):
            self.named[name] = value
            return f"\x03{name}\x04"
        return self.text(value)

    def words(self, words: tuple[str, ...], *, owner: str) -> tuple[str, ...]:
        """Return a command line without secrets; one that no variable holds gets a name made of its owner's."""
        words = (*words[:1], *map(self.text, words[1:]))  # a password may be the name of a program
        finder = Redactor()
        finder.argv(words)
        finder.text(" ".join(words))  # some options are secrets only after their program
        for value in finder.found:
            if "\x03" in value:
                continue
            name = self._name(owner, value)
            words = tuple(word.replace(value, f"\x03{name}\x04") for word in words)
        return words

    def _name(self, owner: str, value: str) -> str:
        base = _VARIABLE.sub("_", owner).upper() + "_SECRET"
        candidates = (base, *(f"{base}_{number}" for number in range(2, 1000)))
        name = next(name for name in candidates if self.named.get(name, value) == value)
        self.named[name] = value
        return name

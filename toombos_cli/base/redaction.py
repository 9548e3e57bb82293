"""Removes secrets from everything that leaves the program: findings, logs, bundles and tracebacks.

It replaces known secret values in every encoding, then what `secret_patterns` recognises by its context or form.
Equal secrets get equal tokens, so that a reader can still see which values are the same.
"""

import base64
import dataclasses
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus, unquote

from toombos_cli.base.secret_patterns import (
    SUFFIXES,
    WORDS,
    block_left_open,
    is_mixed,
    is_random,
    replace_block_line,
    replace_unknown,
)

T = TypeVar("T")

MASK = "********"
SHORTEST_SECRET = 5
"""Shorter values are not searched for: they occur everywhere by chance."""

_SIGNS_OF_PARTS = ("=", "://", "{", "-----", "\n", "jdbc:")
_SHORTEST_SEEN, _MOST_SEEN = 10, 100
_LONGEST_BLOCK = 200
_LARGEST_COUNT = 9999
_LONGEST_WORD = 10
"""A secret of at most so many letters, and nothing else, may be an ordinary word."""

_SECRET_NAME = rf"(?i)(?:(?:^|_|-|\b)(?:{WORDS}|key)|[_-](?:pwd|pass)|password|secret|token|apikey){SUFFIXES}$"
_HARMLESS = frozenset(
    {"", "true", "false", "none", "null", "yes", "no", "missing", "invalid", "required", "set", MASK}
) | {
    *("valid", "ok", "failed", "expired", "unset", "empty", "expected", "string"),
    *("is", "are", "was", "has", "must", "should", "may", "needs", "cannot", "not"),  # "token: is required"
}


def is_secret_name(name: str) -> bool:
    """Report whether the name of a variable or header suggests that its value is a secret."""
    return bool(re.search(_SECRET_NAME, name))


class Redactor:
    """Replaces secrets with tokens, equal ones for equal secrets: `<API_KEY>` for a known one, else `<secret-1>`."""

    def __init__(self, secrets: Iterable[tuple[str, str]] = ()) -> None:
        """Create a redactor for `secrets`, pairs of name and plain value; a shared value gets its first name."""
        self._tokens: dict[str, str] = {}
        self._spellings: dict[str, str] = {}
        self._seen: list[str] = []
        self._unknown = 0
        self._lines_of_block = 0  # more than 0 after the first line of a key that is read line by line
        for name, value in secrets:
            if len(value) >= SHORTEST_SECRET:
                token = self._tokens.setdefault(value, f"<{name}>")
                for spelling in spellings(value):
                    self._spellings.setdefault(spelling, token)
        longest_first = sorted(self._spellings, key=len, reverse=True)
        literals = (_word(text) if text in self._tokens else re.escape(text) for text in longest_first)
        self._literals = re.compile("|".join(literals)) if longest_first else None

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        if self._literals is not None:
            text = self._literals.sub(lambda match: self._spellings[match[0]], text)
        begins_or_ends = block_left_open(text) if "-----" in text else None
        if self._lines_of_block and begins_or_ends is not True:
            self._lines_of_block -= 1
            text = replace_block_line(text, self._token)
        if begins_or_ends is not None:
            self._lines_of_block = _LONGEST_BLOCK if begins_or_ends else 0
        text = replace_unknown(text, self._token)
        for value in self._seen[-_MOST_SEEN:]:  # a secret that some context gave away is known from then on
            if value in text:
                text = text.replace(value, self._tokens[value])
        return text

    def argv(self, words: Iterable[str]) -> tuple[str, ...]:
        """Return a command line without secrets: each word is one value, whatever blanks and quotes are in it."""
        shown: list[str] = []
        option = ""
        for word in words:
            name, equals, rest = word.partition("=")
            if option and not word.startswith("-"):
                shown.append(self._token(word))
            elif equals and is_secret_name(name):
                shown.append(f"{name}={self._token(rest)}")
            else:
                shown.append(self.text(word))
            option = word if word.startswith("-") and not equals and is_secret_name(word) else ""
        return tuple(shown)

    @property
    def found(self) -> tuple[str, ...]:
        """The secrets that were recognised so far, in addition to those that were known."""
        return tuple(value for value, token in self._tokens.items() if token.startswith("<secret-"))

    def value(self, value: T) -> T:
        """Return the same structure (dataclasses, mappings, sequences) with every text in it redacted."""
        return self._value(value)  # type: ignore[no-any-return]  # the structure is kept, which types cannot say

    def leaks(self, text: str) -> tuple[str, ...]:
        """Return the tokens of the known secrets that are still in `text`, in any spelling; () if it is clean."""
        if self._literals is None:
            return ()
        return tuple(sorted({self._spellings[match[0]] for match in self._literals.finditer(text)}))

    def _value(self, value: Any) -> Any:
        if isinstance(value, str) and not isinstance(value, Enum):
            return self.text(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changed = {f.name: self._value(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
            return dataclasses.replace(value, **changed)
        if isinstance(value, Mapping):
            return self._mapping(value)
        if hasattr(value, "__struct_fields__") and not isinstance(value, type):
            import msgspec  # already loaded if there is such a value

            return msgspec.structs.replace(
                value, **{f: self._value(getattr(value, f)) for f in value.__struct_fields__}
            )
        if isinstance(value, list | tuple | set | frozenset):
            items = self._pair(value) if isinstance(value, tuple | list) else [self._value(item) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        return type(value)(self.text(str(value))) if isinstance(value, PurePath) else value

    def _pair(self, value: "tuple[Any, ...] | list[Any]") -> list[Any]:
        """Return the items; in a pair of a name and a value, the name decides as it does in a mapping."""
        if len(value) == 2 and all(isinstance(item, str) for item in value) and is_secret_name(value[0]):
            return [value[0], self._token(value[1])]
        return [self._value(item) for item in value]

    def _mapping(self, value: Mapping[Any, Any]) -> dict[Any, Any]:
        shown = {self._value(key): self._entry(key, item) for key, item in value.items()}
        named = next((value[key] for key in ("name", "key") if isinstance(value.get(key), str)), "")
        if named and is_secret_name(named) and isinstance(value.get("value"), str):
            shown["value"] = self._token(value["value"])
        return shown

    def _entry(self, key: object, item: Any) -> Any:
        if not (isinstance(key, str) and (is_secret_name(key) or is_secret_name(key.removesuffix("s")))):
            return self._value(item)
        if isinstance(item, str) and not isinstance(item, Enum):
            return self._token(item) if is_secret_name(key) else self._value(item)
        if isinstance(item, int) and not isinstance(item, bool) and is_secret_name(key):
            return self._token(str(item)) if abs(item) > _LARGEST_COUNT else item
        return self._all(item)

    def _all(self, value: Any) -> Any:
        """Return what stands under a name that sounds secret, with every text in it replaced."""
        if isinstance(value, str) and not isinstance(value, Enum):
            return self._token(value)
        if isinstance(value, Mapping):
            return {key: self._part(item) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self._all(item) for item in value)
        return self._value(value)

    def _part(self, value: Any) -> Any:
        """Return a member of an object under such a name: a text is a secret if it looks like one."""
        if isinstance(value, str) and not isinstance(value, Enum):
            return self._token(value) if is_mixed(value) and " " not in value else self._value(value)
        return self._all(value) if isinstance(value, Mapping) else self._value(value)

    def _token(self, value: str) -> str:
        if value.strip().lower() in _HARMLESS or re.fullmatch(r"\d{1,4}", value):
            return value
        if re.fullmatch(r"<[\w -]+>|\$\{?\w+\}?|\*{3,}|\.{3}|\$", value):
            return value
        if value not in self._tokens:
            self._unknown += 1
            self._tokens[value] = f"<secret-{self._unknown}>"
            if is_mixed(value) and len(value) >= _SHORTEST_SEEN:
                self._seen.append(value)
        return self._tokens[value]


def _word(spelling: str) -> str:
    """Return a regex for a secret as is. One that may be a word ("short") must be a whole word: not in "shorter"."""
    if not spelling.isalpha() or len(spelling) > _LONGEST_WORD:
        return re.escape(spelling)
    begins = r"(?:(?<![A-Za-z])|(?<=\\[nrt]))"  # an escaped line end may precede it
    return rf"{begins}{spelling}(?![A-Za-z])"


def spellings(value: str) -> frozenset[str]:
    """Return `value` raw and in the encodings in which it may appear.

    These are URLs (once and twice), base64 (at every alignment), hexadecimal, JSON (once and twice, and as strict
    encoders escape it), HTML and Python.
    """
    import html  # slow to import, and only needed if there are secrets

    once, wide = json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]
    found = {value, once, wide, json.dumps(once)[1:-1], repr(value)[1:-1], value.encode("unicode_escape").decode()}
    for text in (once, wide):
        found |= {text.replace("/", "\\/"), re.sub("[&<>]", lambda match: f"\\u{ord(match[0]):04x}", text)}
    text = html.escape(value, quote=False)
    for double in ('"', "&quot;", "&#34;"):
        found |= {text.replace('"', double).replace("'", single) for single in ("'", "&#x27;", "&#39;", "&apos;")}
    raw = value.encode("utf-8", "surrogateescape")
    found |= {value.replace("'", single) for single in ("'\\''", "'\"'\"'")}
    found |= {raw.hex(), raw.hex().upper(), repr(raw)[2:-1]}
    for encoded in (quote(value), quote(value, safe=""), quote_plus(value)):
        found |= {encoded, quote(encoded, safe=""), re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)}
    for shift in range(3):
        # Only the base64 characters of whole three-byte groups depend on the secret alone, not on its neighbours.
        start = (-shift) % 3
        whole = raw[start : start + (len(raw) - start) // 3 * 3]
        if len(whole) >= 6:
            plain = base64.b64encode(whole).decode()
            found |= {plain, plain.replace("+", "-").replace("/", "_")}
    return frozenset(found)


def secrets_inside(value: str) -> tuple[str, ...]:
    """Return the secrets that are recognised in a value, such as the password in a URL, also decoded and in pieces."""
    if not any(sign in value for sign in _SIGNS_OF_PARTS):
        return ()
    finder = Redactor()
    finder.text(value)
    found = [part for text in finder.found for part in (text, unquote(text))]
    found += [piece for text in found for piece in re.split("[/:]", text) if is_random(piece)]
    return tuple(dict.fromkeys(found))


def secrets_of(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield name and value of the secrets in an environment: those that sound so, and those inside other values."""
    for name, value in environment.items():
        if is_secret_name(name):
            yield name, value
        yield from ((name, part) for part in secrets_inside(value))


def mask_values(argv: Iterable[str], options: Collection[str]) -> Iterator[str]:
    """Yield a command line with these options' values masked: `-d TEXT`, `-dTEXT`, `--data TEXT`, `--data=TEXT`."""
    value_follows = False
    for word in argv:
        option = next((name for name in options if word.startswith(name)), None)
        if value_follows:
            yield MASK
        elif option and word != option:
            yield f"{option}={MASK}" if option.startswith("--") else f"{option}{MASK}"
        else:
            yield word
        value_follows = not value_follows and word in options

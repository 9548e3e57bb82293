"""Removes secrets from everything that leaves the program: findings, logs, bundles and tracebacks.

It replaces known secret values in every encoding, then values whose key sounds secret, then the user part of URLs.
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
from urllib.parse import quote, quote_plus

T = TypeVar("T")

MASK = "********"
SHORTEST_SECRET = 5
"""Shorter values are not searched for: they occur everywhere by chance."""

_LONGEST_WORD = 10
"""A secret of at most so many letters, and nothing else, may be an ordinary word."""

# Patterns are plain text, which re compiles on first use: most commands never see a line with one of these words.
_WORDS = (
    r"api[_-]?key|secret[_-]?key|access[_-]?key|secret|token|passw(?:or)?d|passphrase|[_-]pass"
    r"|credentials?|private[_-]?key|encryption[_-]?key|auth[_-]?key|account[_-]?key|requirepass|masterauth"
)
_MORE = r"(?:_json|_b64|_base64|_base|_old|_new|_v?\d+)?"
"""The suffixes that may follow such a word."""
_IN_NAMES = ("key", "secret", "token", "pass", "credential", "pwd", "sig", "-u")
_IN_SHAPES = (
    *("akia", "asia", "gh", "glpat", "xox", "k_live_", "eyj", "hooks", "private key", "sk-", "npm_", "pypi-", "hvs."),
    *("dop_v1_", "aiza", "sg.", "/bot"),
)
_SECRET_NAME = rf"(?i)(?:(?:^|_|-|\b)(?:{_WORDS}|key)|[_-](?:pwd|pass)){_MORE}$"
_KEY_VALUE = rf"""(?imx)
    (?P<head>
        (?:
            (?<![A-Za-z0-9]) [A-Za-z0-9_.-]{{0,60}}? (?:{_WORDS}) {_MORE}
            | (?<=[;_-])pwd | (?<=[?&])(?:x-amz-)?sig(?:nature)?
        )
        \\?["']? \s* (?:=>|[:=]) \s*
    )
    (?:
        (?P<quote>\\?["']) (?P<quoted>(?:(?!(?P=quote))(?:\\.|.))*) (?P<end>(?P=quote)|$)
        | (?P<bare>[^\s"',;&<>()\[\]{{}}\\]+)
    )
    """
_OPTION = rf"""(?ix)
    (?P<head> (?<!\S) (?: --?[a-z0-9_.-]{{0,60}}? (?:{_WORDS}) | -u\s+[^\s:'"]+(?=:\D) ) (?:\s+|:) ["']? )
    (?! -|is\b ) (?P<value>[^\s"';,]+)
    """
"""In a command line: an option followed by its value, and curl's `-u user:password`."""
_SQL = r"""(?i)(\b(?:passw(?:or)?d|identified\s+by)\s+['"])([^\s'"]{4,})(?=['"])"""
"""Statements that set a password, as databases log them, and messages that quote a rejected one."""
_AUTHORIZATION = (
    r"""(?i)((?:proxy-)?authorization\\?["']?\s*[:=]\s*\\?["']?)"""
    r"""((?:bearer|basic|token|digest|api-?key|negotiate|ntlm)\s+)?([^\s"'\\,;]+)"""
)
_COOKIES = r"""(?i)(?<![\w-])(?:set-)?cookie\\?["']?\s*[:=]\s*\\?["']?\w[^\r\n"']*"""
_COOKIE = r"(=)([^\s;=\\]+)"
_BEARER = r"(?i)\b(bearer\s+)([A-Za-z0-9._~+/=-]{8,})"
_SHAPES = (
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[opsur]_\w{36,}|\bgithub_pat_\w{22,}|\bglpat-[\w-]{20,}|\bxox[abeprs]-[\w-]{10,}"
    r"|\b[rs]k_live_\w{16,}|\beyJ[\w-]{10,}\.eyJ[\w-]{5,}\.[\w-]+"
    r"|\bsk-(?=[\w-]*\d)[\w-]{20,}|\bnpm_\w{36}|\bpypi-[\w-]{16,}|\bhvs\.[\w-]{20,}|\bdop_v1_\w{16,}|\bAIza[\w-]{35}"
    r"|\bSG\.[\w-]{16,}\.[\w-]{16,}|(?<=/bot)\d{6,}:[\w-]{30,}"
    r"|(?<=hooks\.slack\.com/services/)[\w/-]+|(?<=/api/webhooks/)\d+/[\w-]+"
    r"|(?s:(?<=PRIVATE\ KEY-----).+?(?=-----END|\Z))"
)
"""Tokens in the recognisable formats of their issuers (see their secret scanning docs), and private keys (RFC 7468)."""
_USERINFO = r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)(?P<userinfo>[^\s/?#\"'<>]+)@"
_HARMLESS = frozenset(
    {"", "true", "false", "none", "null", "yes", "no", "missing", "invalid", "required", "set", MASK}
) | {
    *("is", "are", "was", "has", "must", "should", "may", "needs", "cannot", "not")  # "token: is required"
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
        lower = text.lower()  # most lines contain none of the words, and a substring search is cheaper than a regex
        if "authorization" in lower:
            text = re.sub(_AUTHORIZATION, lambda m: f"{m[1]}{m[2] or ''}{self._token(m[3])}", text)
        if "bearer" in lower:
            text = re.sub(_BEARER, lambda m: f"{m[1]}{self._token(m[2])}", text)
        if "cookie" in lower:
            text = re.sub(_COOKIES, lambda m: re.sub(_COOKIE, lambda n: f"{n[1]}{self._token(n[2])}", m[0]), text)
        if any(word in lower for word in _IN_NAMES):
            text = re.sub(_KEY_VALUE, self._key_value, text)
            text = re.sub(_OPTION, lambda m: f"{m['head']}{self._token(m['value'])}", text)
        if "passw" in lower or "identified" in lower:
            text = re.sub(_SQL, lambda m: f"{m[1]}{self._token(m[2])}", text)
        if any(word in lower for word in _IN_SHAPES):
            text = re.sub(_SHAPES, lambda m: self._token(m[0]), text)
        return re.sub(_USERINFO, self._userinfo, text) if "://" in lower else text

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
            return {self._value(key): self._entry(key, item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return type(value)(self._value(item) for item in value)
        return type(value)(self.text(str(value))) if isinstance(value, PurePath) else value

    def _entry(self, key: object, item: Any) -> Any:
        if isinstance(key, str) and isinstance(item, str) and is_secret_name(key):
            return self._token(item)
        return self._value(item)

    def _key_value(self, match: re.Match[str]) -> str:
        if match["bare"] is not None:
            return match["head"] + self._token(match["bare"])
        return match["head"] + match["quote"] + self._token(match["quoted"]) + match["end"]

    def _userinfo(self, match: re.Match[str]) -> str:
        user, colon, password = match["userinfo"].partition(":")
        kept = f"{user}:{self._token(password)}" if colon else self._token(user)
        return f"{match['scheme']}{kept}@"

    def _token(self, value: str) -> str:
        if value.lower() in _HARMLESS or re.fullmatch(r"<[\w -]+>|\$\{?\w+\}?|\*{3,}|\.{3}|\$", value):
            return value
        unknown = sum(token.startswith("<secret-") for token in self._tokens.values())
        return self._tokens.setdefault(value, f"<secret-{unknown + 1}>")


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

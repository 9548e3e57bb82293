"""Health checks that are commands, where they plainly ask what toombos asks itself: a path, or a port."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import urlsplit

from toombos_cli.config.imports.ports import is_port

_HERE = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "::1", "::"})  # noqa: S104  (what is asked, not what listens)
_ENDING = re.compile(
    r"\s*(?:\|\s*grep\s+(?:-q\s+)?[\"']?PONG[\"']?\s*)?(?:(?:1|2|&)?>\s*(?:/dev/null|&[12])\s*)*(?:\|\|\s*exit\s+\d+\s*;?\s*)?$"
)
_SYNTAX = re.compile(r"[|&;<>()`\n]")
_CURL_FAILS = re.compile(r"-[A-Za-z]*f[A-Za-z]*|--fail|--fail-with-body")
_CURL = re.compile(
    r"-[fsSLkIiv]+|--(?:fail|fail-with-body|silent|show-error|location|insecure|head|include|verbose|no-progress-meter|compressed|http1\.1|ipv4|ipv6)"
)
_CURL_WITH_VALUE = re.compile(r"-[fsSLkIiv]*[omw]|--(?:output|max-time|connect-timeout|retry|retry-delay|write-out)")
_WGET = re.compile(
    r"-(?:q|nv|S|qS)|--(?:quiet|spider|no-verbose|no-check-certificate|server-response)|-q?O-?|-q?O/dev/null|-[tT]\d+"
    r"|--(?:tries|timeout|output-document)=\S+"
)
_WGET_WITH_VALUE = re.compile(r"-q?O|-[tT]|--(?:tries|timeout|output-document)")
_ASKS_A_PORT = {
    "pg_isready": (),
    "redis-cli": ("ping", "PING"),
    "valkey-cli": ("ping", "PING"),
    "mysqladmin": ("ping",),
    "mariadb-admin": ("ping",),
    "nc": ("-z", "-vz", "-zv"),
    "rabbitmq-diagnostics": ("ping", "check_port_connectivity", "check_running"),
}
"""Programs that ask whether a server takes connections, with the words of which one must be there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a check asks for: a path over HTTP, or with `path` None only whether something takes connections."""

    path: str | None
    scheme: str = "tcp"
    port: int | None = None


def asked_by(words: Sequence[str], *, names: frozenset[str] = frozenset()) -> Asked | None:
    """Return what a check's command asks of this service, or None if it is not plain.

    `names` are further names of the service's own address.
    """
    if not words:
        return None
    program = words[0].rpartition("/")[2]
    if program == "curl":
        asked = _http(words[1:], _CURL, _CURL_WITH_VALUE, _HERE | names)
        if asked and not any(_CURL_FAILS.fullmatch(word) for word in words):
            return Asked(path=None, port=asked.port)  # any response is well
        return asked
    if program == "wget":
        return _http(words[1:], _WGET, _WGET_WITH_VALUE, _HERE | names)
    if program in _ASKS_A_PORT and (not _ASKS_A_PORT[program] or set(_ASKS_A_PORT[program]) & set(words)):
        return Asked(path=None, port=_port_option(program, words))
    return None


def _port_option(program: str, words: Sequence[str]) -> int | None:
    for word, after in pairwise((*words, "")):
        given = after if word in ("-p", "-P", "--port") else word.removeprefix("--port=")
        if word.startswith("-") and is_port(given):
            return int(given)
    return int(words[-1]) if program == "nc" and is_port(words[-1]) else None


def words_of_check(text: str) -> list[str]:
    """Return the words of a check that a shell reads, without `|| exit 1`; [] if it needs the shell for more."""
    text = _ENDING.sub("", text.strip())
    if _SYNTAX.search(re.sub(r"""'[^']*'|"[^"]*\"""", "", text)):
        return []
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _http(words: Sequence[str], flags: re.Pattern[str], valued: re.Pattern[str], here: frozenset[str]) -> Asked | None:
    urls, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        if valued.fullmatch(word) and rest:
            rest.pop(0)
        elif not flags.fullmatch(word):
            urls.append(word)
    if len(urls) != 1:
        return None
    url = urls[0] if "://" in urls[0] else f"http://{urls[0]}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or parts.hostname not in here or parts.username is not None:
        return None
    if port is not None and not is_port(str(port)):
        return None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Asked(path=path, scheme=parts.scheme, port=port or (443 if parts.scheme == "https" else 80))

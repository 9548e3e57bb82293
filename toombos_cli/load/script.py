"""What a scenario's request needs beside fixed bytes: its variables, conditions and place in the round of a user."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, quote_plus

from toombos_cli.base.exact_numbers import as_text, encode_exact, encode_exact_bytes
from toombos_cli.load.data import DataSource, unsendable
from toombos_cli.manifest.tables.expectations import Statuses
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.manifest.tables.smoke_parts import VARIABLE

BodyKind = Literal["json", "form", "text"]
_IN_JSON = re.compile(r'"\$\{([A-Za-z_][A-Za-z0-9_.-]*)\}"(?!\s*:)|' + VARIABLE.pattern)
"""A variable in JSON: one that is a whole value keeps its type, and one in a text or in a key becomes a part of it."""
_LENGTH = re.compile(rb"\r\nContent-Length: \d+(?=\r\n|$)")


class UnsendableError(Exception):
    """A request cannot be sent with the values of its variables. The message says why."""


@dataclass(frozen=True, slots=True)
class Template:
    """Bytes with variables. `format` has a `%b` for each of them: its name, and what turns its value into bytes."""

    format: bytes
    variables: tuple[tuple[str, Callable[[Any], bytes]], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the variables."""
        return tuple(name for name, _ in self.variables)

    def fill(self, values: Mapping[str, Any]) -> bytes:
        """Return the bytes with the variables replaced. Raise KeyError and UnsendableError."""
        return self.format % tuple([encode(values[name]) for name, encode in self.variables])


def _in_path(value: Any) -> bytes:
    text = as_text(value)
    return (text if text.isalnum() and text.isascii() else quote(text, safe="")).encode()


def _in_header(value: Any) -> bytes:
    if unsendable(value):
        raise UnsendableError("the value of a variable in a header has a line break or NUL")
    return as_text(value).encode()


def _in_text(value: Any) -> bytes:
    return as_text(value).encode()


def _in_form(value: Any) -> bytes:
    return quote_plus(as_text(value)).encode()


def _as_json(value: Any) -> bytes:
    return encode_exact_bytes(value)


def _in_json_text(value: Any) -> bytes:
    return encode_exact(as_text(value))[1:-1].encode()


def compile_template(text: bytes, kind: BodyKind | Literal["path", "header"]) -> Template:
    """Return the template of bytes in which `${name}` stands for a variable."""
    encoder = {"path": _in_path, "header": _in_header, "text": _in_text, "form": _in_form, "json": _in_json_text}[kind]
    decoded = text.decode("utf-8", "surrogateescape")
    parts: list[str] = []
    variables: list[tuple[str, Callable[[Any], bytes]]] = []
    position = 0
    for found in (_IN_JSON if kind == "json" else VARIABLE).finditer(decoded):
        parts.append(decoded[position : found.start()])
        is_whole = kind == "json" and found[1] is not None
        name = found[1] if kind != "json" or is_whole else found[2]
        variables.append((name, _as_json if is_whole else encoder))
        position = found.end()
    parts.append(decoded[position:])
    written = [part.encode("utf-8", "surrogateescape").replace(b"%", b"%%") for part in parts]
    return Template(b"%b".join(written), tuple(variables))


def joined(*templates: Template) -> Template:
    """Return the templates one after the other."""
    return Template(
        b"".join(t.format for t in templates),
        tuple(variable for t in templates for variable in t.variables),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The script of one request. `head` ends before the blank line; without `body`, it is the whole request.

    `step` holds the conditions on the response and the captures, or is None if there are none.
    """

    method: str
    head: Template
    body: Template | None = None
    body_kind: BodyKind = "text"
    status: Statuses | None = None
    step: SmokeStep | None = None
    conditions_vary: bool = False
    """Whether a condition has a variable."""
    follow_redirects: bool = False
    cookies: bool = False
    pause: tuple[float, float] = (0.0, 0.0)
    events: int | None = None
    listen_s: float | None = None

    def fill(self, values: Mapping[str, Any]) -> bytes:
        """Return the request with its variables replaced. Raise KeyError and UnsendableError."""
        if self.body is None:
            return self.head.fill(values)
        body = self.body.fill(values)
        return b"%b\r\nContent-Length: %d\r\n\r\n%b" % (self.head.fill(values), len(body), body)

    @property
    def is_stream(self) -> bool:
        """Whether the response has no end that is waited for."""
        return self.events is not None or self.listen_s is not None

    @property
    def has_checks(self) -> bool:
        """Whether it expects anything of the response beside a status below 400."""
        return self.status is not None or self.step is not None or self.events is not None

    @property
    def demands(self) -> str:
        """Everything but the bytes as text: two runs with the same demands and bytes are comparable."""
        conditions = self.step and {name: str(getattr(self.step, name)) for name in self.step.__struct_fields__}
        of_user = (self.follow_redirects, self.cookies, self.pause, self.events, self.listen_s)
        return repr((self.status, conditions, of_user))


def split_request(request: bytes, kind: BodyKind) -> tuple[Template, Template | None]:
    """Return the templates of head and body of a request whose variables are not filled in.

    A body with variables has its own template, and its length is not in the head; any other is part of the head.
    """
    head, _, body = request.partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    first = joined(compile_template(line, "path"), Template(b"\r\n"))
    if VARIABLE.search(body.decode("utf-8", "replace")):
        fields = _LENGTH.sub(b"", b"\r\n" + fields)[2:]
        return joined(first, compile_template(fields, "header")), compile_template(body, kind)
    return joined(first, compile_template(fields, "header"), fixed(b"\r\n\r\n" + body)), None


def fixed(text: bytes) -> Template:
    """Return the template of bytes without variables."""
    return Template(text.replace(b"%", b"%%"))


@dataclass(frozen=True, slots=True, kw_only=True)
class UserScript:
    """One kind of user. `steps` are the indexes of the requests that it sends in turn, `used` the variables in them.

    `has_rounds`: after the last step it begins anew, without cookies; a request by itself keeps its cookies.
    """

    weight: float
    steps: tuple[int, ...]
    has_rounds: bool
    used: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """The users of a plan, and the data that they use."""

    kinds: tuple[UserScript, ...]
    sources: tuple[DataSource, ...] = ()
    constants: Mapping[str, str] = field(default_factory=dict)
    """The values of the environment that they use."""

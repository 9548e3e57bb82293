"""A scenario file: a weighted mix of requests to one target, and of users that send several in turn, in TOML.

[[request]]
name = "preview"
weight = 3
method = "POST"
path = "/api/v2/generate-content"
json = { preview_only = true }
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.base.exact_numbers import as_text
from toombos_cli.base.plain_files import MOST_BYTES
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted_toml
from toombos_cli.load.data import DataTable
from toombos_cli.manifest.reading.positions import key_lines, nearest_line
from toombos_cli.manifest.tables.expectations import Statuses, check_status
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.manifest.tables.smoke_parts import VARIABLE, Capture

T = TypeVar("T", bound=msgspec.Struct)
Place = tuple[str | int, ...]
FORM = "application/x-www-form-urlencoded"
_TABLES = ("request", "user", "data")
_HINT = "write a [[request]] table for each kind of request: path; weight, method, headers; json, body or body_file"


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The conditions on a response, as in a step of the smoke test; without `status`, any below 400."""

    status: Statuses | None = None
    response_headers: dict[str, Any] = {}
    response_cookies: dict[str, Any] = {}
    json: dict[str, Any] = {}
    text: str | None = None
    latency_limit_ms: float | None = None


class ScenarioRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of request, with at most one of `json`, `form`, `body` and `body_file` (relative to the scenario).

    `${name}` in path, headers and body stands for a variable: `counter`, `uuid`, `random.int`, a column of the
    scenario's data, `env.NAME`, or what an earlier step of the same user captured.
    """

    path: str
    name: str | None = None
    weight: float = 1.0
    method: str | None = None
    headers: dict[str, str | tuple[str, ...]] = {}
    json: Any = None
    form: dict[str, Any] = {}
    body: str | None = None
    body_file: str | None = None
    content_type: str | None = None
    expect: Expect = Expect()
    capture: dict[str, str | Capture] = {}
    follow_redirects: bool = False
    """Follow redirects within the target; each hop is a request."""
    cookies: bool = False
    """Send the cookies that earlier responses to the same user have set, and keep those of this one."""
    think_s: float | tuple[float, float] = 0.0
    """The pause of the user after the response: a time, or the shortest and the longest of a random one."""
    events: int | None = None
    """For a stream that does not end: the request is complete with this many events or lines."""
    listen_s: float | None = None
    """For a stream that does not end: the request is complete after this time."""

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ValueError(f"path must begin with /, not {self.path!r}")
        if not self.weight > 0:
            raise ValueError("weight must be above 0")
        bodies = [given is not None for given in (self.json, self.body, self.body_file)]
        if sum((*bodies, bool(self.form))) > 1:
            raise ValueError("only one of json, body, body_file and form is allowed")
        if not 0 <= self.pause[0] <= self.pause[1] < float("inf"):
            raise ValueError("think_s must be at least 0 seconds: a time, or [shortest, longest]")
        if self.events is not None and self.events < 1:
            raise ValueError("events must be at least 1")
        if self.listen_s is not None and not 0 < self.listen_s < float("inf"):
            raise ValueError("listen_s must be above 0 seconds")
        check_status(self.expect.status)
        self.step()

    @property
    def pause(self) -> tuple[float, float]:
        """The shortest and the longest pause after the response, in seconds."""
        return self.think_s if isinstance(self.think_s, tuple) else (self.think_s, self.think_s)

    @property
    def verb(self) -> str:
        """Return the method: as given, else POST if there is a body and GET if not."""
        has_body = self.json is not None or self.body is not None or self.body_file is not None or bool(self.form)
        return self.method or ("POST" if has_body else "GET")

    @property
    def is_stream(self) -> bool:
        """Whether the response has no end that is waited for."""
        return self.events is not None or self.listen_s is not None

    def step(self) -> SmokeStep:
        """Return the conditions and captures as a step of the smoke test. Raise ValueError if one is not valid."""
        table = {
            "name": "expect",
            "service": "",
            "path": "/",
            "method": "HEAD" if self.verb == "HEAD" else "GET",
            "capture": self.capture,
            **{name: getattr(self.expect, name) for name in Expect.__struct_fields__ if name != "status"},
        }
        return msgspec.convert(table, SmokeStep)

    def payload(self, directory: Path) -> tuple[bytes, str | None]:
        """Return the body and its content type. Raise ConfigurationError if a file cannot be read."""
        if self.json is not None:
            return json.dumps(self.json).encode(), self.content_type or "application/json"
        if self.form:
            fields = [(name, as_text(one)) for name, value in self.form.items() for one in _each(value)]
            return _kept_variables(urlencode(fields)).encode(), self.content_type or FORM
        if self.body_file is not None:
            path = directory / self.body_file
            try:
                return path.read_bytes(), self.content_type
            except OSError as error:
                raise ConfigurationError(
                    f"cannot be read: {error.strerror}", where=str(path), hint="correct body_file in the scenario"
                ) from None
        return (self.body or "").encode(), self.content_type


class ScenarioUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of user: it does its steps in order, then begins anew, without cookies and captures."""

    name: str
    step: tuple[ScenarioRequest, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError("weight must be above 0")
        if not self.step:
            raise ValueError("a user needs at least one [[user.step]]")
        for step in self.step:
            if step.weight != 1.0:
                raise ValueError("a step has no weight of its own: every user does all of its steps")


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario: requests by themselves, users, and the data of both. The name of every request is unique."""

    requests: tuple[ScenarioRequest, ...] = ()
    users: tuple[ScenarioUser, ...] = ()
    data: dict[str, DataTable] = {}

    @property
    def is_plain(self) -> bool:
        """Whether the scenario needs nothing but fixed requests: no variable, no condition, no state."""
        return not self.users and not self.data and all(map(_is_plain, self.requests))

    def all_requests(self) -> Iterator[ScenarioRequest]:
        """Yield every request and every step, in the order of the report."""
        yield from self.requests
        for user in self.users:
            yield from user.step


def _is_plain(request: ScenarioRequest) -> bool:
    new = ("expect", "capture", "follow_redirects", "cookies", "think_s", "events", "listen_s")
    if any(getattr(request, name) != _DEFAULTS[name] for name in new):
        return False
    texts = (request.path, request.body or "", msgspec.json.encode((request.headers, request.json, request.form)))
    return not any(VARIABLE.search(text if isinstance(text, str) else text.decode()) for text in texts)


def read_scenario(path: Path) -> Scenario:
    """Return a scenario file. Raise ConfigurationError with file and line."""
    try:
        with path.open("rb") as file:  # also a pipe: `--scenario <(generate)`
            content = file.read(MOST_BYTES + 1)
        tree = decode_untrusted_toml(content)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", where=str(path), hint=_HINT) from None
    except UntrustedError as error:
        where = str(path) if error.line is None else f"{path}:{error.line}"
        raise ConfigurationError(f"not valid TOML: {error}", where=where, hint=_HINT) from None
    return _ScenarioTables(path, content.decode(), tree).read()


class _ScenarioTables:
    """Reads the tables of a scenario; what is wrong is an error with its line."""

    def __init__(self, path: Path, text: str, tree: dict[str, Any]) -> None:
        self._path = path
        self._tree = tree
        self._lines = key_lines(text)

    def read(self) -> Scenario:
        for key in self._tree:
            if key not in _TABLES:
                raise self._refuse(
                    f"unknown key {key!r}", key, 0, hint=did_you_mean(key, ["request", "user", "data"], _HINT)
                )
        requests = [self._convert(ScenarioRequest, table, *at) for table, at in self._tables("request")]
        users = [self._convert(ScenarioUser, table, *at) for table, at in self._tables("user")]
        if not requests and not users:
            raise self._refuse("no requests", "request", hint=_HINT)
        for index, request in enumerate(requests):
            if request.capture:
                hint = "write the steps of one user as [[user.step]] tables of a [[user]]"
                raise self._refuse(
                    "capture is for a later step of the same user", "request", index, "capture", hint=hint
                )
        data = self._tree.get("data", {})
        if not isinstance(data, dict):
            raise self._refuse("data must be tables: [data.NAME]", "data")
        return Scenario(
            requests=self._named(requests, ("request",)),
            users=tuple(self._with_named_steps(user, index) for index, user in enumerate(users)),
            data={name: self._convert(DataTable, table, "data", name) for name, table in data.items()},
        )

    def _tables(self, key: str) -> Iterator[tuple[Any, tuple[str, int]]]:
        tables = self._tree.get(key, [])
        if not isinstance(tables, list):
            raise self._refuse("no requests", key, hint=_HINT)
        for index, table in enumerate(tables):
            yield table, (key, index)

    def _convert(self, kind: type[T], table: Any, *at: str | int) -> T:
        try:
            return msgspec.convert(table, kind)
        except msgspec.ValidationError as error:
            message, place, hint = _explain(error, kind)
            raise self._refuse(message, *at, *place, hint=hint) from None

    def _named(
        self, requests: Sequence[ScenarioRequest], at: tuple[str | int, ...], prefix: str = ""
    ) -> tuple[ScenarioRequest, ...]:
        """Return the requests with their names, which are unique."""
        named: dict[str, ScenarioRequest] = {}
        for index, request in enumerate(requests):
            name = prefix + (request.name or f"{request.verb} {request.path}")
            if name in named:
                raise self._refuse(
                    f"two requests are named {name!r}", *at, index, "name", hint="give each a unique name"
                )
            named[name] = msgspec.structs.replace(request, name=name)
        return tuple(named.values())

    def _with_named_steps(self, user: ScenarioUser, index: int) -> ScenarioUser:
        return msgspec.structs.replace(user, step=self._named(user.step, ("user", index, "step"), f"{user.name}: "))

    def _refuse(self, message: str, *at: str | int, hint: str | None = None) -> ConfigurationError:
        line = nearest_line(self._lines, at)
        return ConfigurationError(message, where=f"{self._path}:{line}" if line else str(self._path), hint=hint)


def _explain(
    error: msgspec.ValidationError, kind: type[msgspec.Struct]
) -> tuple[str, tuple[str | int, ...], str | None]:
    """Return what is wrong with a table, the path of the key at fault in it, and a hint."""
    text, _, at = str(error).partition(" - at `$")
    place = tuple(int(index) if index else name for name, index in re.findall(r"\.([A-Za-z_]+)|\[(\d+)\]", at))
    if unknown := re.match(r"Object contains unknown field `(.+)`", text):
        owner = next((_INNER[str(part)] for part in reversed(place) if str(part) in _INNER), kind)
        known = [field.name for field in msgspec.structs.fields(owner)]
        hint = did_you_mean(unknown[1], known, f"known keys: {', '.join(known)}")
        return f"unknown key {unknown[1]!r}", (*place, unknown[1]), hint
    said = text[0].lower() + text[1:]
    keys = [str(part) for part in place if not isinstance(part, int)]
    return f"{keys[-1]}: {said}" if keys else said, place, None


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _kept_variables(encoded: str) -> str:
    """Return the text with the variables as they were written before it was encoded."""
    return re.sub(r"%24%7B([A-Za-z0-9_.-]+)%7D", r"${\1}", encoded)


_INNER: dict[str, type[msgspec.Struct]] = {"step": ScenarioRequest, "expect": Expect, "capture": Capture}
_DEFAULTS = {
    field.name: field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    for field in msgspec.structs.fields(ScenarioRequest)
    if field.default is not msgspec.NODEFAULT or field.default_factory is not msgspec.NODEFAULT
}

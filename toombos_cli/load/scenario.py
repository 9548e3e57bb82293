"""A scenario file: a weighted mix of requests to one target, in TOML.

[[request]]
name = "preview"
weight = 3
method = "POST"
path = "/api/v2/generate-content"
json = { preview_only = true }
"""

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from toombos_cli.errors import ConfigurationError
from toombos_cli.spelling import nearest

_HINT = "a scenario is a TOML file of [[request]] tables; see toombos load --help"


class ScenarioRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of request. At most one of `json`, `body` and `body_file` (relative to the scenario) is given."""

    path: str
    name: str | None = None
    weight: float = 1.0
    method: str | None = None
    headers: dict[str, str] = {}
    json: Any = None
    body: str | None = None
    body_file: str | None = None
    content_type: str | None = None

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ValueError(f"path must begin with /, not {self.path!r}")
        if self.weight <= 0:
            raise ValueError("weight must be above 0")
        if sum(given is not None for given in (self.json, self.body, self.body_file)) > 1:
            raise ValueError("only one of json, body and body_file can be sent")

    def payload(self, directory: Path) -> tuple[bytes, str | None]:
        """The body's bytes and its content type. Raises ConfigurationError when a file cannot be read."""
        if self.json is not None:
            return json.dumps(self.json).encode(), self.content_type or "application/json"
        if self.body_file is not None:
            path = directory / self.body_file
            try:
                return path.read_bytes(), self.content_type
            except OSError as error:
                raise ConfigurationError(f"cannot be read: {error.strerror}", where=str(path)) from None
        return (self.body or "").encode(), self.content_type


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    request: tuple[ScenarioRequest, ...]


def read_scenario(path: Path) -> tuple[ScenarioRequest, ...]:
    """The requests of a scenario file, each with a name of its own. Raises ConfigurationError."""
    try:
        scenario = msgspec.toml.decode(path.read_bytes(), type=Scenario)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except msgspec.ValidationError as error:
        raise ConfigurationError(*_explain(error), where=str(path), hint=_hint(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"not valid TOML: {error}", where=str(path), hint=_HINT) from None
    if not scenario.request:
        raise ConfigurationError("no requests", where=str(path), hint=_HINT)
    named = [msgspec.structs.replace(r, name=r.name or f"{r.method or 'GET'} {r.path}") for r in scenario.request]
    names = [r.name for r in named]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"two requests are named {name!r}", where=str(path), hint="give each a name")
    return tuple(named)


def _explain(error: msgspec.ValidationError) -> tuple[str]:
    text, _, at = str(error).partition(" - at `$.")
    unknown = re.match(r"Object contains unknown field `(.+)`", text)
    message = f"unknown key {unknown[1]!r}" if unknown else text[0].lower() + text[1:]
    position = at.rstrip("`").replace("[...]", "")
    return (f"{message} in [[{position}]]" if position else message,)


def _hint(error: msgspec.ValidationError) -> str:
    unknown = re.match(r"Object contains unknown field `(.+?)`", str(error))
    if not unknown:
        return _HINT
    known = [f.name for f in msgspec.structs.fields(ScenarioRequest if "request" in str(error) else Scenario)]
    guess = nearest(unknown[1], known)
    return f"did you mean {guess!r}?" if guess else f"known keys: {', '.join(known)}"

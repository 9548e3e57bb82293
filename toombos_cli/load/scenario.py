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

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.base.plain_files import MOST_BYTES
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted_toml
from toombos_cli.manifest.reading.positions import key_lines, nearest_line

_HINT = "write a [[request]] table for each kind of request: path; weight, method, headers; json, body or body_file"


class ScenarioRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of request, with at most one of `json`, `body` and `body_file` (relative to the scenario)."""

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
            raise ValueError("only one of json, body and body_file is allowed")

    @property
    def verb(self) -> str:
        """Return the method: as given, else POST if there is a body and GET if not."""
        has_body = self.json is not None or self.body is not None or self.body_file is not None
        return self.method or ("POST" if has_body else "GET")

    def payload(self, directory: Path) -> tuple[bytes, str | None]:
        """Return the body and its content type. Raise ConfigurationError if a file cannot be read."""
        if self.json is not None:
            return json.dumps(self.json).encode(), self.content_type or "application/json"
        if self.body_file is not None:
            path = directory / self.body_file
            try:
                return path.read_bytes(), self.content_type
            except OSError as error:
                raise ConfigurationError(
                    f"cannot be read: {error.strerror}", where=str(path), hint="correct body_file in the scenario"
                ) from None
        return (self.body or "").encode(), self.content_type


def read_scenario(path: Path) -> tuple[ScenarioRequest, ...]:
    """Return the requests of a scenario file, each with a unique name. Raise ConfigurationError with file and line."""
    try:
        with path.open("rb") as file:  # also a pipe: `--scenario <(generate)`
            content = file.read(MOST_BYTES + 1)
        tree = decode_untrusted_toml(content)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", where=str(path), hint=_HINT) from None
    except UntrustedError as error:
        where = str(path) if error.line is None else f"{path}:{error.line}"
        raise ConfigurationError(f"not valid TOML: {error}", where=where, hint=_HINT) from None
    lines = key_lines(content.decode())

    def refuse(message: str, *at: str | int, hint: str | None = None) -> ConfigurationError:
        line = nearest_line(lines, at)
        return ConfigurationError(message, where=f"{path}:{line}" if line else str(path), hint=hint)

    for key in tree:
        if key != "request":
            raise refuse(f"unknown key {key!r}", key, 0, hint=did_you_mean(key, ["request"], _HINT))
    tables = tree.get("request")
    if not isinstance(tables, list) or not tables:
        raise refuse("no requests", "request", hint=_HINT)
    named: dict[str, ScenarioRequest] = {}
    for index, table in enumerate(tables):
        try:
            request = msgspec.convert(table, ScenarioRequest)
        except msgspec.ValidationError as error:
            message, key, hint = _explain(error)
            raise refuse(message, "request", index, key, hint=hint) from None
        name = request.name or f"{request.verb} {request.path}"
        if name in named:
            raise refuse(f"two requests are named {name!r}", "request", index, "name", hint="give each a unique name")
        named[name] = msgspec.structs.replace(request, name=name)
    return tuple(named.values())


def _explain(error: msgspec.ValidationError) -> tuple[str, str, str | None]:
    """Return what is wrong with a request, the key at fault ("" for the whole request), and a hint."""
    text, _, at = str(error).partition(" - at `$")
    key = at.strip("`.").partition("[")[0]
    if unknown := re.match(r"Object contains unknown field `(.+)`", text):
        known = [field.name for field in msgspec.structs.fields(ScenarioRequest)]
        hint = did_you_mean(unknown[1], known, f"known keys: {', '.join(known)}")
        return f"unknown key {unknown[1]!r}", unknown[1], hint
    return f"{key}: {text[0].lower()}{text[1:]}" if key else text[0].lower() + text[1:], key, None

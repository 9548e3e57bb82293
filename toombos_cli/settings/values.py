"""The variables that reach a service, and which of environment, `.env`, manifest or mode each one came from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import Service
from toombos_cli.settings.env_file import EnvFile
from toombos_cli.settings.env_file import read_env_file as read_env_file  # whoever wants values begins with the file

_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})


class Origin(StrEnum):
    """Where a value was set, from the strongest to the weakest."""

    MODE = "mode"
    SERVICE = "service"
    ENVIRONMENT = "environment"
    ENV_FILE = ".env"
    MANIFEST = "manifest"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One effective variable; `line` is its 1-based line in `.env`, when it came from there."""

    name: str
    value: str = field(repr=False)
    origin: Origin
    line: int | None = None


def effective_values(
    manifest: Manifest,
    service: Service | None,
    env_file: EnvFile,
    *,
    mode: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Value]:
    """Every variable that `service` would be started with in `mode`, by name; for None, what all services share.

    Strongest first: the mode, the service's own `env`, the process environment, `.env`, the service's
    `default_env`, the manifest's documented defaults. An empty text for a documented variable counts as unset, as it
    does for the services.
    """
    layers: list[tuple[Origin, Mapping[str, str]]] = [
        (Origin.DEFAULT, {name: v.default for name, v in manifest.environment.items() if v.default}),
        (Origin.MANIFEST, service.default_env if service else {}),
        (Origin.ENV_FILE, env_file.values),
        (Origin.ENVIRONMENT, os.environ if environ is None else environ),
        (Origin.SERVICE, service.env if service else {}),
        (Origin.MODE, manifest.mode_env(mode)),
    ]
    values: dict[str, Value] = {}
    for origin, layer in layers:
        for name, value in layer.items():
            if not value and name in manifest.environment:
                continue
            line = env_file.lines.get(name) if origin is Origin.ENV_FILE else None
            values[name] = Value(name=name, value=value, origin=origin, line=line)
    return values


def is_true(value: str | None) -> bool:
    """Whether pydantic would read this text as true."""
    return value is not None and value.strip().lower() in _TRUE

"""The variables that reach a service, and which of environment, `.env`, manifest or mode each one came from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from toombos_cli.errors import ConfigurationError
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.service import Service

ENV_FILE = ".env"
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
    value: str
    origin: Origin
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFile:
    """What python-dotenv makes of `.env`: values after interpolation, the line of each, lines it could not parse."""

    path: Path
    values: Mapping[str, str]
    lines: Mapping[str, int]
    unparsed: tuple[tuple[int, str], ...] = ()


def read_env_file(project: Path) -> EnvFile:
    """The project's `.env`, empty when there is none.

    A key without `=` sets nothing, as in python-dotenv; it is listed in `unparsed` with its line.
    Raises ConfigurationError when the file exists and cannot be read as UTF-8 text.
    """
    path = project / ENV_FILE
    if not path.exists():
        return EnvFile(path=path, values={}, lines={})
    if path.is_dir():
        raise ConfigurationError(
            ".env is a directory: every setting would silently be its default", where=str(path), hint=f"rmdir {path}"
        )
    from io import StringIO

    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    try:
        text = path.read_text("utf-8")
    except PermissionError:
        raise ConfigurationError("not readable for this user", where=str(path), hint=f"chmod 600 {path}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError("not UTF-8", where=f"{path}:{line}", hint="save the file as UTF-8") from None
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", where=str(path)) from None
    lines: dict[str, int] = {}
    unparsed: list[tuple[int, str]] = []
    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            unparsed.append((binding.original.line, binding.original.string.strip("\n")))
        elif binding.key is not None:
            lines[binding.key] = binding.original.line
    values = {key: value for key, value in dotenv_values(stream=StringIO(text)).items() if value is not None}
    return EnvFile(path=path, values=values, lines=lines, unparsed=tuple(unparsed))


def effective_values(
    manifest: Manifest, service: Service | None, env_file: EnvFile, *, mode: str | None = None
) -> dict[str, Value]:
    """Every variable that `service` would be started with in `mode`, by name; for None, what all services share.

    Strongest first: the mode, the service's own `env`, the process environment, `.env`, the service's
    `default_env`, the manifest's documented defaults.
    """
    layers: list[tuple[Origin, Mapping[str, str]]] = [
        (Origin.DEFAULT, {name: v.default for name, v in manifest.environment.items() if v.default}),
        (Origin.MANIFEST, service.default_env if service else {}),
        (Origin.ENV_FILE, env_file.values),
        (Origin.ENVIRONMENT, os.environ),
        (Origin.SERVICE, service.env if service else {}),
        (Origin.MODE, manifest.modes[mode].env if mode else {}),
    ]
    values: dict[str, Value] = {}
    for origin, layer in layers:
        for name, value in layer.items():
            line = env_file.lines.get(name) if origin is Origin.ENV_FILE else None
            values[name] = Value(name=name, value=value, origin=origin, line=line)
    return values


def child_environment(
    manifest: Manifest, service: Service, env_file: EnvFile, *, mode: str | None = None
) -> dict[str, str]:
    """The environment to start `service` with; documented defaults are left to the service itself."""
    values = effective_values(manifest, service, env_file, mode=mode)
    return {name: v.value for name, v in values.items() if v.origin is not Origin.DEFAULT}


def is_true(value: str | None) -> bool:
    """Whether pydantic would read this text as true."""
    return value is not None and value.strip().lower() in _TRUE

"""Placeholders in a manifest's strings, such as `{python}`, `{project}`, `{port}` and `{services.crm.url}`."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from toombos_cli.base.spelling import nearest
from toombos_cli.manifest.tables.expectations import Expectation
from toombos_cli.manifest.tables.service import FILES, QUESTIONS, Service

_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_.-]*)\}")


class UnknownPlaceholderError(ValueError):
    """An unknown placeholder: `key` is the service's key that contains it, `nearest` the most similar known name."""

    def __init__(self, key: str, name: str, nearest: str | None) -> None:
        super().__init__(f"unknown placeholder {{{name}}}")
        self.key, self.nearest = key, nearest


def expand_service(service: Service, services: Mapping[str, Service], project: Path) -> Service:
    """Return the service with every placeholder replaced. Raises UnknownPlaceholderError."""
    names = {"python": sys.executable, "project": str(project)}
    for other in services.values():
        for key, value in _facts(other).items():
            names[f"services.{other.name}.{key}"] = value
    names |= _facts(service)

    def filled(key: str, text: str) -> str:
        return _expand(text, names, key)

    files = {key: str(project / filled(key, path)) for key in FILES if (path := getattr(service, key))}
    if "unix" in files:
        names["unix"] = files["unix"]
    commands = {
        key: msgspec.structs.replace(asked, command=tuple(filled(key, part) for part in asked.command))
        for key in QUESTIONS
        if isinstance(asked := getattr(service, key), Expectation)
    }
    return msgspec.structs.replace(
        service,
        **files,
        **commands,
        command=tuple(filled("command", part) for part in service.command),
        stop_command=tuple(filled("stop_command", part) for part in service.stop_command),
        backup=msgspec.structs.replace(
            service.backup, command=tuple(filled("backup.command", part) for part in service.backup.command)
        ),
        inputs=tuple(filled("inputs", pattern) for pattern in service.inputs),
        cwd=str(project / filled("cwd", service.cwd)),
        log=str(project / filled("log", service.log)),
        env_files=tuple(filled("env_files", name) for name in service.env_files),
        env={name: filled("env", value) for name, value in service.env.items()},
        default_env={name: filled("default_env", value) for name, value in service.default_env.items()},
    )


def _expand(text: str, names: Mapping[str, str], key: str) -> str:
    """Return `text` with each `{name}` replaced; `{{` and `}}` are literal braces."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name in names:
            return names[name]
        raise UnknownPlaceholderError(key, name, nearest(name, names))

    opened, closed = "\0", "\1"
    text = text.replace("{{", opened).replace("}}", closed)
    return _PLACEHOLDER.sub(value, text).replace(opened, "{").replace(closed, "}")


def _facts(service: Service) -> dict[str, str]:
    place = {"host": service.host, "port": str(service.port)} if service.port else {}
    if service.listens:
        place["url"] = service.url
    return {"name": service.name, **place}

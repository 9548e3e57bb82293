"""Placeholders in a manifest's strings, such as `{python}`, `{project}`, `{port}` and `{services.crm.url}`."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from toombos_cli.base.spelling import nearest
from toombos_cli.manifest.tables.expectations import Expectation
from toombos_cli.manifest.tables.service import FILES, QUESTIONS, Service

EVERYWHERE = "0.0.0.0"  # noqa: S104  (in a container, whose network is its own)
"""Where a service in a container listens."""
_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_.-]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHome:
    """What the placeholders stand for where the services run: on this machine, or each in a container of its own.

    In containers a service listens on all addresses, and is reached by its name in `names`.
    """

    project: Path
    python: str = sys.executable
    names: Mapping[str, str] | None = None

    def facts(self, service: Service, *, own: bool) -> dict[str, str]:
        """Return the values of the placeholders about a service, as itself or as another one sees it."""
        url = service.url if service.listens else None
        host = service.host
        if self.names is not None and service.port:
            host = EVERYWHERE if own else self.names[service.name]
            url = f"{service.scheme}://{self.names[service.name]}:{service.port}"
        place = {"host": host, "port": str(service.port)} if service.port else {}
        return {"name": service.name, **place} | ({} if url is None else {"url": url})


class UnknownPlaceholderError(ValueError):
    """An unknown placeholder: `key` is the service's key that contains it, `nearest` the most similar known name."""

    def __init__(self, key: str, name: str, nearest: str | None) -> None:
        super().__init__(f"unknown placeholder {{{name}}}")
        self.key, self.nearest = key, nearest


def expand_service(service: Service, services: Mapping[str, Service], home: ServiceHome) -> Service:
    """Return the service with every placeholder replaced. Raises UnknownPlaceholderError."""
    project = home.project
    names = {"python": home.python, "project": str(project)}
    for other in services.values():
        for key, value in home.facts(other, own=False).items():
            names[f"services.{other.name}.{key}"] = value
    names |= home.facts(service, own=True)

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

"""Placeholders in a manifest's strings: `{python}`, `{project}`, `{port}`, `{services.crm.url}` and the like."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from toombos_cli.manifest.service import Service
from toombos_cli.spelling import nearest

_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_.-]*)\}")


def expand_service(service: Service, services: Mapping[str, Service], project: Path) -> Service:
    """The service with every placeholder replaced. Raises ValueError that names an unknown placeholder."""
    names = {"python": sys.executable, "project": str(project)}
    for other in services.values():
        for key, value in _facts(other).items():
            names[f"services.{other.name}.{key}"] = value
    names |= _facts(service)
    return msgspec.structs.replace(
        service,
        command=tuple(expand(part, names) for part in service.command),
        cwd=str(project / expand(service.cwd, names)),
        log=str(project / expand(service.log, names)),
        env={key: expand(value, names) for key, value in service.env.items()},
        default_env={key: expand(value, names) for key, value in service.default_env.items()},
    )


def expand(text: str, names: Mapping[str, str]) -> str:
    """`text` with each `{name}` replaced; `{{` and `}}` stand for braces. Raises ValueError for an unknown name."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name in names:
            return names[name]
        guess = nearest(name, names)
        raise ValueError(f"unknown placeholder {{{name}}}" + (f"; nearest is {{{guess}}}" if guess else ""))

    opened, closed = "\0", "\1"
    text = text.replace("{{", opened).replace("}}", closed)
    return _PLACEHOLDER.sub(value, text).replace(opened, "{").replace(closed, "}")


def _facts(service: Service) -> dict[str, str]:
    return {"name": service.name, "host": service.host, "port": str(service.port), "url": service.url}

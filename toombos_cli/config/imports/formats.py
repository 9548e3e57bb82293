"""Recognises a foreign file by its structure, and by its name where the structure leaves it open."""

from enum import StrEnum
from pathlib import Path

from toombos_cli.base.errors import ConfigurationError, ToombosError
from toombos_cli.config.imports.compose import read_compose
from toombos_cli.config.imports.draft import SystemDraft
from toombos_cli.config.imports.node import Foreign, Node
from toombos_cli.config.imports.package_json import read_package_json
from toombos_cli.config.imports.pm2 import read_pm2
from toombos_cli.config.imports.process_compose import read_process_compose
from toombos_cli.config.imports.procfile import is_procfile, read_procfile
from toombos_cli.config.imports.reading import as_json, as_yaml, read_foreign
from toombos_cli.config.imports.supervisord import is_supervisord, read_supervisord
from toombos_cli.settings.env_file import EnvFile


class Format(StrEnum):
    """The formats that can be taken over."""

    PROCFILE = "Procfile"
    COMPOSE = "Compose file"
    PROCESS_COMPOSE = "process-compose file"
    SUPERVISORD = "supervisord configuration"
    PM2 = "PM2 ecosystem in JSON"
    PACKAGE_JSON = "package.json"


USUAL_NAMES = (
    *("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"),
    *("process-compose.yaml", "process-compose.yml", "Procfile", "Procfile.dev"),
    *("supervisord.conf", "supervisor.conf", "ecosystem.json", "ecosystem.config.json", "pm2.json", "package.json"),
)
"""The names under which such files are found, the most telling first."""
_READABLE = (
    "can be read: a Procfile, a Compose file, process-compose.yaml, supervisord.conf, ecosystem.json, package.json"
)
_JSON_OF_SCRIPT = "node -p 'JSON.stringify(require(\"./{name}\"))' > ecosystem.json"


def recognised(path: Path) -> tuple[Format, Foreign, Node]:
    """Return the format of a file, the file and its tree. Raise UsageError and ConfigurationError."""
    foreign = read_foreign(path)
    if path.suffix in (".js", ".cjs", ".mjs", ".ts"):
        hint = _JSON_OF_SCRIPT.format(name=path.name)
        raise foreign.problem("is a program, which is not run here: take over its value as JSON", hint=hint)
    if is_supervisord(foreign.text):
        return Format.SUPERVISORD, foreign, Node(None, foreign)
    if path.name.lower().startswith("procfile"):
        return Format.PROCFILE, foreign, Node(None, foreign)
    if path.suffix == ".json" or foreign.text.lstrip().startswith("{"):
        foreign, root = as_json(foreign)
    elif path.suffix in (".yml", ".yaml"):
        foreign, root = as_yaml(foreign)
    elif is_procfile(foreign.text):
        return Format.PROCFILE, foreign, Node(None, foreign)
    else:
        try:
            foreign, root = as_yaml(foreign)
        except ConfigurationError:
            root = Node(None, foreign)
    found = _by_structure(root, path)
    if found is None:
        raise foreign.problem("is none of the files that can be taken over", hint=_READABLE)
    return found, foreign, root


def _by_structure(root: Node, path: Path) -> Format | None:
    if isinstance(root.value, list):
        return Format.PM2 if root.value and all(item["script"] or item["exec"] for item in root.items()) else None
    if root["processes"]:
        return Format.PROCESS_COMPOSE
    if root["services"]:
        return Format.COMPOSE
    if root["apps"]:
        return Format.PM2
    return Format.PACKAGE_JSON if root["scripts"] or path.name == "package.json" else None


def read_system(path: Path, env_file: EnvFile, base: str) -> tuple[Format, Foreign, SystemDraft]:
    """Return what a file says of its services; `base` is its directory as seen from the project.

    Raise UsageError and ConfigurationError.
    """
    kind, foreign, root = recognised(path)
    readers = {
        Format.PROCFILE: lambda: read_procfile(foreign, env_file, base),
        Format.COMPOSE: lambda: read_compose(foreign, root, env_file, base),
        Format.PROCESS_COMPOSE: lambda: read_process_compose(foreign, root, base),
        Format.SUPERVISORD: lambda: read_supervisord(foreign, base),
        Format.PM2: lambda: read_pm2(foreign, root, base),
        Format.PACKAGE_JSON: lambda: read_package_json(root, base),
    }
    system = readers[kind]()
    if not system.services:
        raise foreign.problem(f"this {kind} has no service", hint=_READABLE)
    return kind, foreign, system


def files_to_take_over(directory: Path) -> tuple[str, ...]:
    """Return the names of the files in a directory that can be taken over."""
    found = []
    for name in USUAL_NAMES:
        path = directory / name
        if path.is_file():
            try:
                read_system(path, EnvFile(path=directory / ".env", values={}, lines={}, exists=False), ".")
            except ToombosError:
                continue
            found.append(name)
    return tuple(found)

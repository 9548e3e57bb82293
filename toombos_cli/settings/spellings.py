"""Variables whose name differs from a documented one only in upper and lower case.

toombos and the packaged services read names exactly. A reader that ignores case, as pydantic-settings does by default,
may take such a variable for the documented one.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from toombos_cli.manifest.model import Manifest
from toombos_cli.settings.env_files import EnvFiles
from toombos_cli.settings.values import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherSpelling:
    """A variable with such a name. `path`, `label` and `line` are its place in an env file.

    `service` is the service whose table sets it.
    """

    name: str
    documented: str
    origin: Origin
    path: Path | None = None
    label: str = ""
    line: int | None = None
    service: str = ""

    @property
    def place(self) -> str:
        """Where it is set, for messages."""
        if self.origin is Origin.ENV_FILE:
            return f"{self.label}:{self.line}"
        if self.origin is Origin.ENVIRONMENT:
            return "the environment"
        table = "env" if self.origin is Origin.SERVICE else "default_env"
        return f"{table} of [services.{self.service}]"

    @property
    def warning(self) -> str:
        """The warning to print at the start of services that may ignore case."""
        return (
            f"{self.name} in {self.place} differs from {self.documented} only in case: "
            "a service that ignores case reads it"
        )


def find_other_spellings(
    manifest: Manifest, env_files: EnvFiles, environ: Mapping[str, str] | None = None
) -> tuple[OtherSpelling, ...]:
    """Return every other spelling of a documented name: in the environment, env files and the services' tables."""
    return tuple(_found(manifest, env_files, os.environ if environ is None else environ))


def _found(manifest: Manifest, env_files: EnvFiles, environ: Mapping[str, str]) -> Iterator[OtherSpelling]:
    documented = {name.upper(): name for name in manifest.environment}

    def others(names: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        for name in names:
            if name not in manifest.environment and name.upper() in documented:
                yield name, documented[name.upper()]

    for name, known in others(environ):
        yield OtherSpelling(name=name, documented=known, origin=Origin.ENVIRONMENT)
    for file in env_files:
        for name, known in others(file.lines):
            yield OtherSpelling(
                name=name,
                documented=known,
                origin=Origin.ENV_FILE,
                path=file.path,
                label=file.label,
                line=file.lines[name],
            )
    for service in manifest.services.values():
        for origin, table in ((Origin.SERVICE, service.env), (Origin.MANIFEST, service.default_env)):
            for name, known in others(table):
                yield OtherSpelling(name=name, documented=known, origin=origin, service=service.name)

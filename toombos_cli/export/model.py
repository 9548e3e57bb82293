"""What is exported: one description of the system that every engine's files are written from."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from toombos_cli.export.probes import EngineProbe
from toombos_cli.manifest.model import DRY_RUN, Manifest
from toombos_cli.manifest.tables.schedule import Job
from toombos_cli.manifest.tables.service import Question, Service

MARK = "Exported by toombos from toombos.toml"
"""A part of the first line of each exported file: only such files are replaced."""


class ExportEngine(StrEnum):
    """What runs the exported system."""

    SYSTEMD = "systemd"
    COMPOSE = "compose"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Something of the manifest that the engine cannot do, or that a person has to complete, and why."""

    what: str
    """The key in the manifest, such as `services.shop.watch`."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """A file to write, by its path below the output directory; a private one is readable for its owner alone."""

    path: str
    text: str
    private: bool = False
    documents: tuple[Mapping[str, Any], ...] = ()
    """What the text says, for the schemas of the engine; () for a file that no schema describes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """All files of a system for one engine, what they leave out, and the commands that use them."""

    files: tuple[ExportedFile, ...]
    left_out: tuple[LeftOut, ...]
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedService:
    """One service as it is where it runs; a secret in its texts is a reference to a variable (`secret_words`)."""

    service: Service
    settings: Mapping[str, str]
    """The variables of its `env`: they override the env files."""
    env_files: tuple[str, ...]
    """Its env files from the project directory, weakest first; one that may be missing ends with `?`."""
    secrets: tuple[str, ...]
    """The variables that its texts refer to."""
    probes: Mapping[Question, EngineProbe | None]
    keeps_data: bool
    """Whether it seems to write below `data`."""

    @property
    def name(self) -> str:
        """Its name in the manifest."""
        return self.service.name

    @property
    def defaults(self) -> Mapping[str, str]:
        """The variables that the env files override."""
        return self.service.default_env


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedSystem:
    """The whole system. `manifest` is the project's own, whose services are as they run on this machine."""

    manifest: Manifest
    output: Path
    """Where the files will be, absolute: some name others of them."""
    services: tuple[ExportedService, ...]
    modes: Mapping[str, Mapping[str, str]]
    """The variables of each mode, without those that refer to secrets: they come from the env files."""
    jobs: Mapping[str, Job]
    """The jobs that still make sense where the engine supervises."""
    left_out: tuple[LeftOut, ...]
    manifest_text: str
    """The project's `toombos.toml`."""
    secrets_in_manifest: tuple[str, ...]
    """The keys and variables whose secret values stand in `manifest_text`."""
    clear_secrets: Mapping[str, str] | None = None
    """The values of the env files, only if the user asked for them to be exported."""

    @property
    def name(self) -> str:
        """The system's name in lower-case letters, digits and dashes, as all engines accept it."""
        return plain_name(self.manifest.name)

    @property
    def first_mode(self) -> str | None:
        """The mode to begin in: dry-run if there is one, as in the hints of `start`."""
        return DRY_RUN if DRY_RUN in self.modes else None

    def service(self, name: str) -> ExportedService:
        """Return the service with this name."""
        return next(service for service in self.services if service.name == name)


_LONGEST_NAME = 50


def plain_name(name: str) -> str:
    """Return a name of lower-case letters, digits and dashes that begins with a letter, as every engine accepts it."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower()).strip("-") or "toombos"
    return (kept if kept[0].isalpha() else f"s-{kept}")[:_LONGEST_NAME].strip("-")


def plain_number(value: float) -> str:
    """Return a number without an exponent, which no engine reads."""
    return f"{value:.3f}".rstrip("0").rstrip(".")

"""The facts that the configuration rules judge: files, environment, running system, and which values are secret."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from toombos_cli.base.redaction import Redactor
from toombos_cli.base.spelling import nearest
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.environment import Role, Variable
from toombos_cli.manifest.tables.service import Service
from toombos_cli.settings.backup_gaps import Gap
from toombos_cli.settings.databases import Database
from toombos_cli.settings.env_file import EnvFile, UnreadableEnvFileError
from toombos_cli.settings.env_files import EnvFiles
from toombos_cli.settings.known_secrets import project_redactor
from toombos_cli.settings.old_spellings import OldSpelling
from toombos_cli.settings.prometheus_file import PrometheusFile
from toombos_cli.settings.spellings import OtherSpelling
from toombos_cli.settings.types import type_error
from toombos_cli.settings.values import ClearValues, Origin, Value, clear_values, decrypted, effective_values, is_true

EXAMPLE = ".env.example"
_OWN = (Origin.SERVICE, Origin.MANIFEST, Origin.ENV_FILE)
"""Where a service may get a value of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStatus:
    """Permission bits and owner of an env file."""

    mode: int
    owner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """One env file as found. `unreadable` says why it could not be read; `content` is then empty."""

    content: EnvFile
    unreadable: UnreadableEnvFileError | None
    status: FileStatus | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedDirectory:
    """A directory of the project that a group with other members may write."""

    path: Path
    group: str
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSystem:
    """The services that run and the hash of the env files at their start; `env_sha256` is "" if there was none."""

    services: tuple[str, ...]
    env_sha256: str


@dataclass(frozen=True, kw_only=True)
class SettingsFacts:
    """The configuration as found. Rules depend on this alone: they read no file and no clock.

    `values` are the effective values that all services share (settings.effective_values); `environ` is the process
    environment. `files` are the env files as found, `.env` first, and `file` is the one that a rule about a single
    file judges: `.env` too, unless it comes from `each_file`. `unusable_databases` maps each SQLite file in an
    unusable directory to the reason. `noted` is whether the user trusts the project by `config trust`. `backup_gaps`
    are what a backup made now would lack.
    """

    manifest: Manifest
    mode: str | None
    env_files: EnvFiles
    files: tuple[FoundFile, ...]
    file: FoundFile
    env_sha256: str
    environ: Mapping[str, str] = field(repr=False)
    values: Mapping[str, Value] = field(repr=False)
    example: EnvFile | None
    running: RunningSystem | None
    prometheus: PrometheusFile | None
    old_spellings: tuple[OldSpelling, ...]
    other_spellings: tuple[OtherSpelling, ...]
    databases: tuple[Database, ...]
    unusable_databases: Mapping[Path, str]
    searched: tuple[Path, ...]
    is_project: bool
    user: int
    shared: tuple[SharedDirectory, ...]
    noted: bool
    backup_gaps: tuple[Gap, ...] = ()

    @property
    def variables(self) -> Mapping[str, Variable]:
        """The documented variables, by name."""
        return self.manifest.environment

    def with_role(self, *roles: Role) -> dict[str, Variable]:
        """Return the documented variables with one of the roles, by name."""
        return {name: variable for name, variable in self.variables.items() if variable.role in roles}

    def is_on(self, role: Role) -> bool:
        """Report whether a variable with this role is true."""
        return any(is_true(self.clear.get(name)) for name in self.with_role(role))

    @property
    def env_file(self) -> EnvFile:
        """The content of the judged file."""
        return self.file.content

    @property
    def unreadable(self) -> UnreadableEnvFileError | None:
        """Why the judged file could not be read."""
        return self.file.unreadable

    @property
    def status(self) -> FileStatus | None:
        """Permission bits and owner of the judged file."""
        return self.file.status

    def each_file(self) -> "Iterator[SettingsFacts]":
        """Yield these facts once for each env file, with that file as the one to judge."""
        yield from (self if found is self.file else replace(self, file=found) for found in self.files)

    def at(self, path: Path | None) -> "SettingsFacts":
        """Return these facts with the env file at a path as the one to judge; as they are if there is none."""
        found = next((found for found in self.files if found.content.path == path), self.file)
        return self if found is self.file else replace(self, file=found)

    @property
    def lost(self) -> Mapping[str, str]:
        """The documented names that are, or may be, in an env file without effect, with the rule that says why."""
        if any(found.unreadable for found in self.files):
            return dict.fromkeys(self.variables, "load")
        text = "\n".join(binding.text for file in self.env_files for binding in file.unparsed)
        lost = {name: "parse" for name in self.variables if re.search(rf"\b{name}\b", text)}
        for name, value in self.clear.items():
            if value and type_error(self.variables[name], value):
                lost[name] = "types"
        for binding in (binding for file in self.env_files for binding in file.bindings):
            if binding.name and binding.name not in self.variables and (guess := nearest(binding.name, self.variables)):
                lost.setdefault(guess, "extra")
        return lost

    @property
    def is_live(self) -> bool:
        """Whether the system has a dry-run mode and is not in it."""
        return bool(self.with_role("dry_run")) and not self.is_on("dry_run")

    def service_values(self, service: str) -> Mapping[str, Value]:
        """Return the effective values of one service, including those that the manifest sets for it."""
        found = self.manifest.services.get(service)
        return effective_values(self.manifest, found, self.env_files, mode=self.mode, environ=self.environ)

    def service_clear(self, service: str) -> ClearValues:
        """Return the decrypted effective values of one service."""
        found = self.manifest.services.get(service)
        return clear_values(self.manifest, found, self.env_files, mode=self.mode, environ=self.environ)

    def own_values(self) -> Iterator[tuple[Service, Value, ClearValues]]:
        """Yield each documented variable that a service's own tables or files set, with its decrypted values.

        Variables with the value that all services share are left out.
        """
        for service in self.manifest.services.values():
            values, clear = self.service_values(service.name), self.service_clear(service.name)
            for name in self.variables.keys() & values.keys():
                if values[name].origin in _OWN and values[name] != self.values.get(name):
                    yield service, values[name], clear

    @cached_property
    def clear(self) -> dict[str, str]:
        """The effective values of documented variables, decrypted; undecryptable ones are left out."""
        clear = self._decrypted.values
        return {name: clear[name] for name in self.variables if name in clear}

    @property
    def undecryptable(self) -> dict[str, str]:
        """The documented variables whose effective value cannot be decrypted, each with the reason."""
        reasons = self._decrypted.undecryptable
        return {name: reasons[name] for name in self.variables if name in reasons}

    @cached_property
    def _decrypted(self) -> ClearValues:
        return decrypted(self.manifest, self.values)

    @cached_property
    def redactor(self) -> Redactor:
        """The redactor for all output about these facts."""
        return project_redactor(self.manifest, self.env_files, mode=self.mode, environ=self.environ)

"""The facts that the configuration rules judge: files, environment, running system, and which values are secret."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from toombos_cli.base.redaction import Redactor, is_secret_name
from toombos_cli.base.spelling import nearest
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.environment import Role, Variable
from toombos_cli.manifest.tables.service import Service
from toombos_cli.settings.databases import Database
from toombos_cli.settings.display import shown_name
from toombos_cli.settings.env_file import Binding, EnvFile, UnreadableEnvFileError
from toombos_cli.settings.old_spellings import OldSpelling
from toombos_cli.settings.prometheus_file import PrometheusFile
from toombos_cli.settings.spellings import OtherSpelling
from toombos_cli.settings.strength import is_placeholder, looks_random
from toombos_cli.settings.types import type_error
from toombos_cli.settings.values import ClearValues, Origin, Value, clear_values, decrypted, effective_values, is_true

EXAMPLE = ".env.example"
_LONGEST_WORD = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStatus:
    """Permission bits and owner of `.env`."""

    mode: int
    owner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedDirectory:
    """A directory of the project that a group with other members may write."""

    path: Path
    group: str
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSystem:
    """The services that run and the hash of the `.env` at their start; `env_sha256` is "" if there was none."""

    services: tuple[str, ...]
    env_sha256: str


@dataclass(frozen=True, kw_only=True)
class SettingsFacts:
    """The configuration as found. Rules depend on this alone: they read no file and no clock.

    `values` are the effective values that all services share (settings.effective_values); `environ` is the process
    environment. `unreadable` says why `.env` could not be read; `env_file` is then empty. `unusable_databases` maps
    each SQLite file in an unusable directory to the reason. `noted` is whether the user trusts the project by
    `config trust`.
    """

    manifest: Manifest
    mode: str | None
    env_file: EnvFile
    unreadable: UnreadableEnvFileError | None
    status: FileStatus | None
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
    def lost(self) -> Mapping[str, str]:
        """The documented names that are, or may be, in `.env` without effect, with the rule that says why."""
        if self.unreadable is not None:
            return dict.fromkeys(self.variables, "load")
        text = "\n".join(binding.text for binding in self.env_file.unparsed)
        lost = {name: "parse" for name in self.variables if re.search(rf"\b{name}\b", text)}
        for name, value in self.clear.items():
            if value and type_error(self.variables[name], value):
                lost[name] = "types"
        for binding in self.env_file.bindings:
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
        return effective_values(self.manifest, found, self.env_file, mode=self.mode, environ=self.environ)

    def service_clear(self, service: str) -> ClearValues:
        """Return the decrypted effective values of one service."""
        found = self.manifest.services.get(service)
        return clear_values(self.manifest, found, self.env_file, mode=self.mode, environ=self.environ)

    def own_values(self) -> Iterator[tuple[Service, Value, ClearValues]]:
        """Yield each documented variable that a service's own tables set, with that service's decrypted values.

        Variables with the value that all services share are left out.
        """
        for service in self.manifest.services.values():
            values, clear = self.service_values(service.name), self.service_clear(service.name)
            for name in self.variables.keys() & values.keys() & (service.env.keys() | service.default_env.keys()):
                if values[name].origin in (Origin.SERVICE, Origin.MANIFEST) and values[name] != self.values.get(name):
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
        return Redactor((shown_name(name, self.variables), value) for name, value in secrets(self))


def secrets(facts: SettingsFacts) -> Iterator[tuple[str, str]]:
    """Yield name and plain value of every secret in the configuration, including those on dropped lines."""
    found: list[tuple[str, str]] = [(b.name, b.value) for b in facts.env_file.bindings if b.name and b.value]
    found += facts.env_file.values.items()
    found += [(name, v) for name, v in facts.environ.items() if name in facts.variables or is_secret_name(name)]
    found += facts.clear.items()
    for service in facts.manifest.services.values():
        found += (*service.env.items(), *service.default_env.items())
    found += [(database.name, database.url) for database in facts.databases]
    found += [pair for binding in facts.env_file.unparsed for pair in _dropped_values(binding)]
    for name, value in found:
        if len(value) <= _LONGEST_WORD and is_placeholder(value):
            continue
        if _is_secret(facts, name, value):
            yield name, value
            yield from ((name, line) for line in value.splitlines() if len(line) > _LONGEST_WORD)
        elif password := re.match(r"\w[\w+.-]*://[^/\s:@]*:([^@\s]+)@", value):
            yield name, password[1]


def _is_secret(facts: SettingsFacts, name: str, value: str) -> bool:
    variable = facts.variables.get(name) or facts.variables.get(nearest(name, facts.variables) or "")
    return (variable is not None and variable.secret) or is_secret_name(name) or looks_random(value)


def _dropped_values(binding: Binding) -> Iterator[tuple[str, str]]:
    """Yield what each dropped line might have set; a line that is not an assignment may itself be a secret."""
    for line in binding.text.splitlines():
        match = re.match(r"(?:export\s+)?([^\s:=]*)[\s:=\"']*(.*?)[\s\"']*$", line)
        if match:
            yield match[1], match[2]
            yield "dropped", match[1]

"""What the `config` commands return."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from toombos_cli.base.findings import Finding, overall
from toombos_cli.base.results import Case, Report, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport(Report):
    """The findings of every rule, in order. `env_file` is the file that was judged, if it exists, for `mode`."""

    kind: ClassVar[str] = "findings"
    hidden: ClassVar[frozenset[str]] = frozenset({"env_file_exists"})

    env_file: Path
    env_file_exists: bool
    mode: str | None
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """FAIL if a finding is one."""
        return overall(self.findings)

    def cases(self) -> tuple[Case, ...]:
        """Return one case per finding."""
        return tuple(finding.case() for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownValue:
    """One setting as shown: `value` is masked, None if nothing sets it. `source` says what sets it."""

    name: str
    value: str | None
    source: str
    line: int | None
    secret: bool
    overrides_file: str | None = None
    overrides_line: int | None = None
    """The file and line that a stronger source overrides."""
    service: str = ""
    """The service whose own table or file sets it, in the list for all services."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowReport(Report):
    """The effective settings, of one service or of all."""

    kind: ClassVar[str] = "config_show"
    asked_for: ClassVar[bool] = True

    env_file: Path
    service: str | None
    mode: str | None
    values: tuple[ShownValue, ...]

    @property
    def verdict(self) -> Verdict:
        """SKIP if there is no variable to show."""
        return Verdict.PASS if self.values else Verdict.SKIP


_WRITES_A_FILE = frozenset({"init", "init-manifest"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChangeReport(Report):
    """A change of `.env`: `names` are the variables that changed, `backup` is the copy of the old file.

    `further` are the other env files that were changed with it; their copies are beside them, with the same ending.
    """

    kind: ClassVar[str] = "config_change"

    action: str
    path: Path
    names: tuple[str, ...]
    further: tuple[Path, ...] = ()
    backup: Path | None = None
    restart_needed: bool = False
    to_take_over: tuple[str, ...] = ()
    """The files of other tools in the directory from which a manifest can be made instead."""

    @property
    def verdict(self) -> Verdict:
        """SKIP if there was nothing to change; failures raise."""
        return Verdict.PASS if self.names or self.action in _WRITES_A_FILE else Verdict.SKIP


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTask:
    """Something that a person has to do before an imported service is what it was."""

    service: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingProgram:
    """A program that an imported service needs and this machine does not have."""

    service: str
    program: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport(Report):
    """A manifest made from another tool's file, and what is left to do; `backup` is the copy of a replaced one."""

    kind: ClassVar[str] = "config_import"

    source: Path
    format: str
    path: Path
    backup: Path | None
    services: tuple[str, ...]
    left_out: tuple[str, ...]
    """The services that are not started before a person has completed them."""
    env_file: Path | None
    """The `.env` that was written with `secrets`, None if none was."""
    secrets: tuple[str, ...]
    secrets_to_add: tuple[str, ...]
    """The secrets that a present `.env` lacks."""
    env_file_is_open: bool
    open_tasks: tuple[OpenTask, ...]
    missing_programs: tuple[MissingProgram, ...]

    @property
    def verdict(self) -> Verdict:
        """WARN if a person has something to do before the services run."""
        is_open = self.open_tasks or self.missing_programs or self.secrets_to_add or self.env_file_is_open
        return Verdict.WARN if is_open else Verdict.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaReport(Report):
    """The JSON Schema of the manifest."""

    kind: ClassVar[str] = "config_schema"
    asked_for: ClassVar[bool] = True

    schema: dict[str, Any]

    @property
    def verdict(self) -> Verdict:
        """Always PASS."""
        return Verdict.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustReport(Report):
    """The directories that the user trusts, in the file `path`, and which one was added or removed, if any."""

    kind: ClassVar[str] = "config_trust"
    asked_for: ClassVar[bool] = True

    path: Path
    directories: tuple[str, ...]
    directory: str | None = None
    removed: bool = False
    changed: bool = False

    @property
    def verdict(self) -> Verdict:
        """SKIP if the list is empty, or if there was nothing to change."""
        done = bool(self.directories) if self.directory is None else self.changed
        return Verdict.PASS if done else Verdict.SKIP


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleReport(Report):
    """The text of a complete `.env.example`."""

    kind: ClassVar[str] = "config_example"
    asked_for: ClassVar[bool] = True

    text: str = field(metadata={"lines": True})

    @property
    def verdict(self) -> Verdict:
        """Always PASS."""
        return Verdict.PASS

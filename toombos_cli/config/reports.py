"""What the `config` commands return."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from toombos_cli.base.findings import Finding, overall
from toombos_cli.base.results import Case, Report, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport(Report):
    """The findings of every rule, in order. `env_file` is the file that was judged, for `mode`."""

    kind: ClassVar[str] = "findings"

    env_file: Path
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
    overrides_line: int | None = None
    """The line of `.env` that a stronger source overrides."""
    service: str = ""
    """The service whose own table sets it, in the list for all services."""


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
    """A change of `.env`: `names` are the variables that changed, `backup` is the copy of the old file."""

    kind: ClassVar[str] = "config_change"

    action: str
    path: Path
    names: tuple[str, ...]
    backup: Path | None = None
    restart_needed: bool = False

    @property
    def verdict(self) -> Verdict:
        """SKIP if there was nothing to change; failures raise."""
        return Verdict.PASS if self.names or self.action in _WRITES_A_FILE else Verdict.SKIP


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

    text: str

    @property
    def verdict(self) -> Verdict:
        """Always PASS."""
        return Verdict.PASS

"""What the `config` commands return."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from toombos_cli.base.findings import Finding, overall
from toombos_cli.base.results import Case, Report, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport(Report):
    """Every rule's findings, in the order of the rules. `env_file` is the file that was judged, for `mode`."""

    kind: ClassVar[str] = "findings"

    env_file: Path
    mode: str | None
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """FAIL when a finding is one."""
        return overall(self.findings)

    def cases(self) -> tuple[Case, ...]:
        """One case a finding."""
        return tuple(finding.case() for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownValue:
    """One setting as it may be shown: `value` is masked, None when nothing sets it. `source` says what set it."""

    name: str
    value: str | None
    source: str
    line: int | None
    secret: bool
    overrides_line: int | None = None
    """The line of `.env` that something stronger overrides."""
    service: str = ""
    """The service whose own table sets it, in the list of what all share."""


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
        """SKIP when there is no variable to show."""
        return Verdict.PASS if self.values else Verdict.SKIP


_WRITES_A_FILE = frozenset({"init", "init-manifest"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChangeReport(Report):
    """What was done to `.env`: `names` of the variables that got a new text, `backup` the copy of the old file."""

    kind: ClassVar[str] = "config_change"

    action: str
    path: Path
    names: tuple[str, ...]
    backup: Path | None = None
    restart_needed: bool = False

    @property
    def verdict(self) -> Verdict:
        """SKIP when there was nothing to change; what fails raises."""
        return Verdict.PASS if self.names or self.action in _WRITES_A_FILE else Verdict.SKIP


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

"""The report of `toombos export`."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from toombos_cli.base.results import Case, Report, Verdict, worst
from toombos_cli.export.model import ExportEngine, LeftOut


class FileState(StrEnum):
    """How a file of the export compares with the one on disk."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    CHECKED = "checked"
    DIFFERS = "differs"
    MISSING = "missing"
    OBSOLETE = "obsolete"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """One file, by its path below the output directory."""

    path: str
    state: FileState


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCheck:
    """What a tool of the engine says about the files; SKIP if it is not at hand."""

    tool: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport(Report):
    """The files of a system for one engine, what they leave out, and the commands that use them."""

    kind: ClassVar[str] = "export"
    asked_for: ClassVar[bool] = True

    engine: ExportEngine
    output: Path | None
    """Where the files are; None if they were only checked."""
    files: tuple[FileRow, ...]
    left_out: tuple[LeftOut, ...]
    checks: tuple[ToolCheck, ...] = ()
    commands: tuple[str, ...] = ()
    """What to type next."""
    differences: dict[str, str] = field(default_factory=dict, metadata={"lines": True})
    """A unified diff for each file that differs, by its path; a private file has none."""

    @property
    def verdict(self) -> Verdict:
        """FAIL if a tool refuses the files or a compared one differs, SKIP if a check was asked for and none was made.

        WARN if something is left out, or an obsolete file is still there.
        """
        if any(row.state in (FileState.DIFFERS, FileState.MISSING) for row in self.files):
            return Verdict.FAIL
        judged = worst(check.verdict for check in self.checks) if self.checks else Verdict.PASS
        if judged not in (Verdict.PASS, Verdict.WARN):
            return judged
        obsolete = any(row.state is FileState.OBSOLETE for row in self.files)
        return Verdict.WARN if self.left_out or obsolete else judged

    def cases(self) -> tuple[Case, ...]:
        """One judged item a tool."""
        return tuple(Case(name=check.tool, verdict=check.verdict, detail=check.detail) for check in self.checks)

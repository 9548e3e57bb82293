"""The report of `toombos diagnose`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from toombos_cli.base.findings import Finding, overall
from toombos_cli.base.results import Case, Report, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class FixOutcome:
    """One fix that was run. `backup` is the copy of the settings file that it edited, None if it edited none.

    `undo` is the command that undoes it, None if there is none.
    """

    id: str
    service: str
    command: str
    exit_code: int
    output: str
    backup: Path | None = None
    undo: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnoseReport(Report):
    """The findings in the order of the checks, and the ids of the roots, the most urgent first.

    `root_findings` are those that `roots` names; `symptoms` of a root carry its id in `explained_by`.
    """

    kind: ClassVar[str] = "diagnose"
    hidden: ClassVar[frozenset[str]] = frozenset({"root_findings", "further_help", "support"})

    project: Path
    findings: tuple[Finding, ...]
    roots: tuple[str, ...]
    root_findings: tuple[Finding, ...]
    duration_s: float
    checked_at: str
    further_help: tuple[tuple[str, str], ...] = ()
    """Where else to look, each with the command that shows it, or ""."""
    support: tuple[str, ...] = ()
    place: str = ""
    """The place that was asked; "" for this machine."""
    fixes: tuple[FixOutcome, ...] = ()
    """What `--fix` ran before this diagnosis was made."""

    @property
    def verdict(self) -> Verdict:
        """FAIL if something is wrong; ERROR if nothing is, but not everything could be judged."""
        return overall(self.findings)

    def symptoms_of(self, root: Finding) -> tuple[Finding, ...]:
        """Return what follows from a root. If several share an id, each gets its service's, the first also the rest."""
        alike = [r for r in self.root_findings if r.id == root.id]
        others = {r.service for r in alike if r is not root}
        return tuple(
            f
            for f in self.findings
            if f.explained_by == root.id
            and (f.service == root.service or (root is alike[0] and f.service not in others))
        )

    def cases(self) -> tuple[Case, ...]:
        """One case per finding."""
        return tuple(finding.case() for finding in self.findings)

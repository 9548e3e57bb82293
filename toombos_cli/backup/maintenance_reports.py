"""The reports about existing archives; the field names are the JSON keys of the contract."""

from dataclasses import dataclass
from typing import ClassVar

from toombos_cli.backup.reports import DatabaseReport, gap_problems
from toombos_cli.base.errors import Problem
from toombos_cli.base.results import Case, Report, Verdict, worst
from toombos_cli.project.job_records import MissedRun
from toombos_cli.settings.backup_gaps import Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRow:
    """One archive of `backup list`; `files` and `data_bytes` are 0 for an encrypted one."""

    path: str
    created_at: str
    size_bytes: int
    files: int
    data_bytes: int
    kind: str
    verified: bool
    known_good: bool
    pinned: bool
    encrypted: bool
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRow:
    """One archive at the remote; `here` means that it is in the backup directory too."""

    name: str
    created_at: str
    size_bytes: int
    here: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteReport:
    """The archives at the configured remote, newest first. `problem` is why they are unknown, "" if they are known.

    `missing` are the good archives of the backup directory that are absent there, incomplete, or were not read back.
    """

    url: str
    archives: tuple[RemoteRow, ...] = ()
    missing: tuple[str, ...] = ()
    newest_good_missing: bool = False
    problem: str = ""

    @property
    def verdict(self) -> Verdict:
        return Verdict.WARN if self.problem or self.newest_good_missing else Verdict.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport(Report):
    """`toombos backup copy`: the addresses of the copies made and read back."""

    kind: ClassVar[str] = "backup_copy"

    remote: str
    copied: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """SKIP if nothing was missing there."""
        return Verdict.PASS if self.copied else Verdict.SKIP


@dataclass(frozen=True, slots=True, kw_only=True)
class ListReport(Report):
    """`toombos backup list`: the archives, newest first; `remote` is None if no remote is configured."""

    kind: ClassVar[str] = "backup_list"
    asked_for: ClassVar[bool] = True

    directory: str
    archives: tuple[ArchiveRow, ...]
    remote: RemoteReport | None = None

    @property
    def verdict(self) -> Verdict:
        """WARN if an archive is unusable or the remote is incomplete; SKIP if there is no archive."""
        rows = [Verdict.WARN if row.problem else Verdict.PASS for row in self.archives]
        return worst([*rows, *_of_remote(self.remote)])


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedArchive:
    """The full verification of one archive. `complete`: nothing was unreadable when it was made."""

    path: str
    verdict: Verdict
    detail: str
    files: int
    databases: tuple[DatabaseReport, ...]
    complete: bool
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport(Report):
    """`toombos backup verify`: FAIL if an archive is bad, ERROR if one could not be judged or there is none."""

    kind: ClassVar[str] = "backup_verify"

    archives: tuple[VerifiedArchive, ...]

    @property
    def verdict(self) -> Verdict:
        return worst(one.verdict for one in self.archives) if self.archives else Verdict.ERROR

    def cases(self) -> tuple[Case, ...]:
        """Return one case per archive."""
        return tuple(
            Case(name=one.path, verdict=one.verdict, duration_s=one.duration_s, detail=one.detail)
            for one in self.archives
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneDecision:
    """Whether the retention keeps one archive, and why."""

    path: str
    keep: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport(Report):
    """`toombos backup prune`: what stays and what went to the trash; `emptied` are the bins deleted from the trash."""

    kind: ClassVar[str] = "backup_prune"

    preview: bool
    decisions: tuple[PruneDecision, ...]
    removed_bytes: int
    trash: str
    emptied: tuple[str, ...]
    remote: RemoteReport | None = None

    @property
    def verdict(self) -> Verdict:
        """SKIP if there is no archive; a refused prune raises."""
        return Verdict.PASS if self.decisions else Verdict.SKIP


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport(Report):
    """`toombos backup status`: FAIL if no known good archive is younger than `max_age_h` hours.

    It is a FAIL too if a root that should have content has none: `gaps` are those of a backup made now.
    `missed_runs` are scheduled jobs of any kind that did not run.
    """

    kind: ClassVar[str] = "backup_status"

    newest_good: str | None
    age_h: float | None
    max_age_h: float
    archives: int
    bad: tuple[str, ...]
    total_bytes: int
    last_drill_at: str | None
    restore_interrupted: bool
    missed_runs: tuple[MissedRun, ...] = ()
    remote: RemoteReport | None = None
    clock_was_ahead: bool = False
    gaps: tuple[Gap, ...] = ()
    left_undone: tuple[str, ...] = ()
    """What a killed backup or restore has left: services that it had stopped, a hook that is due."""

    @property
    def verdict(self) -> Verdict:
        lost = any(gap.verdict is Verdict.FAIL for gap in self.gaps)
        if self.restore_interrupted or self.left_undone or lost or not self.is_fresh:
            return Verdict.FAIL
        if self.bad or self.missed_runs or self.gaps:
            return Verdict.WARN
        return worst([Verdict.PASS, *_of_remote(self.remote)])

    @property
    def is_fresh(self) -> bool:
        """Whether the newest good archive is recent enough; if the clock was ahead, its age is unknown."""
        return self.age_h is not None and self.age_h <= self.max_age_h and not self.clock_was_ahead

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Each gap, with what to do about it."""
        return gap_problems(self.gaps)


def _of_remote(remote: RemoteReport | None) -> tuple[Verdict, ...]:
    """Return the verdict of the remote if something is wrong there; a PASS there does not make any archive good."""
    return (remote.verdict,) if remote and remote.verdict is not Verdict.PASS else ()

"""What making an archive and restoring one return; the field names are the JSON keys of the contract."""

from dataclasses import dataclass
from typing import ClassVar

from toombos_cli.base.errors import Problem
from toombos_cli.base.results import Report, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A file that is not in the archive, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseReport:
    """A database of an archive; `rows` over all tables, `tables` for each, `integrity` "ok" or the complaint."""

    path: str
    integrity: str
    rows: int
    tables: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingRoot:
    """A root that a person wrote in `toombos.toml` and that does not exist; `nearest` is the most similar name."""

    path: str
    nearest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateReport(Report):
    """`toombos backup`: one new archive; `archive` is "" when there was nothing to back up, and none was made.

    `verified`: it was read back from the disk in full; an encrypted one only where the key is. `complete`: every
    file was readable and every database sound. `remote`: where the copy lies, `remote_problem` why there is none.
    `absent` are the roots that do not exist, `missing` those that a person wrote.
    """

    kind: ClassVar[str] = "backup_create"

    archive: str
    size_bytes: int
    data_bytes: int
    files: int
    duration_s: float
    verified: bool
    known_good: bool
    complete: bool
    databases: tuple[DatabaseReport, ...]
    unreadable: tuple[Skipped, ...]
    skipped: tuple[Skipped, ...]
    project: str
    roots: tuple[str, ...]
    absent: tuple[str, ...]
    flagged: tuple[Skipped, ...]
    missing: tuple[MissingRoot, ...] = ()
    remote: str | None = None
    remote_problem: str = ""

    @property
    def verdict(self) -> Verdict:
        """ERROR when a file or the remote is missing, FAIL when no file was saved, WARN for a root that is missing."""
        if not self.complete or self.remote_problem:
            return Verdict.ERROR
        if not self.files:
            return Verdict.FAIL
        return Verdict.WARN if self.missing or not self.verified else Verdict.PASS

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why nothing was backed up, and each root that is missing."""
        told = tuple(
            Problem(
                message=f"the root {root.path!r} does not exist",
                where="toombos.toml, [backup] roots",
                hint=f"did you mean {root.nearest!r}?" if root.nearest else None,
            )
            for root in self.missing
        )
        if self.files or not self.complete:
            return told
        if self.roots:
            message = f"nothing to back up: no file to save in {', '.join(self.roots)}"
        else:
            message = f"nothing to back up: none of the roots exists: {', '.join(self.absent)}"
        hint = None if told else "run it in the project's directory or with --project DIR, or name [backup] roots"
        return (Problem(message=message, where=self.project, hint=hint), *told)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSet:
    """An owner, extended attribute or ACL (`what`) that a restored file did not get, and why."""

    path: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport(Report):
    """`toombos restore`: what changed, or with `dry_run` what would change. Names are relative to the project.

    `kept` are live files that the backup's rules leave out and the restore therefore left in place.
    `replaced_at` is where the replaced files still lie, when the safety backup could not hold all of them.
    """

    kind: ClassVar[str] = "restore"

    restored_from: str
    safety_backup: str | None
    dry_run: bool
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    started: tuple[str, ...]
    stopped: tuple[str, ...]
    databases: tuple[DatabaseReport, ...]
    passed_over: tuple[Skipped, ...]
    replaced_at: str | None
    recovered: str | None
    duration_s: float
    not_set: tuple[NotSet, ...] = ()

    @property
    def verdict(self) -> Verdict:
        return Verdict.WARN if self.replaced_at or self.passed_over or self.not_set else Verdict.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverReport(Report):
    """`toombos restore --recover`: what was done about an interrupted restore, None when there was none."""

    kind: ClassVar[str] = "restore_recover"

    outcome: str | None
    stopped: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """SKIP when no restore was interrupted."""
        return Verdict.PASS if self.outcome else Verdict.SKIP


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillReport(Report):
    """`toombos backup drill`: a restore that was proven, in a directory that is gone again."""

    kind: ClassVar[str] = "backup_drill"

    archive: str
    files: int
    databases: tuple[DatabaseReport, ...]
    duration_s: float

    @property
    def verdict(self) -> Verdict:
        """FAIL for an archive without a file: a restore of it would bring nothing back."""
        return Verdict.PASS if self.files else Verdict.FAIL

"""The reports of creating and restoring archives; the field names are the JSON keys of the contract."""

from dataclasses import dataclass, field
from typing import ClassVar

from toombos_cli.base.errors import Problem
from toombos_cli.base.results import Report, Verdict
from toombos_cli.settings.backup_gaps import Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A file that is not in the archive, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseReport:
    """A database in an archive; `rows` is the total, `tables` the rows of each table, `integrity` "ok" or the error.

    `unjudged` is why a part of it could not be checked, "" if all of it was.
    """

    path: str
    integrity: str
    rows: int
    tables: dict[str, int]
    unjudged: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether the database passed its integrity check."""
        return self.integrity == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideDatabase:
    """A link to a SQLite database that no root contains: a backup holds the link alone."""

    path: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateReport(Report):
    """`toombos backup`: one new archive; `archive` is "" if there was nothing to back up and none was made.

    `verified`: it was read back from the disk in full, an encrypted one before and after it was encrypted. `complete`:
    every file was readable, every database sound, and a regular one has no FAIL among its `gaps`. `remote` is the
    address of the copy, `remote_problem` why there is none, `remote_hint` what to do. `absent` are the roots that do
    not exist, `saved` the number of files of each root, database and mounted file system.
    `unmatched` are the exclude patterns that match nothing, `outside` the links to databases that no root contains.
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
    gaps: tuple[Gap, ...] = ()
    saved: dict[str, int] = field(default_factory=dict)
    outside: tuple[OutsideDatabase, ...] = ()
    unmatched: tuple[str, ...] = ()
    remote: str | None = None
    remote_problem: str = ""
    remote_hint: str = ""
    after_problem: str = ""
    """Why the program `[backup] after` failed, "" if it did not."""
    resumed: tuple[str, ...] = ()
    """The services that a killed backup or restore had stopped, and that were started again first."""
    resume_problem: str = ""
    """Why something that a killed backup or restore had left could not be put right, "" if nothing failed."""

    @property
    def verdict(self) -> Verdict:
        """ERROR if a file, copy, hook or resumed service failed, FAIL if there is no file, WARN for other gaps."""
        if not self.complete or self.remote_problem or self.after_problem or self.resume_problem:
            return Verdict.ERROR
        if not self.files:
            return Verdict.FAIL
        return Verdict.WARN if self.gaps or self.outside else Verdict.PASS

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The reason why nothing was backed up, and each gap."""
        told = gap_problems(self.gaps) + tuple(
            Problem(
                message=f"{one.path} is a link to {one.target}, a database in no root: only the link is saved",
                where="toombos.toml, [backup] roots",
                hint="move the database into a root, or make the link itself a root",
            )
            for one in self.outside
        )
        if self.files or not self.complete:
            return told
        if self.roots:
            message = f"nothing to back up: no files in {', '.join(self.roots)}"
        else:
            message = f"nothing to back up: none of the roots exists: {', '.join(self.absent)}"
        hint = None if told else "run it in the project directory or with --project DIR, or set [backup] roots"
        return (Problem(message=message, where=self.project, hint=hint), *told)


def gap_problems(gaps: tuple[Gap, ...]) -> tuple[Problem, ...]:
    """Return each gap as a problem with what to do about it."""
    return tuple(Problem(message=gap.message, where="[backup]", hint=gap.hint) for gap in gaps)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSet:
    """An owner, extended attribute, ACL or bit of the mode (`what`) that a restored file did not get, and why."""

    path: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedRows:
    """A table that has another number of rows after a restore; None means that it does not exist."""

    database: str
    table: str
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport(Report):
    """`toombos restore`: what changed, or with `preview` what would change. Names are relative to the project.

    `made_at` is the archive's own time, and `roots` what it brings back: all of it is then as old as that. `not_tried`
    are newer archives that `--latest-good` does not take, `passed_over` those that it tried and that are damaged.
    `stopped` are the services that were stopped, or with `preview` would be. `kept` are live files that the backup's
    rules exclude, so that the restore left them in place. `replaced_at` is where the replaced files still are if the
    safety backup could not save all of them.
    """

    kind: ClassVar[str] = "restore"

    restored_from: str
    made_at: str = ""
    archive_kind: str = "regular"
    size_bytes: int = 0
    files: int = 0
    roots: tuple[str, ...] = ()
    not_tried: tuple[Skipped, ...] = ()
    safety_backup: str | None
    preview: bool
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
    not_asked: tuple[str, ...] = ()
    """What is restored only with `--only`: roots that the manifest does not name, and outputs of backup commands."""
    rows: tuple[ChangedRows, ...] = ()

    @property
    def verdict(self) -> Verdict:
        unsaid = self.replaced_at or self.passed_over or self.not_set or self.not_asked
        return Verdict.WARN if unsaid else Verdict.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverReport(Report):
    """`toombos restore --recover`: the outcome for an interrupted restore, None if there was none.

    `stopped` are the services that it had stopped, `started` those that a killed backup or restore had and that run
    again.
    """

    kind: ClassVar[str] = "restore_recover"

    outcome: str | None
    stopped: tuple[str, ...]
    started: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """SKIP if nothing was interrupted."""
        return Verdict.PASS if self.outcome or self.started else Verdict.SKIP


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillReport(Report):
    """`toombos backup drill`: a trial restore into a directory that was removed afterwards.

    `not_restored` is why the dump of a database was not tried on its server, "" if it was or there is none.
    """

    kind: ClassVar[str] = "backup_drill"

    archive: str
    files: int
    databases: tuple[DatabaseReport, ...]
    duration_s: float
    not_restored: str = ""

    @property
    def verdict(self) -> Verdict:
        """FAIL if the archive contains no files: restoring it would bring nothing back; WARN if a dump is unproven."""
        if not self.files:
            return Verdict.FAIL
        return Verdict.WARN if self.not_restored else Verdict.PASS

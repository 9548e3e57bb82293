"""What making an archive and restoring one return; the field names are the JSON keys of the contract."""

from dataclasses import dataclass
from typing import ClassVar

from toombos_cli.base.results import Verdict


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

    @property
    def is_sound(self) -> bool:
        """Whether the database passed its check of integrity."""
        return self.integrity == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateReport:
    """`toombos backup`: one new archive.

    `verified`: it was read back from the disk in full; an encrypted one only where the key is. `complete`: every
    file was readable and every database sound. `remote`: where the copy lies, `remote_problem` why there is none.
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
    absent: tuple[str, ...]
    flagged: tuple[Skipped, ...]
    remote: str | None = None
    remote_problem: str = ""

    @property
    def verdict(self) -> Verdict:
        if not self.complete or self.remote_problem:
            return Verdict.ERROR
        return Verdict.PASS if self.verified else Verdict.WARN


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSet:
    """An owner, extended attribute or ACL (`what`) that a restored file did not get, and why."""

    path: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """`toombos restore`: what changed, or with `preview` what would change. Names are relative to the project.

    `kept` are live files that the backup's rules leave out and the restore therefore left in place.
    `replaced_at` is where the replaced files still lie, when the safety backup could not hold all of them.
    """

    kind: ClassVar[str] = "restore"

    restored_from: str
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

    @property
    def verdict(self) -> Verdict:
        return Verdict.WARN if self.replaced_at or self.passed_over or self.not_set else Verdict.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverReport:
    """`toombos restore --recover`: what was done about an interrupted restore, None when there was none."""

    kind: ClassVar[str] = "restore_recover"

    outcome: str | None
    stopped: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        return Verdict.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillReport:
    """`toombos backup drill`: a restore that was proven, in a directory that is gone again."""

    kind: ClassVar[str] = "backup_drill"

    archive: str
    files: int
    databases: tuple[DatabaseReport, ...]
    duration_s: float

    @property
    def verdict(self) -> Verdict:
        return Verdict.PASS

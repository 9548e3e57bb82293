"""The reports of `toombos schedule`."""

from dataclasses import dataclass
from typing import ClassVar

from toombos_cli.base.results import Case, Verdict, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job; times are ISO 8601, local. `exit_code` is that of the last run, None if it never ran or is running.

    `broken_off`: the last run was killed, or the machine went down; it has no exit code.
    """

    name: str
    title: str
    when: str
    command: str
    enabled: bool
    last_run_at: str | None
    exit_code: int | None
    next_due_at: str | None
    missed: bool
    broken_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationRow:
    """How the supervisor rotates the logs; `max_mb` is 10^6 bytes."""

    daily: bool
    max_mb: int
    keep: int
    compress: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleReport:
    """The jobs; `method` is systemd or cron, None if the schedule is not installed."""

    kind: ClassVar[str] = "schedule"

    method: str | None
    jobs: tuple[JobRow, ...]
    rotation: RotationRow
    changed: str | None = None
    """A description of what `install` or `remove` did."""

    @property
    def verdict(self) -> Verdict:
        """Return WARN if a run was missed, or if the last one failed or was cut off."""
        return worst(case.verdict for case in self.cases())

    def cases(self) -> tuple[Case, ...]:
        """Return one judged item per job."""
        return tuple(
            Case(
                name=job.name,
                verdict=Verdict.SKIP
                if not job.enabled
                else Verdict.WARN
                if job.missed or job.broken_off or job.exit_code not in (None, 0)
                else Verdict.PASS,
                detail="missed" if job.missed else "broken off" if job.broken_off else "",
            )
            for job in self.jobs
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedSchedule:
    """The files that `install` would write, by name; `crontab` for cron. Nothing was changed."""

    kind: ClassVar[str] = "schedule_print"

    method: str
    files: dict[str, str]

    @property
    def verdict(self) -> Verdict:
        """Return PASS."""
        return Verdict.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRunReport:
    """One run of one job; its output went to logs/schedule.log."""

    kind: ClassVar[str] = "schedule_run"

    job: str
    command: tuple[str, ...]
    exit_code_of_command: int
    duration_s: float

    @property
    def verdict(self) -> Verdict:
        """Return FAIL if the command's exit code is not 0."""
        return Verdict.PASS if self.exit_code_of_command == 0 else Verdict.FAIL

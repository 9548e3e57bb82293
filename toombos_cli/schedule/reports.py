"""The reports of `toombos schedule`."""

from dataclasses import dataclass, field
from typing import ClassVar

from toombos_cli.base.results import Case, Report, Verdict, worst


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

    @property
    def verdict(self) -> Verdict:
        """WARN when a run was missed, or the last one failed or was broken off; SKIP for a disabled job."""
        if not self.enabled:
            return Verdict.SKIP
        return Verdict.WARN if self.missed or self.broken_off or self.exit_code else Verdict.PASS

    @property
    def result(self) -> str:
        """How the last run ended, in words; "" for well, or never."""
        if not self.enabled:
            return "disabled"
        if self.missed:
            return "missed"
        return "broken off" if self.broken_off else f"exit {self.exit_code}" if self.exit_code else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationRow:
    """How the supervisor rotates the logs; `max_mb` is 10^6 bytes."""

    daily: bool
    max_mb: int
    keep: int
    compress: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleReport(Report):
    """The jobs; `method` is systemd or cron, None if the schedule is not installed."""

    kind: ClassVar[str] = "schedule"

    method: str | None
    jobs: tuple[JobRow, ...]
    rotation: RotationRow
    changed: str | None = None
    """A description of what `install` or `remove` did."""

    @property
    def verdict(self) -> Verdict:
        """The worst of the jobs; SKIP when there is none, or none that is enabled."""
        return worst(job.verdict for job in self.jobs)

    def cases(self) -> tuple[Case, ...]:
        """One judged item a job."""
        return tuple(Case(name=job.name, verdict=job.verdict, detail=job.result) for job in self.jobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedSchedule(Report):
    """The files that `install` would write, by name; `crontab` for cron. Nothing was changed."""

    kind: ClassVar[str] = "schedule_print"
    asked_for: ClassVar[bool] = True

    method: str
    files: dict[str, str] = field(metadata={"lines": True})

    @property
    def verdict(self) -> Verdict:
        """Return PASS."""
        return Verdict.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRunReport(Report):
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

"""When scheduled jobs are due, when they last ran, and which runs were missed.

`toombos schedule run` writes the records; health and backup status report the missed runs.
"""

import time
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from toombos_cli.base.files import replace_file
from toombos_cli.base.own_records import encode_own, read_own
from toombos_cli.base.untrusted import EpochSeconds, UntrustedError
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.schedule import WEEKDAYS, Job

_GRACE_S = 300.0  # within this time a run is late, not missed
_EARLY_S = 60.0


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job's last run; `exit_code` is None while it runs. Times are seconds since the epoch."""

    started_at: EpochSeconds
    ended_at: EpochSeconds | None = None
    exit_code: int | None = None


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """When and how the schedule was installed."""

    method: str
    installed_at: EpochSeconds


class MissedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was due and did not run; `last_run_at` is None if it never ran. Times are local, with the offset."""

    job: str
    due_at: datetime
    last_run_at: datetime | None

    @property
    def text(self) -> str:
        """The rest of a sentence that starts with the job's name."""
        last = f"last on {_minute(self.last_run_at)}" if self.last_run_at else "never yet"
        return f"was due on {_minute(self.due_at)} and did not run ({last})"


def directory_of(project: Path) -> Path:
    """Return the directory of the records."""
    return project / "run" / "schedule"


def write_record(project: Path, job: str, record: RunRecord) -> None:
    """Record the job's last run. Raises OSError."""
    replace_file(directory_of(project) / f"{job}.json", encode_own(record), durable=True)


def read_record(project: Path, job: str) -> RunRecord | None:
    """Return the job's last run, or None if it never ran."""
    try:
        return read_own(directory_of(project) / f"{job}.json", RunRecord)
    except (OSError, UntrustedError):
        return None


def write_installation(project: Path, installation: Installation | None) -> None:
    """Record that the schedule is installed, or, with None, that it no longer is. Raises OSError."""
    path = directory_of(project) / "installed"
    if installation is None:
        path.unlink(missing_ok=True)
    else:
        replace_file(path, encode_own(installation), durable=True)


def read_installation(project: Path) -> Installation | None:
    """Return how the schedule is installed, or None if it is not."""
    try:
        return read_own(directory_of(project) / "installed", Installation)
    except (OSError, UntrustedError):
        return None


def last_due(job: Job, now: datetime) -> datetime:
    """Return the latest time at or before `now` (local time) at which the job, which is not one at boot, is due."""
    minute = now.replace(second=0, microsecond=0)
    if job.every_minutes is not None:
        return minute - timedelta(minutes=minute.minute % job.every_minutes)
    due = minute.replace(hour=int((job.at or "")[:2]), minute=int((job.at or "")[3:]), fold=0)  # not twice, as cron
    while due > now or (job.weekday is not None and WEEKDAYS[due.isoweekday() % 7] != job.weekday):
        due -= timedelta(days=1)
    return due


def next_due(job: Job, now: datetime) -> datetime:
    """Return the first time after `now` (local time) at which the job is due."""
    if job.every_minutes is not None:
        return last_due(job, now) + timedelta(minutes=job.every_minutes)
    days = 7 if job.weekday is not None else 1
    return last_due(job, now) + timedelta(days=days)


def missed_runs(manifest: Manifest, now_s: float | None = None) -> tuple[MissedRun, ...]:
    """Return the jobs whose last due run did not happen; none if the schedule is not installed."""
    installation = read_installation(manifest.project)
    if installation is None:
        return ()
    now_s = time.time() if now_s is None else now_s
    missed = []
    for name, job in manifest.schedule.items():
        if not job.enabled or job.at_boot:
            continue
        due_at = last_due(job, datetime.fromtimestamp(now_s - _GRACE_S)).timestamp()  # noqa: DTZ006  (local, as cron)
        record = read_record(manifest.project, name)
        ran_at = record.started_at if record else None
        # Ignore a record from a clock that was ahead: it would hide missed runs until that time.
        ran = ran_at is not None and due_at - _EARLY_S <= ran_at <= now_s + _GRACE_S
        if installation.installed_at < due_at and not ran:
            last = _local(ran_at) if ran_at is not None else None
            missed.append(MissedRun(job=name, due_at=_local(due_at), last_run_at=last))
    return tuple(missed)


def _local(at: float) -> datetime:
    return datetime.fromtimestamp(at).astimezone()


def _minute(at: datetime) -> str:
    return at.replace(tzinfo=None).isoformat(sep=" ", timespec="minutes")

"""`toombos schedule` show, install, remove and run."""

import fcntl
import os
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from toombos_cli.alert_events import AlertEvent, emit, open_keys
from toombos_cli.errors import ConfigurationError, LockedError, OperationError, UsageError
from toombos_cli.manifest.alerts import Severity
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.schedule import Job
from toombos_cli.own_command import own_argv
from toombos_cli.private_files import make_private_directory
from toombos_cli.schedule import crontab, systemd
from toombos_cli.schedule.reports import JobRow, JobRunReport, PrintedSchedule, RotationRow, ScheduleReport
from toombos_cli.scheduled_runs import (
    Installation,
    RunRecord,
    directory_of,
    missed_runs,
    next_due,
    read_installation,
    read_record,
    write_installation,
    write_record,
)
from toombos_cli.spelling import nearest

Method = Literal["systemd", "cron"]
_SHOWN_OUTPUT_LINES = 20


def choose_method() -> Method:
    """systemd where its user manager answers, else cron. Raises OperationError when there is neither."""
    if systemd.is_available():
        return "systemd"
    if shutil.which("crontab"):
        return "cron"
    raise OperationError("neither systemd's user manager nor cron is here", hint="apt-get install cron")


def run_show(manifest: Manifest, *, changed: str | None = None) -> ScheduleReport:
    """Every job with its last run and its next."""
    installation = read_installation(manifest.project)
    missed = {run.job for run in missed_runs(manifest)}
    return ScheduleReport(
        method=installation.method if installation else None,
        jobs=tuple(_row(manifest.project, name, job, name in missed) for name, job in manifest.schedule.items()),
        rotation=RotationRow(
            daily=manifest.logs.daily,
            max_mb=manifest.logs.max_mb,
            keep=manifest.logs.keep,
            compress=manifest.logs.compress,
        ),
        changed=changed,
    )


def run_print(manifest: Manifest, method: Method | None) -> PrintedSchedule:
    """What would be installed. Raises OperationError."""
    method = method or choose_method()
    files = systemd.units(manifest) if method == "systemd" else {"crontab": crontab.block(manifest).decode()}
    return PrintedSchedule(method=method, files=files)


def run_install(manifest: Manifest, method: Method | None) -> ScheduleReport:
    """Installs the jobs; again brings the installation up to date.

    Raises ConfigurationError where there are no jobs, OperationError.
    """
    if not manifest.schedule:
        raise ConfigurationError(
            "the manifest describes no jobs",
            where=str(manifest.source.path) if manifest.source.path else None,
            hint='add [schedule.NAME] tables, or begin toombos.toml with: extends = "monitoring"',
        )
    installation = read_installation(manifest.project)
    method = method or choose_method()
    if installation is not None and installation.method != method:
        _remove(manifest, installation.method)
    if method == "systemd":
        changed = f"{len(systemd.install(manifest))} timers in {systemd.unit_directory()}"
    else:
        crontab.write_crontab(crontab.with_block(crontab.read_crontab(), manifest.project, crontab.block(manifest)))
        changed = "a block in the crontab of this user"
    if installation is None or installation.method != method:
        write_installation(manifest.project, Installation(method=method, installed_at=time.time()))
    return run_show(manifest, changed=f"installed: {changed}")


def run_remove(manifest: Manifest) -> ScheduleReport:
    """Takes the jobs out of systemd and cron, wherever they are. Raises OperationError."""
    removed = [text for method in ("systemd", "cron") if (text := _remove(manifest, method))]
    write_installation(manifest.project, None)
    return run_show(manifest, changed=f"removed: {', '.join(removed)}" if removed else "nothing was installed")


def run_job(manifest: Manifest, name: str) -> JobRunReport:
    """Runs the job's command now, records it, and raises or ends its alert.

    Raises UsageError for an unknown job, LockedError when it runs already.
    """
    job = manifest.schedule.get(name)
    if job is None:
        guess = nearest(name, manifest.schedule)
        raise UsageError(
            f"no job is named {name!r}", hint=f"did you mean {guess!r}?" if guess else "toombos schedule show"
        )
    directory = directory_of(manifest.project)
    try:
        make_private_directory(directory)
        lock = os.open(directory / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperationError(f"run/schedule cannot be used: {error.strerror}", where=str(directory)) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _run_locked(manifest, name, job)
    except BlockingIOError:
        raise LockedError(f"the job {name} runs already") from None
    finally:
        os.close(lock)


def _run_locked(manifest: Manifest, name: str, job: Job) -> JobRunReport:
    started_at, started = time.time(), time.monotonic()
    write_record(manifest.project, name, RunRecord(started_at=started_at))
    done = subprocess.run(
        own_argv(manifest.project, *job.command),
        cwd=manifest.project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    write_record(
        manifest.project, name, RunRecord(started_at=started_at, ended_at=time.time(), exit_code=done.returncode)
    )
    output = done.stdout.decode("utf-8", "replace")
    _append_log(manifest.project, name, done.returncode, output)
    emit(manifest.project, _outcome(name, job, done.returncode, output), *_watch_others(manifest, name))
    return JobRunReport(
        job=name,
        command=job.command,
        exit_code_of_command=done.returncode,
        duration_s=round(time.monotonic() - started, 3),
    )


def _outcome(name: str, job: Job, exit_code: int, output: str) -> AlertEvent:
    command = " ".join(("toombos", *job.command))
    return AlertEvent(
        key=f"schedule:{name}",
        source="schedule",
        severity=job.severity,
        title=f"{job.title or name}: `{command}` ended with exit code {exit_code}",
        body="\n".join(output.splitlines()[-_SHOWN_OUTPUT_LINES:]),
        resolved=exit_code == 0,
    )


def _watch_others(manifest: Manifest, name: str) -> tuple[AlertEvent, ...]:
    """Alerts for the jobs whose runs were missed, and the end of those of the job that ran now."""
    missed = {run.job: run for run in missed_runs(manifest)}
    known = {key.removeprefix("missed:") for key in open_keys(manifest.project) if key.startswith("missed:")}
    return tuple(
        AlertEvent(
            key=f"missed:{job}",
            source="schedule",
            severity=Severity.P2,
            title=f"The scheduled job {job} {missed[job].text}" if job in missed else f"The scheduled job {job} ran",
            resolved=job not in missed,
        )
        for job in sorted((missed.keys() | known) - ({name} if name in missed else set()))
    )


def _append_log(project: Path, name: str, exit_code: int, output: str) -> None:
    path = project / "logs" / "schedule.log"
    make_private_directory(path.parent)
    head = f"{datetime.now(UTC).isoformat(timespec='seconds')} {name}: exit code {exit_code}\n"
    text = head + "".join(f"  {line}\n" for line in output.splitlines())
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "ab") as file:
        file.write(text.encode())


def _remove(manifest: Manifest, method: str) -> str:
    """Takes the jobs out of one of the two; what was removed, for a person, "" when nothing was there."""
    if method == "systemd":
        names = systemd.remove(manifest.project)
        return f"{len(names)} units" if names else ""
    if shutil.which("crontab") is None:
        return ""
    present = crontab.read_crontab()
    if not crontab.has_block(present, manifest.project):
        return ""
    crontab.write_crontab(crontab.without_block(present, manifest.project))
    return "the block in the crontab"


def _row(project: Path, name: str, job: Job, missed: bool) -> JobRow:
    record = read_record(project, name)
    return JobRow(
        name=name,
        title=job.title,
        when=_when(job),
        command=" ".join(("toombos", *job.command)),
        enabled=job.enabled,
        last_run_at=_local(datetime.fromtimestamp(record.started_at)) if record else None,  # noqa: DTZ006  (local, as cron)
        exit_code=record.exit_code if record else None,
        next_due_at=_local(next_due(job, datetime.now())) if job.enabled else None,  # noqa: DTZ005  (local, as cron)
        missed=missed,
    )


def _when(job: Job) -> str:
    if job.every_minutes is not None:
        return f"every {job.every_minutes} minutes" if job.every_minutes > 1 else "every minute"
    return f"{job.weekday} {job.at}" if job.weekday else f"daily {job.at}"


def _local(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")

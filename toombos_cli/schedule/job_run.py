"""One run of one scheduled job: one at a time, recorded, and told to the alerts when it failed."""

import fcntl
import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from toombos_cli.base.errors import LockedError, OperationError, UsageError
from toombos_cli.base.files import make_private_directory
from toombos_cli.base.spelling import nearest
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.manifest.tables.schedule import Job
from toombos_cli.project.alert_spool import AlertEvent, emit, open_keys
from toombos_cli.project.commands import own_argv
from toombos_cli.project.job_records import RunRecord, directory_of, missed_runs, read_record, write_record
from toombos_cli.schedule.reports import JobRunReport

_SHOWN_OUTPUT_LINES = 20


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
        lock = os.open(_lock_of(manifest.project, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperationError(f"run/schedule cannot be used: {error.strerror}", where=str(directory)) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _run_locked(manifest, name, job)
    except BlockingIOError:
        raise LockedError(f"the job {name} runs already") from None
    finally:
        os.close(lock)


def is_broken_off(project: Path, name: str) -> bool:
    """Whether the job's last run ended without a word: killed, or by the end of the machine. False while it runs."""
    record = read_record(project, name)
    if record is None or record.ended_at is not None:
        return False
    try:
        lock = os.open(_lock_of(project, name), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    record = read_record(project, name)  # it may have ended between the two looks
    return record is not None and record.ended_at is None


def _lock_of(project: Path, name: str) -> Path:
    return directory_of(project) / f"{name}.lock"


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
    others = (*_missed(manifest, name), *_broken_off(manifest, name))
    emit(manifest.project, _outcome(name, job, done.returncode, output), *others)
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


def _broken_off(manifest: Manifest, name: str) -> tuple[AlertEvent, ...]:
    """Alerts for the other jobs whose last run was broken off; their next run that succeeds ends them.

    Not for those that run every few minutes: the next run tells more than an alert would.
    """
    return tuple(
        AlertEvent(
            key=f"schedule:{other}",
            source="schedule",
            severity=job.severity,
            title=f"{job.title or other}: the last run was broken off: killed, or the machine went down",
        )
        for other, job in manifest.schedule.items()
        if other != name and job.enabled and job.every_minutes is None and is_broken_off(manifest.project, other)
    )


def _missed(manifest: Manifest, name: str) -> tuple[AlertEvent, ...]:
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

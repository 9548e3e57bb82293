"""One run of a scheduled job: one at a time, recorded, and raising an alert if it fails."""

import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from toombos_cli.base import locks
from toombos_cli.base.errors import UsageError
from toombos_cli.base.files import append_line
from toombos_cli.base.fixes import here
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.manifest import SCHEDULE_LOG
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.manifest.tables.schedule import Job
from toombos_cli.project.alert_spool import AlertEvent, emit, open_keys
from toombos_cli.project.commands import own_argv
from toombos_cli.project.job_records import RunRecord, directory_of, missed_runs, read_record, write_record
from toombos_cli.schedule.reports import JobRunReport

_SHOWN_OUTPUT_LINES = 20


def run_job(manifest: Manifest, name: str) -> JobRunReport:
    """Run the job's command now, record it, and raise or resolve its alert.

    Raise UsageError for an unknown job, LockedError if it is already running.
    """
    job = manifest.schedule.get(name)
    if job is None:
        hint = did_you_mean(name, manifest.schedule, here("schedule", "show"))
        raise UsageError(f"no job is named {name!r}", hint=hint)
    with locks.hold_alone(_lock_of(manifest.project, name), f"job {name}"):
        return _run_locked(manifest, name, job)


def is_broken_off(project: Path, name: str) -> bool:
    """Return whether the job's last run was cut off, by a kill or the end of the machine. False while it runs."""
    record = read_record(project, name)
    if record is None or record.ended_at is not None:
        return False
    if locks.is_held(_lock_of(project, name)):
        return False
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
    """Return alerts for the other jobs whose last run was cut off; their next successful run resolves them.

    Jobs that run every few minutes are left out: their next run says more than an alert would.
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
    """Return alerts for the jobs that missed a run, and the recovery of the job that just ran."""
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
    head = f"{datetime.now(UTC).isoformat(timespec='seconds')} {name}: exit code {exit_code}"
    text = "\n  ".join((head, *output.splitlines()))
    append_line(project / SCHEDULE_LOG, text.encode())

"""`toombos schedule` show, install and remove."""

import os
import time
from datetime import datetime
from pathlib import Path
from typing import Literal

from toombos_cli.base.errors import ConfigurationError, OperationError, RefusedError
from toombos_cli.base.fixes import here, toombos
from toombos_cli.base.programs import find_program
from toombos_cli.base.trust import is_noted
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.schedule import Job
from toombos_cli.project.job_records import (
    Installation,
    missed_runs,
    next_due,
    read_installation,
    read_record,
    write_installation,
)
from toombos_cli.schedule import crontab, systemd
from toombos_cli.schedule.job_run import is_broken_off
from toombos_cli.schedule.reports import JobRow, PrintedSchedule, RotationRow, ScheduleReport

Method = Literal["systemd", "cron"]


def choose_method() -> Method:
    """Return systemd if its user manager responds, else cron. Raise OperationError if there is neither."""
    if systemd.is_available():
        return "systemd"
    if find_program("crontab"):
        return "cron"
    raise OperationError("neither systemd's user manager nor cron is available", hint="apt-get install cron")


def run_show(manifest: Manifest, *, changed: str | None = None) -> ScheduleReport:
    """Return every job with its last and next run."""
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
    """Return what `install` would write. Raise OperationError."""
    method = method or choose_method()
    if method == "systemd":
        return PrintedSchedule(method=method, files=systemd.units(manifest))
    try:
        return PrintedSchedule(method=method, files={"crontab": crontab.block(manifest).decode()})
    except UnicodeDecodeError:
        raise OperationError(
            "the path is not UTF-8, so its lines of a crontab cannot be printed",
            where=str(manifest.project),
            hint=toombos(manifest.project, "schedule", "install", "--method", "cron").command,
        ) from None


def run_install(manifest: Manifest, method: Method | None) -> ScheduleReport:
    """Install the jobs; a repeated call updates the installation.

    Raise ConfigurationError if there are no jobs, RefusedError for a project that they would refuse, OperationError.
    """
    _refuse_project_of_caller(manifest.project)
    if not manifest.schedule:
        raise ConfigurationError(
            "the manifest describes no jobs",
            where=str(manifest.source.path) if manifest.source.path else None,
            hint='add [schedule.NAME] tables, or start toombos.toml with: extends = "monitoring"',
        )
    installation = read_installation(manifest.project)
    method = method or choose_method()
    if installation is not None and installation.method != method:
        _remove(manifest, installation.method)
    if method == "systemd":
        changed = f"{len(systemd.install(manifest))} units in {systemd.unit_directory()}"
        if not systemd.lingers():
            changed += "; they run while you are logged in; to have them run always: loginctl enable-linger"
    else:
        crontab.write_crontab(crontab.with_block(crontab.read_crontab(), manifest.project, crontab.block(manifest)))
        changed = "a block in the crontab of this user"
    if installation is None or installation.method != method:
        write_installation(manifest.project, Installation(method=method, installed_at=time.time()))
    return run_show(manifest, changed=f"installed: {changed}")


def _refuse_project_of_caller(project: Path) -> None:
    """Raise RefusedError for a project that this user believes only under sudo: cron and systemd do not know of it."""
    if project.stat().st_uid not in (os.geteuid(), 0) and not is_noted(project):
        raise RefusedError(
            "root's jobs would refuse this project, because it belongs to the user who called sudo",
            where=str(project),
            hint=f"sudo {here('config', 'trust', str(project))}",
        )


def run_remove(manifest: Manifest) -> ScheduleReport:
    """Remove the jobs from systemd and cron, wherever they are installed. Raise OperationError."""
    removed = [text for method in ("systemd", "cron") if (text := _remove(manifest, method))]
    write_installation(manifest.project, None)
    return run_show(manifest, changed=f"removed: {', '.join(removed)}" if removed else "nothing was installed")


def _remove(manifest: Manifest, method: str) -> str:
    """Remove the jobs from one of the two. Return a description of what was removed, "" if nothing was there."""
    if method == "systemd":
        names = systemd.remove(manifest.project)
        return f"{len(names)} units" if names else ""
    if find_program("crontab") is None:
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
        next_due_at=_local(next_due(job, datetime.now())) if job.enabled and not job.at_boot else None,  # noqa: DTZ005  (local, as cron)
        missed=missed,
        broken_off=is_broken_off(project, name),
    )


def _when(job: Job) -> str:
    if job.at_boot:
        return "at boot"
    if job.every_minutes is not None:
        return f"every {job.every_minutes} minutes" if job.every_minutes > 1 else "every minute"
    return f"{job.weekday} {job.at}" if job.weekday else f"daily {job.at}"


def _local(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")

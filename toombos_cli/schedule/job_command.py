"""The command line that cron or systemd runs for a job."""

import os
from pathlib import Path

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.manifest.tables.schedule import Job
from toombos_cli.project.commands import own_argv


def job_argv(project: Path, job: str) -> tuple[str, ...]:
    """Return the program and its arguments. Raise ConfigurationError if cron and systemd cannot express the path."""
    if any(ord(c) < 32 for c in str(project)):
        raise ConfigurationError("the project's path contains a control character", where=repr(str(project)))
    return own_argv(project, "schedule", "run", job)


def job_path(job: Job) -> str:
    """Return the PATH for a job that starts services: that of this process, as cron and systemd have a short one.

    Return "" for other jobs.
    """
    return os.environ.get("PATH", "") if job.command[0] == "start" else ""

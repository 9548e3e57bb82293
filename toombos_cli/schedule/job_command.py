"""The command line that cron or systemd runs for a job."""

from pathlib import Path

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.project.commands import own_argv


def job_argv(project: Path, job: str) -> tuple[str, ...]:
    """Return the program and its arguments. Raise ConfigurationError if cron and systemd cannot express the path."""
    if any(ord(c) < 32 for c in str(project)):
        raise ConfigurationError("the project's path contains a control character", where=repr(str(project)))
    return own_argv(project, "schedule", "run", job)

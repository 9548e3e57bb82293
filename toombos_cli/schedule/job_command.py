"""The command line that cron or systemd runs for a job."""

from pathlib import Path

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.project.commands import own_argv


def job_argv(project: Path, job: str) -> tuple[str, ...]:
    """The program and its arguments. Raises ConfigurationError for a project path that neither could be told."""
    if any(ord(c) < 32 for c in str(project)):
        raise ConfigurationError("the project's path has a control character in it", where=repr(str(project)))
    return own_argv(project, "schedule", "run", job)

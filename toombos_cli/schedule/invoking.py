"""The command line that cron or systemd runs for a job."""

import sys
from pathlib import Path

from toombos_cli.errors import ConfigurationError


def job_argv(project: Path, job: str) -> tuple[str, ...]:
    """The program and its arguments, all absolute: neither cron nor systemd has this shell's PATH.

    Raises ConfigurationError for a project path that neither could be told.
    """
    if any(ord(c) < 32 for c in str(project)):
        raise ConfigurationError("the project's path has a control character in it", where=repr(str(project)))
    return (sys.executable, "-P", "-m", "toombos_cli", "--project", str(project), "schedule", "run", job)

"""Where `toombos` begins: the command line, and for `start` its supervisor beside it.

A supervisor needs a tenth of a second to load, and so does the command line: they do it at the same time. One that
was launched in vain (for another project, or the command line is wrong) has touched nothing, and ends.
"""

import os
import sys
from pathlib import Path

from toombos_cli.manifest.project import find_project
from toombos_cli.supervisor.launching import launch_ahead

_STARTS_NOTHING = frozenset({"--help", "-h", "--version", "--plan", "--foreground"})


def run() -> None:
    """Entry point of the console script."""
    project = project_to_start(sys.argv[1:])
    if project is not None:
        launch_ahead(project)
    from toombos_cli.main import run as run_command_line

    run_command_line()


def project_to_start(argv: list[str]) -> Path | None:
    """The project for which this command line begins a supervisor, as far as a glance tells; None for all others."""
    command = next((word for word in argv if not word.startswith("-")), None)
    if command != "start" or _STARTS_NOTHING.intersection(argv):
        return None
    if os.environ.get("TOOMBOS_PROJECT") or any(word.startswith("--project") for word in argv):
        return None
    try:
        return find_project(Path.cwd())
    except OSError:
        return None

"""`toombos status --short` for shell prompts and monitors, without Typer and rich, whose imports take the most time."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from toombos_cli.base.text import printable

if TYPE_CHECKING:
    from toombos_cli.supervisor.reports import SystemReport


def answer_prompt(argv: list[str]) -> int | None:
    """Print the line of exactly `status --short` and return the exit code.

    Return None if the ordinary command is to do it: for any other command line, and to report an error. Outside a
    project, print nothing and return 1.
    """
    if argv != ["status", "--short"] or not os.environ.keys().isdisjoint(("TOOMBOS_PROJECT", "TOOMBOS_JSON")):
        return None
    try:
        return _answer()
    except KeyboardInterrupt:
        return 130
    except Exception:  # whatever it is: the ordinary command meets it again, and knows how to say it
        return None


def _answer() -> int:
    from toombos_cli.manifest.model import DRY_RUN
    from toombos_cli.manifest.reading.loader import load_manifest
    from toombos_cli.project.find import find_project, is_project, refuse_untrusted
    from toombos_cli.supervisor.operations import run_status

    project = find_project(Path.cwd())
    if not is_project(project):
        return 1
    refuse_untrusted(project)
    manifest = load_manifest(project)
    report = run_status(project, manifest.services, (), knows_dry_run=DRY_RUN in manifest.modes, reads_logs=False)
    print_line(report)
    return report.exit_code()


def print_line(report: "SystemReport") -> None:
    """Print the line of a report. It begins with a number, a word of ours or the name of a service."""
    sys.stdout.write(printable(report.short) + "\n")

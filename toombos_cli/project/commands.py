"""The command lines of toombos itself: those it runs as separate processes, and those that a person pastes."""

import sys
from dataclasses import replace
from pathlib import Path

from toombos_cli.base.fixes import Fix, command, toombos
from toombos_cli.base.quoting import joined
from toombos_cli.manifest.model import Manifest
from toombos_cli.project.mode import Ran, start_words
from toombos_cli.project.state import read_state


def own_argv(project: Path, *arguments: str) -> tuple[str, ...]:
    """Return the program and its arguments, absolute, so that they work without PATH and from any directory."""
    return (sys.executable, "-P", "-m", "toombos_cli", "--project", str(project), *arguments)


def start(manifest: Manifest, *services: str, last: Ran | None) -> Fix:
    """Return the command that starts the services, or all, in the mode of `last`, or dry if it never ran and can."""
    begin = toombos(manifest.project, *start_words(manifest, last, *services))
    return replace(begin, undo=toombos(manifest.project, "stop", *services).command)


def start_as_before(manifest: Manifest, *services: str) -> Fix:
    """Return the command that starts the services, or all, in the last mode according to `run/state.json`."""
    return start(manifest, *services, last=read_state(manifest.project))


def logs(manifest: Manifest, service: str, *options: str) -> Fix:
    """Return the command that shows a service's log."""
    return toombos(manifest.project, "logs", service, *options)


def wake(*pids: int) -> Fix:
    """Return the command that resumes processes that a signal suspended."""
    words = tuple(map(str, pids))
    return command("kill", "-CONT", *words, safe=True, undo=joined(("kill", "-STOP", *words)))

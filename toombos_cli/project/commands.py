"""The command lines of toombos itself: those that run as processes of their own, and those that a person pastes."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path

from toombos_cli.base.fixes import Fix, command, toombos
from toombos_cli.manifest.model import Manifest
from toombos_cli.project.mode import Ran, start_words
from toombos_cli.project.state import read_state


def own_argv(project: Path, *arguments: str) -> tuple[str, ...]:
    """The program and its arguments, absolute: it finds itself without PATH, from any directory."""
    return (sys.executable, "-P", "-m", "toombos_cli", "--project", str(project), *arguments)


def start(manifest: Manifest, *services: str, last: Ran | None) -> Fix:
    """Return the command that starts services, or all, in the mode of `last`; dry if the system never ran and can."""
    begin = toombos(manifest.project, *start_words(manifest, last, *services))
    return replace(begin, undo=toombos(manifest.project, "stop", *services).command)


def start_as_before(manifest: Manifest, *services: str) -> Fix:
    """Return the command that starts services, or all, as `run/state.json` says that the system was run last."""
    return start(manifest, *services, last=read_state(manifest.project))


def logs(manifest: Manifest, service: str, *options: str) -> Fix:
    """The command that shows a service's log."""
    return toombos(manifest.project, "logs", service, *options)


def wake(*pids: int) -> Fix:
    """The command that lets processes go on that a signal suspended."""
    words = tuple(map(str, pids))
    return command("kill", "-CONT", *words, safe=True, undo=shlex.join(("kill", "-STOP", *words)))

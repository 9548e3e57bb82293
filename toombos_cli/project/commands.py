"""The command lines of toombos itself: those that run as processes of their own, and those that a person pastes."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path

from toombos_cli.base.fixes import Fix, command, toombos
from toombos_cli.manifest.model import DRY_RUN, Manifest
from toombos_cli.project.state import SystemState, read_state


def own_argv(project: Path, *arguments: str) -> tuple[str, ...]:
    """The program and its arguments, absolute: it finds itself without PATH, from any directory."""
    return (sys.executable, "-P", "-m", "toombos_cli", "--project", str(project), *arguments)


def start(manifest: Manifest, *services: str, ran_dry: bool | None) -> Fix:
    """The command that starts these services, or all, in the mode in which the system was started last.

    `ran_dry` says whether that was `--dry-run`. A system that never ran (None) is started in dry-run mode if its
    manifest has one.
    """
    dry_run = DRY_RUN in manifest.modes if ran_dry is None else ran_dry
    begin = toombos(manifest.project, "start", *(["--dry-run"] if dry_run else []), *services)
    return replace(begin, undo=toombos(manifest.project, "stop", *services).command)


def ran_dry(state: SystemState | None) -> bool | None:
    """Whether the system was started with `--dry-run` last; None if it never ran."""
    return None if state is None else state.mode == DRY_RUN


def start_as_before(manifest: Manifest, *services: str) -> Fix:
    """The command that starts these services, or all, as `run/state.json` says that the system was run last."""
    return start(manifest, *services, ran_dry=ran_dry(read_state(manifest.project)))


def logs(manifest: Manifest, service: str, *options: str) -> Fix:
    """The command that shows a service's log."""
    return toombos(manifest.project, "logs", service, *options)


def wake(*pids: int) -> Fix:
    """The command that lets processes go on that a signal suspended."""
    words = tuple(map(str, pids))
    return command("kill", "-CONT", *words, safe=True, undo=shlex.join(("kill", "-STOP", *words)))

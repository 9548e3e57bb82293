"""What runs now, according to the supervisor or without one, and the mode that a start has to join."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from toombos_cli.base.errors import RefusedError
from toombos_cli.base.fixes import here
from toombos_cli.manifest.model import DRY_RUN, Manifest
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.mode import mode_words
from toombos_cli.project.own_processes import unsupervised_state
from toombos_cli.project.state import SystemState
from toombos_cli.supervisor import client
from toombos_cli.supervisor.protocol import StatusRequest


def present_state(project: Path, services: Mapping[str, Service]) -> SystemState | None:
    """Return the current state, or None if nothing is recorded and nothing runs. Raises OperationError.

    `services` describe what runs although no state can be read.
    """
    done = client.ask_running(project, StatusRequest())
    state = done.state if done else unsupervised_state(project, services)
    return state if state is None or state.is_recorded else _with_reported_mode(state)


def _with_reported_mode(state: SystemState) -> SystemState:
    """Return a state that nobody recorded, with what its services report of the dry run."""
    from toombos_cli.probes import probe_health, said_dry_run  # only if the state is lost

    services = {
        name: msgspec.structs.replace(entry, says_dry_run=said_dry_run(probe_health(entry.service).body))
        for name, entry in state.services.items()
        if entry.service.health_path
    }
    said = {entry.says_dry_run for entry in services.values()}
    dry_run = True in said and False not in said
    return msgspec.structs.replace(state, services=state.services | services, dry_run=dry_run)


def mode_to_keep(manifest: Manifest, before: SystemState | None) -> str | None:
    """Return the mode in which the system was last started, or, if nothing records it, the one that it reports."""
    if before is None or before.is_recorded:
        return before.mode if before else None
    return mode_to_join(manifest, before, None)


def mode_to_join(manifest: Manifest, before: SystemState | None, asked: str | None) -> str | None:
    """Return the mode for a start: that of the running system, else the one asked for.

    Raises RefusedError if the two differ.
    """
    running = [name for name, s in before.services.items() if s.pid] if before else []
    if before is None or not running:
        return asked
    mode = before.mode
    if not before.is_recorded:
        if all(before.services[name].says_dry_run is None for name in running):
            return asked  # nothing reports its mode
        mode = DRY_RUN if before.dry_run and DRY_RUN in manifest.modes else None
    if asked in (None, mode):
        return mode
    if asked == DRY_RUN and before.dry_run:  # by `.env` or the environment
        return asked
    present = f"mode {mode}" if mode else "live mode"
    raise RefusedError(
        f"{', '.join(running)} runs in {present}, and a start in mode {asked} would join it",
        hint=f"{here('stop')} && {here('start', *mode_words(asked))}",
    )


def other_spellings(manifest: Manifest) -> tuple[str, ...]:
    """Return a warning for each variable that a service may take for a documented one."""
    from toombos_cli.settings.env_files import read_env_files  # `status` does without
    from toombos_cli.settings.spellings import find_other_spellings

    return tuple(other.warning for other in find_other_spellings(manifest, read_env_files(manifest)))

"""Stops a service while a backup reads its data, and starts it again with everything that was stopped with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from toombos_cli.base.errors import OperationError
from toombos_cli.base.fixes import here
from toombos_cli.manifest.model import Manifest

if TYPE_CHECKING:
    from toombos_cli.backup.living.saving import Pause
    from toombos_cli.project.state import SystemState


def pauses(manifest: Manifest) -> "Pause":
    """Return what stops a service of this manifest for a block."""
    return partial(_stopped, manifest)


@contextmanager
def _stopped(manifest: Manifest, name: str) -> Iterator[None]:
    from toombos_cli.project.mode import mode_to_restore
    from toombos_cli.supervisor.operations import run_start, run_stop
    from toombos_cli.supervisor.running_system import present_state

    before = present_state(manifest.project, manifest.services)
    try:
        done = run_stop(manifest.project, manifest.services, (name,), manifest=manifest)
        if done.failures:
            raise OperationError(f"{name} could not be stopped: {done.failures[0].message}", hint=here("status"))
        yield
    finally:
        now = _running(present_state(manifest.project, manifest.services))
        stopped = tuple(one for one in manifest.services if one in _running(before) - now)
        if stopped:
            mode = mode_to_restore(manifest, before) if before else None
            report = run_start(manifest, stopped, mode=mode)
            if report.failures:
                first = report.failures[0]
                raise OperationError(f"{first.service} did not start again: {first.message}", hint=here("start"))


def _running(state: "SystemState | None") -> set[str]:
    return {name for name, service in state.services.items() if service.pid} if state else set()

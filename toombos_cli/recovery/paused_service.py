"""Stops a service while a backup reads its data, and starts it again with everything that was stopped with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from toombos_cli.base.errors import OperationError
from toombos_cli.base.fixes import here
from toombos_cli.manifest.model import Manifest
from toombos_cli.project.interruption import forget_stopped, load_interruption, record_stopped

if TYPE_CHECKING:
    from toombos_cli.project.state import SystemState


class Pauses:
    """Stops the services of a manifest for a block each. A killed backup leaves them to `resume`."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest, self._project = manifest, manifest.project

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Stop a service for the block. Raise OperationError if it does not stop, or does not start again."""
        from toombos_cli.project.mode import mode_name
        from toombos_cli.supervisor.operations import run_stop

        before = self._present_state()
        mode = mode_name(before) if before else None
        record_stopped(self._project, "backup", (name,), mode)
        try:
            done = run_stop(self._project, self._manifest.services, (name,), manifest=self._manifest)
            if done.failures:
                raise OperationError(f"{name} could not be stopped: {done.failures[0].message}", hint=here("status"))
            yield
        finally:
            now = _running(self._present_state())
            self._start((name, *(one for one in _running(before) if one not in now)), mode)

    def resume(self) -> tuple[str, ...]:
        """Start the services that a killed backup or restore had stopped, and return them. Raise OperationError."""
        left = load_interruption(self._project)
        return self._start(left.stopped, left.mode) if left.stopped else ()

    def _start(self, names: tuple[str, ...], mode: str | None) -> tuple[str, ...]:
        """Start the services, also those that are still being stopped; return those that were not running."""
        from toombos_cli.supervisor.operations import run_start

        known = tuple(name for name in self._manifest.services if name in names)
        if not known:  # run_start would take it for all services
            forget_stopped(self._project)
            return ()
        report = run_start(self._manifest, known, mode=mode if mode in self._manifest.modes else None)
        if report.failures:
            first = report.failures[0]
            raise OperationError(f"{first.service} did not start again: {first.message}", hint=here("start", *known))
        forget_stopped(self._project)
        return tuple(name for name in known if name in report.started)

    def _present_state(self) -> "SystemState | None":
        from toombos_cli.supervisor.running_system import present_state

        return present_state(self._project, self._manifest.services)


def _running(state: "SystemState | None") -> tuple[str, ...]:
    return tuple(name for name, service in state.services.items() if service.pid) if state else ()

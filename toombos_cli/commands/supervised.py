"""Binds a restore's stopping and starting of services to the supervisor."""

from toombos_cli.commands.invocation import Invocation
from toombos_cli.errors import ConfigurationError, OperationError


class SupervisedServices:
    """Stops what runs and starts it again in the mode that it ran in."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._dry_run = False

    def stop(self) -> tuple[str, ...]:
        """The names of what ran. Raises OperationError when something does not stop."""
        from toombos_cli.supervisor.operations import present_state, run_stop

        state = present_state(self._invocation.project)
        running = tuple(name for name, s in state.services.items() if s.pid) if state else ()
        if not running or state is None:
            return ()
        self._dry_run = state.dry_run
        try:
            services = self._invocation.manifest.services
        except ConfigurationError:  # a broken manifest is a reason to restore, and no reason to leave services running
            services = {name: s.service for name, s in state.services.items()}
        report = run_stop(self._invocation.project, services, ())
        if report.failures:
            raise OperationError(
                f"the services could not be stopped: {report.failures[0].message}", hint="toombos status"
            )
        return running

    def start(self, names: tuple[str, ...]) -> None:
        """Returns when all are ready. Raises OperationError with the first service's cause."""
        from toombos_cli.manifest.loader import load_manifest
        from toombos_cli.supervisor.operations import run_start

        manifest = load_manifest(self._invocation.project)  # as restored, not as it was read before
        known = tuple(name for name in names if name in manifest.services)
        report = run_start(manifest, known, dry_run=self._dry_run)
        if report.failures:
            failure = report.failures[0]
            raise OperationError(f"{failure.service}: {failure.message}", hint=failure.hint)

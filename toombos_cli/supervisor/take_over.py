"""`start --adopt`: puts a new supervisor in the place of one that has died; in all other cases it does nothing."""

from toombos_cli import processes
from toombos_cli.manifest.model import Manifest
from toombos_cli.project.state import RUNNING, SystemState, read_state
from toombos_cli.supervisor import client
from toombos_cli.supervisor.operations import OnProgress, run_start
from toombos_cli.supervisor.protocol import StatusRequest
from toombos_cli.supervisor.reports import ChangeReport, SupervisorRow


def run_take_over(
    manifest: Manifest, *, timeout_s: float | None = None, on_progress: OnProgress | None = None
) -> ChangeReport:
    """Take over what a dead supervisor has left running, and start again what has ended since, in the same mode.

    A supervisor that has left in order, because everything was stopped or had failed, has not died. Raises as
    `run_start`, and OperationError if a supervisor runs and does not respond.
    """
    done = client.ask_running(manifest.project, StatusRequest())
    state = read_state(manifest.project)
    lost = () if done is not None or state is None else _watched(manifest, state)
    if state is None or not lost:
        pid = done.state.supervisor_pid if done else None
        return ChangeReport(
            services=(),
            dry_run=False,
            supervisor=SupervisorRow(pid=pid, alive=done is not None),
            notes=("nothing to do: no supervisor has died",),
        )
    return run_start(manifest, lost, mode=state.mode, timeout_s=timeout_s, on_progress=on_progress)


def _watched(manifest: Manifest, state: SystemState) -> tuple[str, ...]:
    """Return the services that the supervisor which wrote the state watched, if it was one of this boot."""
    if (state.boot_id, state.pid_namespace) != (processes.boot_id(), processes.pid_namespace()):
        return ()
    return tuple(
        name
        for name, entry in state.services.items()
        if entry.desired and entry.phase in RUNNING and name in manifest.services
    )

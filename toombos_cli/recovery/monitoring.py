"""Starts monitoring: the monitoring feature writes its files, the supervisor runs its processes."""

from toombos_cli.manifest.model import Manifest
from toombos_cli.monitoring.operations import prepare, reload_outdated, run_status, start_containers
from toombos_cli.monitoring.reports import MonitoringReport
from toombos_cli.supervisor.operations import OnProgress, run_start


def bring_up_monitoring(
    manifest: Manifest, *, timeout_s: float | None = None, on_progress: OnProgress | None = None
) -> MonitoringReport:
    """Write the configuration, start what is installed, wait until it responds, and return its status.

    Programs that already run with an older configuration reload it. Raises OperationError, ConfigurationError.
    """
    prepared = prepare(manifest)
    reload_outdated(prepared)
    start_containers(prepared)
    names = prepared.backend.supervised
    if not names:  # no names would mean every service
        return run_status(manifest, prepared=prepared)
    change = run_start(manifest, names, timeout_s=timeout_s, on_progress=on_progress)
    return run_status(manifest, prepared=prepared, problems=change.problems)

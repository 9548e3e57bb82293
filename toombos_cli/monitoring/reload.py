"""Makes Prometheus or Alertmanager read its files again: SIGHUP to the process that the supervisor started."""

import signal
import time
from pathlib import Path

from toombos_cli import processes
from toombos_cli.base.errors import OperationError
from toombos_cli.base.fixes import here
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes import endpoint_of, probe_http
from toombos_cli.project.own_processes import leaders
from toombos_cli.project.state import read_state

RELOADABLE = ("prometheus", "alertmanager")
_FILES = {"prometheus": ("prometheus.yml", "rules.yml"), "alertmanager": ("alertmanager.yml",)}
_TIMEOUT_S, _SECOND_TIMEOUT_S = 20.0, 5.0
_POLL_S = 0.05


def hang_up(project: Path, name: str) -> None:
    """Send SIGHUP to the service's process, after proving that it is ours. Raise OperationError."""
    pid = leaders(project, read_state(project)).get(name)
    identity = processes.identify(pid) if pid else None
    if identity is None or not processes.send_signal(identity, signal.SIGHUP):
        raise OperationError(f"{name} responds, but was not started by toombos", hint=here("monitoring", "up"))


class Reload:
    """One reload, verified by the service's own metrics. Create it before sending the signal."""

    def __init__(self, service: Service, directory: Path) -> None:
        self._service = service
        self._directory = directory
        self._began_at = time.time()
        self._was_refused = _gauges(service).get("successful") == 0

    def wait(self) -> None:
        """Return once the metrics report a successful reload.

        Raise OperationError if they report a failed one, or none in time. After an earlier failure a new failure looks
        the same as the old one, so only the timeout detects it.
        """
        deadline = time.monotonic() + (_SECOND_TIMEOUT_S if self._was_refused else _TIMEOUT_S)
        while time.monotonic() < deadline:
            values = _gauges(self._service)
            # Alertmanager counts whole seconds.
            if values.get("success_timestamp_seconds", 0.0) >= self._began_at - 1 and values.get("successful") == 1:
                return
            if values.get("successful") == 0 and not self._was_refused:
                break
            time.sleep(_POLL_S)
        raise OperationError(
            f"{self._service.name} keeps its old configuration",
            where=str(self._directory),
            hint=here("monitoring", "logs", self._service.name),
        )


def is_outdated(service: Service, directory: Path) -> bool:
    """Return whether the service has refused its files, or has not read them since they were written."""
    values = _gauges(service)
    files = _FILES[service.name]
    written_at = max((path.stat().st_mtime for path in map(directory.joinpath, files) if path.exists()), default=0.0)
    read_at = values.get("success_timestamp_seconds", 0.0)
    return values.get("successful") == 0 or read_at + 1 < written_at  # Alertmanager counts whole seconds


def _gauges(service: Service) -> dict[str, float]:
    """Return the metrics about the last reload, by the end of their names; empty if the service does not respond."""
    from prometheus_client.parser import text_string_to_metric_families

    prefix = f"{service.name}_config_last_reload_"
    url = f"{service.url}{service.metrics}"
    response = probe_http(url, max_body_bytes=4 * 1024 * 1024, endpoint=endpoint_of(service))
    lines = [line for line in response.body.decode("utf-8", "replace").splitlines() if line.startswith(prefix)]
    families = text_string_to_metric_families("\n".join([*lines, ""]))
    return {sample.name.removeprefix(prefix): sample.value for family in families for sample in family.samples}

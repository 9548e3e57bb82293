"""Has Prometheus or Alertmanager read its files again, by SIGHUP to the very process that the supervisor started."""

import signal
import time
from pathlib import Path

from toombos_cli import processes
from toombos_cli.errors import OperationError
from toombos_cli.manifest.service import Service
from toombos_cli.probes import probe_http
from toombos_cli.run_state import read_state

RELOADABLE = ("prometheus", "alertmanager")
_TIMEOUT_S = 20.0
_POLL_S = 0.05


def hang_up(project: Path, name: str) -> None:
    """Sends SIGHUP to the service's process, after proving that it is that process. Raises OperationError."""
    state = read_state(project)
    entry = state.services.get(name) if state else None
    identity = state.identity_of(entry) if state and entry and entry.pid else None
    if identity is None or not processes.is_alive(identity) or not processes.send_signal(identity, signal.SIGHUP):
        raise OperationError(f"{name} answers, but was not started by toombos", hint="toombos monitoring up")


def wait_for_reload(service: Service, directory: Path, *, since: float) -> None:
    """Returns when the service's metrics tell of a successful reload after `since` (seconds since the epoch).

    Raises OperationError when they tell of a failed one, or of none in time.
    """
    prefix = f"{service.name}_config_last_reload"
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        values = _gauges(service, prefix)
        if values.get(f"{prefix}_success_timestamp_seconds", 0.0) >= since - 1:  # Alertmanager counts whole seconds
            return
        if values.get(f"{prefix}_successful") == 0:
            break
        time.sleep(_POLL_S)
    raise OperationError(
        f"{service.name} goes on with its old configuration",
        where=str(directory),
        hint=f"toombos monitoring logs {service.name}",
    )


def _gauges(service: Service, prefix: str) -> dict[str, float]:
    from prometheus_client.parser import text_string_to_metric_families

    answer = probe_http(f"{service.url}{service.metrics}", max_body_bytes=4 * 1024 * 1024)
    lines = [line for line in answer.body.decode("utf-8", "replace").splitlines() if line.startswith(prefix)]
    families = text_string_to_metric_families("\n".join([*lines, ""]))
    return {sample.name: sample.value for family in families for sample in family.samples}

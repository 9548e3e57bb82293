"""Up, status and reload of monitoring. The caller starts and stops the supervised processes."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from toombos_cli.base.errors import OperationError, Problem
from toombos_cli.base.fixes import here
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import Service
from toombos_cli.monitoring import backends, compose, grafana
from toombos_cli.monitoring.backends import Backend, BackendKind
from toombos_cli.monitoring.files import directory_of, without, write_files
from toombos_cli.monitoring.reload import RELOADABLE, Reload, hang_up, is_outdated
from toombos_cli.monitoring.reports import MonitoringReport, MonitoringRow, ReloadReport
from toombos_cli.probes import ProbeResult, is_ready
from toombos_cli.project.own_processes import leaders
from toombos_cli.project.service_probe import ask_service
from toombos_cli.project.state import read_state

_READY_TIMEOUT_S = 60.0
_POLL_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The result of writing the files; `manifest` lacks the services that cannot run here."""

    backend: Backend
    manifest: Manifest
    changed: tuple[str, ...]


def prepare(manifest: Manifest) -> Prepared:
    """Choose how to run and write the files. Raise OperationError, ConfigurationError."""
    backend = backends.choose_backend(manifest)
    reduced = without(manifest, frozenset(item.service for item in backend.missing))
    changed = tuple(str(path) for path in write_files(reduced))
    backends.remember(manifest.project, backend.kind)
    return Prepared(backend=backend, manifest=reduced, changed=changed)


def start_containers(prepared: Prepared) -> None:
    """Start the containers and wait until they respond. Raise OperationError."""
    if not prepared.backend.contained:
        return
    backends.compose(prepared.manifest.project, "up", "--detach", "--remove-orphans")
    deadline = time.monotonic() + _READY_TIMEOUT_S
    for name in prepared.backend.contained:
        service = prepared.manifest.services[name]
        while not _is_up(response := ask_service(prepared.manifest, service, "ready")):
            if time.monotonic() > deadline:
                raise OperationError(
                    f"{name} is not ready: {response.detail}", where=service.url, hint=here("monitoring", "logs")
                )
            time.sleep(_POLL_S)


def stop_containers(manifest: Manifest) -> None:
    """Remove the containers if the last `up` started some. Raise OperationError."""
    if backends.remembered(manifest.project) is BackendKind.COMPOSE:
        backends.compose(manifest.project, "down", "--remove-orphans")


def container_logs(manifest: Manifest, names: tuple[str, ...], lines: int) -> tuple[tuple[str, str], ...] | None:
    """Return the last lines of the containers (no names: of all), each with its service; None if there are none.

    Raise OperationError.
    """
    if backends.remembered(manifest.project) is not BackendKind.COMPOSE:
        return None
    printed = backends.compose(manifest.project, "logs", "--no-color", "--tail", str(lines), *names)
    return tuple(_parted(line) for line in printed.splitlines())


def followed_container_logs(manifest: Manifest, names: tuple[str, ...], lines: int) -> Iterator[tuple[str, str]] | None:
    """Return what `container_logs` returns, then each new line as it is written."""
    if backends.remembered(manifest.project) is not BackendKind.COMPOSE:
        return None
    arguments = ("logs", "--no-color", "--follow", "--tail", str(lines), *names)
    return (_parted(line) for line in backends.compose_lines(manifest.project, *arguments))


def _parted(line: str) -> tuple[str, str]:
    """Split a line into service and text; docker writes `prometheus-1  | text`."""
    name, _, text = line.partition("|")
    return name.strip().rpartition("-")[0], text.removeprefix(" ")


def run_status(
    manifest: Manifest,
    *,
    prepared: Prepared | None = None,
    wanted: bool = True,
    problems: tuple[Problem, ...] = (),
) -> MonitoringReport:
    """Probe every monitoring service of the manifest; one that cannot run here is `missing`, with the remedy."""
    kind = prepared.backend.kind if prepared else backends.remembered(manifest.project)
    missing = {item.service: item for item in backends.missing_natively(manifest)} if kind is BackendKind.NATIVE else {}
    contained = compose.IMAGES if kind is BackendKind.COMPOSE else {}
    pids = _pids(manifest)
    rows = []
    for service in backends.monitoring_services(manifest):
        response = ask_service(manifest, service, "ready")
        pid = pids.get(service.name)
        foreign = _is_up(response) and pid is None and service.name not in contained
        up = _is_up(response) and not foreign
        lacking = None if up else missing.get(service.name)
        detail = "another program responds there: toombos did not start it" if foreign else response.detail
        rows.append(
            MonitoringRow(
                name=service.name,
                state="up" if up else "missing" if lacking else "down",
                url=service.url,
                pid=pid,
                detail=lacking.reason if lacking else detail,
                hint=lacking.hint if lacking else None if up else here("monitoring", "restart" if pid else "up"),
            )
        )
    password = grafana.password_file(manifest.project)
    return MonitoringReport(
        backend=kind.value,
        reason=prepared.backend.reason if prepared else "",
        services=tuple(rows),
        changed_files=prepared.changed if prepared else (),
        password_file=str(password) if password.is_file() and "grafana" not in missing else None,
        wanted=wanted,
        problems=problems,
    )


def run_reload(manifest: Manifest) -> ReloadReport:
    """Write the files again and make Prometheus and Alertmanager read them, verified by their own metrics.

    Raise OperationError if neither runs, or if one keeps its old configuration.
    """
    reduced = as_run(manifest)
    changed = tuple(str(path) for path in write_files(reduced))
    running = tuple(
        reduced.services[name]
        for name in RELOADABLE
        if name in reduced.services and _is_up(ask_service(reduced, reduced.services[name], "ready"))
    )
    if not running:
        raise OperationError("monitoring is not running", hint=here("monitoring", "up"))
    reload_services(reduced, running)
    return ReloadReport(changed_files=changed, reloaded=tuple(service.name for service in running))


def reload_outdated(prepared: Prepared) -> None:
    """Reload each service that runs with older files, including files that an earlier command left unread.

    Raise OperationError.
    """
    directory = directory_of(prepared.manifest.project)
    services = (prepared.manifest.services.get(name) for name in RELOADABLE)
    pids, contained = (
        _pids(prepared.manifest),
        prepared.backend.contained,
    )  # another program on the port is reported by the start
    ours = (s for s in services if s is not None and (s.name in pids or s.name in contained))
    running = (s for s in ours if _is_up(ask_service(prepared.manifest, s, "ready")))
    reload_services(prepared.manifest, tuple(s for s in running if is_outdated(s, directory)))


def reload_services(manifest: Manifest, services: tuple[Service, ...]) -> None:
    """Send each service its signal and wait until it reports the new files as loaded. Raise OperationError."""
    contained = backends.remembered(manifest.project) is BackendKind.COMPOSE
    for service in services:
        reload = Reload(service, directory_of(manifest.project))
        if contained:
            backends.compose(manifest.project, "kill", "--signal", "HUP", service.name)
        else:
            hang_up(manifest.project, service.name)
        reload.wait()


def as_run(manifest: Manifest) -> Manifest:
    """Return the manifest without the monitoring services that cannot run the current way."""
    if manifest.place is not None or backends.remembered(manifest.project) is BackendKind.COMPOSE:
        return manifest
    return without(manifest, frozenset(item.service for item in backends.missing_natively(manifest)))


def _is_up(result: ProbeResult) -> bool:
    return is_ready(result.reason, result.cause)


def _pids(manifest: Manifest) -> dict[str, int]:
    return leaders(manifest.project, read_state(manifest.project))

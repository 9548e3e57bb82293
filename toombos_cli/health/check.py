"""Probes all services concurrently and judges each response together with the process that sent it."""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from threading import Thread

from toombos_cli import processes
from toombos_cli.base.errors import ToombosError, type_and_place
from toombos_cli.base.fixes import Fix, toombos
from toombos_cli.base.results import Verdict
from toombos_cli.health.report import HealthReport, ServiceHealth, ServiceStatus, SkippedService
from toombos_cli.manifest.model import DRY_RUN, Manifest
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes import Cause, HealthState, ProbeResult, Reason, health_state, health_verdict, said_dry_run
from toombos_cli.probes.health import NOTHING
from toombos_cli.project import commands
from toombos_cli.project.mode import RunningMode, running_mode
from toombos_cli.project.own_processes import last_state, leaders, observed
from toombos_cli.project.port_owner import PortOwner, find_owners, is_suspended, listens_elsewhere, wrong_owner
from toombos_cli.project.service_probe import ABSENT, probe_service, settings_of, why_left_out
from toombos_cli.project.state import SystemState

_COMPLAINTS = (Reason.STATUS, Reason.BODY, Reason.SLOW, Reason.COMMAND)
_SILENT = (Reason.TIMEOUT, Reason.STOPPED)


def run_health(manifest: Manifest, names: tuple[str, ...] = (), *, timeout_s: float | None = None) -> HealthReport:
    """Return the health of the named services, or of all. It takes as long as the slowest probe.

    An optional service counts if it is named, was started, or responds; otherwise it is skipped. `timeout_s` replaces
    every service's `probe_timeout_s`. Raise OperationError if this machine cannot probe.
    """
    services = {name: manifest.services[name] for name in names or manifest.services}
    checked_at = datetime.now(UTC)
    state = last_state(manifest.project, manifest.services)
    results, took_ms = _probe_all(manifest, services, timeout_s)
    owners = find_owners(manifest.project, services, state)
    mode = _mode(manifest, results, state)
    judged: list[ServiceHealth] = []
    skipped: list[SkippedService] = []
    for name, service in services.items():
        result = results[name]
        why_not = result.detail if result.reason is Reason.NOT_KNOWN else None
        if why_not is None and name not in names:
            why_not = why_left_out(service, result, state)
        if why_not is not None:
            skipped.append(SkippedService(name=name, url=result.url, detail=why_not))
        else:
            found = _judge(manifest, service, result, owners.get(name), state)
            found = replace(found, took_ms=round(took_ms[name], 3))
            judged.append(_not_dry(manifest, found) if name in mode.denied_by else found)
    if (
        manifest.place is None
        and not names
        and all((s.reason in ABSENT and s.pid is None) or s.status is ServiceStatus.DONE for s in judged)
    ):
        judged = [s if s.status is ServiceStatus.DONE else replace(s, fix=_start(manifest, state)) for s in judged]
    return HealthReport(
        services=_explained(judged, services),
        skipped=tuple(skipped),
        checked_at=checked_at,
        dry_run=mode.dry_run,
        mode=mode.name,
        mode_text=mode.text,
        place=manifest.source.place,
    )


def _mode(manifest: Manifest, results: Mapping[str, ProbeResult], state: SystemState | None) -> RunningMode:
    """Return the mode that the services report now."""
    if state is None or state.is_elsewhere:
        return RunningMode()
    said = {name: said_dry_run(r.body) for name, r in results.items() if r.http_status is not None}
    return running_mode(observed(manifest.project, state), said=said, knows_dry_run=DRY_RUN in manifest.modes)


def _not_dry(manifest: Manifest, service: ServiceHealth) -> ServiceHealth:
    """Return the service as failed: it was started in dry-run mode and says that it is not in it."""
    said = "it says that it is not in dry-run mode, but was started in it"
    if service.verdict is Verdict.FAIL:
        return replace(service, detail=f"{service.detail}; {said}" if service.detail else said)
    return replace(
        service,
        status=ServiceStatus.DEGRADED,
        verdict=Verdict.FAIL,
        reason=Reason.BODY,
        detail=said,
        fix=toombos(manifest.project, "stop", service.name),
    )


def _probe_all(
    manifest: Manifest, services: Mapping[str, Service], timeout_s: float | None
) -> tuple[dict[str, ProbeResult], dict[str, float]]:
    """Return each service's result and how long it took; one that cannot be made does not affect the others.

    Raise the error of this machine if it prevented every probe.
    """
    results: dict[str, ProbeResult] = {}
    took_ms: dict[str, float] = {}
    errors: list[ToombosError] = []
    settings = settings_of(manifest, services)

    def probe(service: Service) -> None:
        started = time.monotonic()
        try:
            results[service.name] = probe_service(
                service, manifest.project, setting=settings.get(service.name, NOTHING), timeout_s=timeout_s
            )
        except ToombosError as error:
            errors.append(error)
            results[service.name] = ProbeResult(url=service.place, reason=Reason.ERROR, detail=str(error))
        except Exception as error:  # a bug that one service's response reveals must not affect the others
            detail = f"it could not be probed: {type_and_place(error)}"
            results[service.name] = ProbeResult(url=service.place, reason=Reason.ERROR, detail=detail)
        took_ms[service.name] = (time.monotonic() - started) * 1000

    threads = [Thread(target=probe, args=(service,)) for service in services.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors and len(errors) == len(services):
        raise errors[0]
    return results, took_ms


def _judge(
    manifest: Manifest, service: Service, result: ProbeResult, owner: PortOwner | None, state: SystemState | None
) -> ServiceHealth:
    reason, detail = result.reason, result.detail
    if _has_no_route(result):
        detail = (
            f"HTTP 404: there is no {service.health_path}; `health` in [services.{service.name}] names another path"
        )
    if complaint := wrong_owner(service, owner, state):
        reason, detail = Reason.WRONG_OWNER, complaint
    elif owner is not None and _may_be_suspended(service, reason) and is_suspended(owner.pid):
        listens = "it listens but cannot respond" if service.listens else "it does nothing"
        reason, detail = Reason.STOPPED, f"pid {owner.pid} is suspended by a signal: {listens}"
    elif reason is Reason.OK and owner is not None and owner.ours is False and state is not None:
        detail = f"answered by {owner}" + ("" if owner.neighbour else ", which toombos did not start")
    elif reason is Reason.REFUSED:
        detail += _where_instead(manifest, service, owner, state)
    cause = result.cause if reason is result.reason else None  # the process table overrides the probe
    verdict = health_verdict(reason, cause)
    return ServiceHealth(
        name=service.name,
        url=result.url,
        status=_status(service, verdict, reason, cause, result.http_status),
        verdict=verdict,
        reason=reason,
        cause=cause,
        http_status=result.http_status,
        latency_ms=None if result.latency_ms is None else round(result.latency_ms, 3),
        pid=owner.pid if owner else None,
        detail=detail,
        note=result.note if reason is result.reason else "",
        address=result.address,
        listens_on=owner.listens_on if owner else None,
        fix=None if _has_no_route(result) else _fix(manifest, service, reason, owner, state),
    )


def _where_instead(manifest: Manifest, service: Service, owner: PortOwner | None, state: SystemState | None) -> str:
    """Return where the service's own processes listen instead, if they do, as the end of a detail."""
    leader = leaders(manifest.project, state).get(service.name) if state and service.listens else None
    if leader is not None:
        own = {leader, *processes.descendants([leader], processes.process_table())}
        if elsewhere := listens_elsewhere(service, own):
            return f"; {elsewhere}"
    return f"; {owner} listens on {owner.listens_on}" if owner is not None and owner.listens_on else ""


def _has_no_route(result: ProbeResult) -> bool:
    """Return whether the service lacks the manifest's health route: its log would not show that."""
    return result.http_status == 404


def _may_be_suspended(service: Service, reason: Reason) -> bool:
    """Return whether the process may be suspended: the kernel accepts connections for it, so only HTTP times out."""
    return reason is Reason.TIMEOUT or (service.scheme in ("tcp", "none") and reason is Reason.OK)


def _status(
    service: Service, verdict: Verdict, reason: Reason, cause: Cause | None, http_status: int | None
) -> ServiceStatus:
    """Return DEGRADED for a service whose response reports a problem, DOWN for one that does not work at all."""
    if verdict is Verdict.PASS:
        return ServiceStatus.DONE if service.is_task else ServiceStatus.UP
    if health_state(reason, cause) is HealthState.STARTING:
        return ServiceStatus.STARTING
    answers = reason is Reason.BODY and http_status is not None
    return ServiceStatus.DEGRADED if verdict is Verdict.WARN or answers else ServiceStatus.DOWN


def _fix(
    manifest: Manifest, service: Service, reason: Reason, owner: PortOwner | None, state: SystemState | None
) -> Fix | None:
    """Return a command to paste; None if only a person can decide (a foreign process, a wrong manifest, a place)."""
    if not service.is_here:
        return None
    if reason is Reason.STOPPED and owner is not None:
        return commands.wake(owner.pid) if owner.pid else None
    has_failed = state is not None and state.wants(service.name)
    if (reason is Reason.REFUSED or (reason is Reason.TASK and not has_failed)) and owner is None:
        return _start(manifest, state, service.name)
    if reason in (Reason.TIMEOUT, Reason.RESET, Reason.STATUS, Reason.BODY, Reason.COMMAND, Reason.TASK):
        return commands.logs(manifest, service.name)
    return None


def _start(manifest: Manifest, state: SystemState | None, *names: str) -> Fix:
    return commands.start(manifest, *names, last=state)


def _explained(judged: list[ServiceHealth], services: Mapping[str, Service]) -> tuple[ServiceHealth, ...]:
    """Return the services; one that reports a problem points to its dependency that is not well.

    One that does not respond may wait for a dependency that does not respond either, and one that does not run for a
    task that failed. An explained one needs no fix.
    """
    unwell = {s.name: s.reason for s in judged if s.verdict is Verdict.FAIL}

    def root(name: str, suspects: frozenset[str], seen: frozenset[str]) -> str | None:
        for dependency in services[name].depends_on if name in services else ():
            if dependency in seen:
                continue
            deeper = root(dependency, suspects, seen | {dependency})
            if deeper or dependency in suspects:
                return deeper or dependency
        return None

    silent = frozenset(name for name, reason in unwell.items() if reason in _SILENT)
    tasks = frozenset(name for name, reason in unwell.items() if reason is Reason.TASK)
    suspects = {Reason.TIMEOUT: silent, Reason.REFUSED: tasks} | dict.fromkeys(_COMPLAINTS, frozenset(unwell))
    return tuple(
        replace(s, explained_by=found, fix=None)
        if (found := root(s.name, suspects.get(s.reason, frozenset()), frozenset({s.name})))
        else s
        for s in judged
    )

"""Probes a service of a project: its process first if it has no address, and never with a secret for a stranger."""

from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from toombos_cli import processes
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.expectations import ProbeSetting
from toombos_cli.manifest.tables.service import Question, Service
from toombos_cli.probes import Cause, ProbeResult, Reason, probe_health
from toombos_cli.probes.health import NOTHING, sends_variables
from toombos_cli.project.own_processes import leaders, observed
from toombos_cli.project.port_owner import distrusted
from toombos_cli.project.state import RUNNING, Phase, SystemState, read_state, unreadable_state

ABSENT = (Reason.REFUSED, Reason.TASK)
"""Reasons that mean the service is not running."""


def settings_of(manifest: Manifest, services: Mapping[str, Service]) -> dict[str, ProbeSetting]:
    """Return what the probes of these services need: the variables of those that use some, in the mode that runs.

    Raises ConfigurationError if `.env` cannot be read.
    """
    using = [service for service in services.values() if service.needs_variables]
    if not using:
        return {}
    from toombos_cli.processes import TAG
    from toombos_cli.project.mode import mode_now
    from toombos_cli.settings.env_files import read_env_files
    from toombos_cli.settings.values import clear_values

    env_files, mode = read_env_files(manifest), mode_now(manifest)
    found = {}
    for service in using:
        clear = clear_values(manifest, service, env_files, mode=mode).values
        values = {name: value for name, value in clear.items() if name != TAG}
        may_leave = service.host in manifest.load.allowed_targets or not service.is_here  # it has the place's headers
        found[service.name] = ProbeSetting(values=values, may_leave=may_leave)
    return found


def why_not_known(service: Service, question: Question = "health") -> str | None:
    """Return why nobody here can know how a service at another place is, or None if it can be asked."""
    if service.is_here:
        return None
    if service.is_task:
        return "not known here: it is a task, and runs at its place"
    if not service.listens:
        return "not known here: the place gives it no address"
    if service.expectation(question).command:
        return "not known here: a command on its own machine says how it is"
    return None


def probe_service(
    service: Service,
    project: Path,
    *,
    question: Question = "health",
    setting: ProbeSetting = NOTHING,
    timeout_s: float | None = None,
    headers: Mapping[str, str] | None = None,
    max_body_bytes: int | None = None,
) -> ProbeResult:
    """Return the result of `probe_health`; REFUSED for a service without an address whose process does not run.

    A task is not probed: it is well if it is done. NOT_KNOWN for a service at another place that cannot be asked.
    WRONG_OWNER if a variable would be sent to a stranger in its place; ERROR if one would be sent to the process of
    another user that toombos did not start, or if this user may not see whether it runs.
    Raises OperationError if this machine cannot probe.
    """
    if (why_not := why_not_known(service, question)) is not None:
        return ProbeResult(url=service.url, reason=Reason.NOT_KNOWN, detail=why_not)
    if service.is_task:
        return _found_of_task(service, project)
    if not service.listens:
        missing = _without_process(service, project)
        if missing is not None or not service.expectation(question).command:
            return missing or ProbeResult(url="", reason=Reason.OK)
    elif sends_variables(service, question, setting):
        listener = distrusted(project, {service.name: service}).get(service.name)
        if listener is not None:
            reason = Reason.WRONG_OWNER if listener.is_stranger else Reason.ERROR
            return ProbeResult(url=service.url, reason=reason, detail=f"{listener.complaint}; nothing was sent to it")
    result = probe_health(
        service,
        question=question,
        setting=setting,
        timeout_s=timeout_s,
        headers=headers,
        max_body_bytes=max_body_bytes,
    )
    shown = result.url.replace(service.url, service.place, 1) if service.unix else result.url
    return replace(result, url=shown)


def ask_service(
    manifest: Manifest, service: Service, question: Question = "health", *, timeout_s: float | None = None
) -> ProbeResult:
    """Return the result of `probe_service` with the variables that the service's probe needs.

    Raises ConfigurationError as `settings_of`, OperationError if this machine cannot probe.
    """
    setting = settings_of(manifest, {service.name: service}).get(service.name, NOTHING)
    return probe_service(service, manifest.project, question=question, setting=setting, timeout_s=timeout_s)


def why_left_out(service: Service, result: ProbeResult, state: SystemState | None) -> str | None:
    """Return why the result of a service that was not named does not count, or None if it does.

    An optional service counts if it was started or responds. One whose check cannot be made, such as a command that is
    not installed here, does not respond.
    """
    wanted = not service.optional or (state is not None and state.wants(service.name))
    if wanted or result.reason not in (*ABSENT, Reason.ERROR):
        return None
    if not service.is_here:
        return "optional, and does not respond there"
    return f"optional, and {'not started' if result.reason in ABSENT else result.detail}"


def _found_of_task(service: Service, project: Path) -> ProbeResult:
    """Return OK for a task that is done, TASK for any other, with the cause STARTING while it runs."""
    unreadable = unreadable_state(project)
    if unreadable is not None:
        return ProbeResult(url="", reason=Reason.ERROR, detail=f"{unreadable}: Permission denied")
    state = read_state(project)
    if state is not None and not processes.is_alive(state.supervisor):
        state = observed(project, state)
    entry = state.services.get(service.name) if state else None
    if entry is None or entry.phase is Phase.STOPPED:
        return ProbeResult(url="", reason=Reason.TASK, detail="it has not run")
    if entry.phase is Phase.DONE:
        return ProbeResult(url="", reason=Reason.OK)
    cause = Cause.STARTING if entry.phase in RUNNING else None
    return ProbeResult(url="", reason=Reason.TASK, cause=cause, detail=entry.detail or f"it is {entry.phase}")


def _without_process(service: Service, project: Path) -> ProbeResult | None:
    """Return the failure of a service whose process does not run, or cannot be seen; None if it runs."""
    if service.name in leaders(project, read_state(project)):
        return None
    unreadable = unreadable_state(project)
    if unreadable is not None:
        return ProbeResult(url="", reason=Reason.ERROR, detail=f"{unreadable}: Permission denied")
    return ProbeResult(url="", reason=Reason.REFUSED, detail="its process is not running")

"""Carries out requests to start, stop or restart services: in order, and with waiting."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from toombos_cli.project.state import FailureKind, Phase
from toombos_cli.supervisor import protocol, spawning
from toombos_cli.supervisor.dependents import restarted_with
from toombos_cli.supervisor.life import denies_dry_run
from toombos_cli.supervisor.ordering import with_dependencies
from toombos_cli.supervisor.protocol import EndedProcess, Request, ServiceFailure, SystemPlan
from toombos_cli.supervisor.spawning import CannotStartError
from toombos_cli.supervisor.unit import ServiceUnit

_UP = frozenset({Phase.READY, Phase.UNHEALTHY, Phase.DONE})
_UNDOES = frozenset({FailureKind.CONFIGURATION, FailureKind.NOT_DRY_RUN})
"""Failures after which nothing of a start may stay: its settings are wrong for all of it."""


class UnitRegistry(Protocol):
    """The units, and what gives them a plan or ends what has no unit."""

    units: dict[str, ServiceUnit]

    def take(self, plan: SystemPlan) -> None:
        """Create a unit for each service of the plan that has none, and keep the plan's settings."""

    async def end_undescribed(self, names: Collection[str]) -> None:
        """End the named services (() means all) that run and have no unit, because nothing describes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestResult:
    """The result of a request."""

    failures: tuple[ServiceFailure, ...] = ()
    started: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    ended: tuple[EndedProcess, ...] = ()


async def carry_out(system: UnitRegistry, request: Request) -> RequestResult:
    """Carry out a request. Cancelling it undoes a start that is under way."""
    match request:
        case protocol.StartRequest():
            return await _start(
                system,
                request.plan,
                request.names,
                request.timeout_s,
                all_or_nothing=request.all_or_nothing,
                named=request.names if request.named else (),
            )
        case protocol.StopRequest():
            if request.plan is not None:
                system.take(request.plan)
            names = request.names or tuple(system.units)
            ended = await stop(system, names)
            await system.end_undescribed(request.names)
            return RequestResult(ended=ended, failures=_stubborn(system, names))
        case protocol.RestartRequest():
            return await _restart(system, request)
        case protocol.TaskRanRequest():
            if request.name not in system.units:
                system.take(request.plan)
            system.units[request.name].look_at_record()
            return RequestResult()
        case protocol.StatusRequest():
            return RequestResult()


async def stop(system: UnitRegistry, names: Iterable[str]) -> tuple[EndedProcess, ...]:
    """End these services, each after those of them that depend on it; return the processes of those that ran."""
    wanted = [name for name in names if name in system.units]
    ends: dict[str, asyncio.Task[EndedProcess | None]] = {}

    async def end(name: str) -> EndedProcess | None:
        dependents = [ends[other] for other in wanted if name in system.units[other].service.depends_on]
        await asyncio.gather(*dependents)
        return await system.units[name].stop()

    for name in wanted:
        ends[name] = asyncio.create_task(end(name))
    return tuple(ended for ended in await asyncio.gather(*ends.values()) if ended is not None)


def _stubborn(system: UnitRegistry, names: Iterable[str]) -> tuple[ServiceFailure, ...]:
    """Return a failure for each service with a process that survived SIGKILL: a stop must not read as done."""
    failures = (system.units[name].failure for name in names if name in system.units)
    return tuple(failure for failure in failures if failure is not None and failure.kind is FailureKind.STUBBORN)


async def _restart(system: UnitRegistry, request: protocol.RestartRequest) -> RequestResult:
    system.take(request.plan)  # it describes what runs although no state does
    names = tuple(
        name
        for name in request.names
        if not request.only_changed
        or name not in system.units
        or system.units[name].state.fingerprint != request.plan.services[name].fingerprint
    )
    names = tuple(dict.fromkeys((*names, *_followers(system, request.plan, names))))
    if failures := _check_before_stopping(system, request.plan, names):
        return RequestResult(failures=failures)
    ended = await stop(system, names)
    outcome = await _start(system, request.plan, names, request.timeout_s)
    return replace(outcome, ended=(*ended, *outcome.ended))


async def _start(
    system: UnitRegistry,
    plan: SystemPlan,
    names: Iterable[str],
    timeout_s: float | None,
    *,
    all_or_nothing: bool = False,
    named: Collection[str] = (),
) -> RequestResult:
    """Start what is not running. If one fails, end all that did not become ready, or all that this call has started.

    `named` are those that the operator named: of these, also a task that is done runs.
    """
    services = {name: planned.service for name, planned in plan.services.items()}
    wanted = with_dependencies(services, names)
    system.take(plan)
    await asyncio.gather(*(system.units[name].wait_until(_no_stop_under_way(system.units[name])) for name in wanted))
    due = _due(system, plan, wanted, named)
    failures = _check(system, plan, due)
    if failures:
        return RequestResult(failures=failures)
    followers = _followers(system, plan, due)
    stopped = await stop(system, followers)
    wanted = with_dependencies(services, (*wanted, *followers))
    for name in due:
        system.units[name].begin_anew()
    start = _Start(system, plan, wanted, all_or_nothing=all_or_nothing)
    try:
        async with asyncio.timeout(timeout_s):
            await start.bring_up()
    except TimeoutError:
        start.fail_what_is_not_ready(f"after {timeout_s:g} s")
    except asyncio.CancelledError:
        await _undo(system, start.begun)
        raise
    failures = tuple(start.failures.values())
    if not failures:
        return RequestResult(started=tuple(start.begun), ended=stopped)
    undone = [name for name in start.begun if start.undoes_all or name in start.unready]
    await _undo(system, undone, failures)
    kept = tuple(name for name in start.begun if name not in undone and system.units[name].state.phase in _UP)
    ended = tuple(end for name in undone if (end := system.units[name].ended) is not None)
    return RequestResult(failures=failures, started=kept, skipped=tuple(start.skipped), ended=(*stopped, *ended))


def _due(system: UnitRegistry, plan: SystemPlan, wanted: tuple[str, ...], named: Collection[str]) -> tuple[str, ...]:
    """Return what a start has to start, in start order: what is not running.

    A task that is done runs again if it is named, or if something is started that depends on it.
    """
    due: list[str] = []
    for name in reversed(wanted):
        unit = system.units[name]
        is_done = plan.services[name].service.is_task and unit.state.phase is Phase.DONE
        is_needed = name in named or any(name in plan.services[other].service.depends_on for other in due)
        if not unit.is_active and (is_needed or not is_done):
            due.append(name)
    return tuple(reversed(due))


def _followers(system: UnitRegistry, plan: SystemPlan, names: Iterable[str]) -> tuple[str, ...]:
    """Return the running services that are restarted when these are."""
    services = {name: planned.service for name, planned in plan.services.items()}
    found = restarted_with(services, tuple(names))
    return tuple(name for name in services if name in found and system.units[name].is_active)


def _no_stop_under_way(unit: ServiceUnit) -> Callable[[], bool]:
    return lambda: unit.state.phase is not Phase.STOPPING


def _check(system: UnitRegistry, plan: SystemPlan, due: Iterable[str]) -> tuple[ServiceFailure, ...]:
    """Return the failures that can be detected before anything is started."""
    failures = []
    for name in due:
        try:
            spawning.check(plan.services[name])
        except CannotStartError as error:
            system.units[name].refuse(error.failure)
            failures.append(error.failure)
    return tuple(failures)


def _check_before_stopping(
    system: UnitRegistry, plan: SystemPlan, names: tuple[str, ...]
) -> tuple[ServiceFailure, ...]:
    """Return why running services could not be started again, except for a port: they have their own until they end."""
    running = [plan.services[name] for name in names if system.units[name].is_active]
    found = (failure for planned in running for failure in spawning.failures_of(planned))
    return tuple(failure for failure in found if failure.kind is not FailureKind.PORT)


class _Start:
    """One start: `begun` are the services that it has started, `failures` those that are not ready, by name.

    `unready` did not become ready within this start, `skipped` were not started because they depend on a failed one.
    """

    def __init__(
        self, system: UnitRegistry, plan: SystemPlan, wanted: tuple[str, ...], *, all_or_nothing: bool
    ) -> None:
        self.begun: list[str] = []
        self.failures: dict[str, ServiceFailure] = {}
        self.unready: set[str] = set()
        self.skipped: list[str] = []
        self._system = system
        self._plan = plan
        self._wanted = wanted
        self._all_or_nothing = all_or_nothing

    @property
    def undoes_all(self) -> bool:
        """Whether nothing of this start may stay."""
        kinds = {failure.kind for failure in self.failures.values()}
        return bool(kinds & _UNDOES) or bool(kinds and self._all_or_nothing)

    async def bring_up(self) -> None:
        """Start each service as soon as its dependencies allow, and wait for all, or for the first failure.

        A service that is no longer ready when the others become ready is a failure too.
        """
        units = self._system.units
        ways = {
            asyncio.create_task(_bring_up_one(self._system, self._plan, name, self.begun)): name
            for name in self._wanted
        }
        watches = {asyncio.create_task(_until_it_falls(units[name])): name for name in self._wanted}
        tasks = ways | watches
        try:
            while open_ways := {task for task in ways if not task.done()}:
                await asyncio.wait(
                    {*open_ways, *(task for task in watches if not task.done())}, return_when=asyncio.FIRST_COMPLETED
                )
                for task, name in tasks.items():
                    failure = task.result() if task.done() and not task.cancelled() else None
                    if failure is not None:
                        self.failures.setdefault(name, failure)
                        if task in ways:
                            self.unready.add(name)
                if self.undoes_all:
                    return
                self._skip_dependents(ways)
            for name in self._wanted:
                if units[name].state.phase not in _UP and name not in self.skipped:
                    self.failures.setdefault(name, _fall(units[name]))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def fail_what_is_not_ready(self, when: str) -> None:
        """Add a failure for each service that is not ready, and for each task that is not completed."""
        for name in self._wanted:
            state = self._system.units[name].state
            if state.phase not in _UP and name not in self.failures and name not in self.skipped:
                missing = "completed" if state.service.is_task else "ready"
                text = f"not {missing} {when}: {state.detail or 'not started yet'}"
                self.failures[name] = ServiceFailure(service=name, kind=FailureKind.TIMEOUT, message=text)
                self.unready.add(name)

    def _skip_dependents(self, ways: "dict[asyncio.Task[ServiceFailure | None], str]") -> None:
        """Give up each service that is not begun and depends on a failed one, directly or not."""
        cut_off = set(self.failures)
        for name in self._wanted:  # in start order
            if cut_off & self._plan.services[name].service.depends_on.keys():
                cut_off.add(name)
        for task, name in ways.items():
            is_begun = name in self.begun or self._system.units[name].is_active
            if name in cut_off and not is_begun and name not in {*self.failures, *self.skipped}:
                task.cancel()
                self.skipped.append(name)


async def _bring_up_one(system: UnitRegistry, plan: SystemPlan, name: str, begun: list[str]) -> ServiceFailure | None:
    unit = system.units[name]
    service = plan.services[name].service
    for dependency in service.depends_on:
        other = system.units[dependency]
        await other.wait_until(partial(_reached, other, service.waits_for(dependency)))
        if other.failure is not None:
            return None  # its own task reports it
    unit.waiting += 1
    try:
        if not unit.is_active and unit.state.phase is not Phase.DONE:
            begun.append(name)
            unit.start(plan.services[name])
        run_before = unit.state.run_id
        await unit.wait_settled()
        await unit.ask_now()  # what it complained of may have been started by now
        if unit.state.phase is Phase.DONE and unit.state.run_id == run_before and name in begun:
            begun.remove(name)  # a task that need not run again
    finally:
        unit.waiting -= 1
    if unit.state.phase in _UP:
        denied = plan.services[name].dry_run and unit.state.says_dry_run is False  # it was running before this start
        return denies_dry_run(name) if denied else None
    return _fall(unit)


async def _until_it_falls(unit: ServiceUnit) -> ServiceFailure:
    """Wait until a ready service is no longer ready, and return why."""
    await unit.wait_until(lambda: unit.state.phase in _UP)
    await unit.wait_until(lambda: unit.state.phase not in _UP)
    return _fall(unit)


def _fall(unit: ServiceUnit) -> ServiceFailure:
    """Return why a service is not ready: its start failed, it ended, or another command stopped it."""
    if unit.failure is not None:
        return unit.failure
    state = unit.state
    restarted = state.phase is Phase.STARTING and state.last_end
    reason = restarted.text if restarted else state.detail
    hint = state.service.task_hint(state.last_end.exit_code if state.last_end else None)
    return ServiceFailure(
        service=unit.name,
        kind=FailureKind.EXITED,
        message=reason or "another command stopped it meanwhile",
        hint=hint,
        command=() if hint else ("logs", unit.name),
        last_lines=state.last_lines,
    )


def _reached(unit: ServiceUnit, condition: str) -> bool:
    """Report whether the unit has reached the condition that a dependent waits for, or has failed."""
    started = condition == "started" and unit.state.pid != 0
    return started or unit.state.phase in _UP or unit.failure is not None


async def _undo(system: UnitRegistry, begun: list[str], failures: Iterable[ServiceFailure] = ()) -> None:
    """End the services that were started and that no other request waits for; keep how a service failed."""
    units = system.units
    ended = [name for name in begun if units[name].is_active and units[name].waiting == 0]
    await stop(system, ended)
    for failure in failures:
        if failure.service in ended and not units[failure.service].is_active:
            units[failure.service].refuse(failure)

"""Restarts dependents when the service they depend on is restarted (`depends_on = { db = { restart = true } }`)."""

from collections.abc import Collection, Mapping

from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.state import WELL, FailureKind, Phase
from toombos_cli.supervisor.unit import ServiceUnit

_UP = frozenset({Phase.READY, Phase.UNHEALTHY})
_GIVEN_UP = frozenset({Phase.FAILED, Phase.CRASH_LOOP})


def restarted_with(services: Mapping[str, Service], names: Collection[str]) -> set[str]:
    """Return the services that are restarted when these get a new process, directly or because others are."""
    found: set[str] = set()
    pending = list(names)
    while pending:
        cause = pending.pop()
        new = {name for name, service in services.items() if service.restarts_with(cause)} - found
        found |= new
        pending.extend(new)
    return found


class Dependents:
    """Restarts dependents once what they depend on is as it should be again.

    That includes those that ran when it went down and have been given up since, as a program that lost its database.
    """

    def __init__(self) -> None:
        self._up: set[str] = set()
        self._ran: dict[str, set[str]] = {}
        """The dependents that ran when a service went down, by its name."""

    def note(self, unit: ServiceUnit, units: Mapping[str, ServiceUnit]) -> None:
        """Take note of a unit's new state, and restart what has to be restarted.

        Of those, one that will be restarted with another one waits until that one is as it should be.
        """
        if unit.state.phase not in _UP and unit.name in self._up:
            self._up.discard(unit.name)
            self._ran[unit.name] = {other.name for other in _followers(unit, units) if other.is_active}
        if unit.state.phase not in WELL:
            return
        if unit.state.phase in _UP:
            self._up.add(unit.name)
        ran = self._ran.pop(unit.name, set())
        affected = {
            other.name: other
            for other in _followers(unit, units)
            if _is_older(other, unit) or (other.name in ran and other.state.phase in _GIVEN_UP)
        }
        later: set[str] = set()
        if len(affected) > 1:
            later = restarted_with({name: other.service for name, other in units.items()}, affected)
        for name in affected.keys() - later:
            _restart(affected[name], _reason(unit))


def _followers(unit: ServiceUnit, units: Mapping[str, ServiceUnit]) -> list[ServiceUnit]:
    """Return the units that are restarted with this one; without a plan, one could not be started again."""
    return [other for other in units.values() if other.plan and other.service.restarts_with(unit.name)]


def _is_older(other: ServiceUnit, unit: ServiceUnit) -> bool:
    """Report whether a running unit had its process before `unit`; a task that is done has no process any more."""
    if other.running is None:
        return False
    if unit.state.phase is Phase.DONE:
        return unit.state.ready_after_s is not None and unit.state.started_at > other.state.started_at
    return unit.state.start_ticks > other.state.start_ticks


def _restart(unit: ServiceUnit, reason: str) -> None:
    if unit.is_active:
        unit.request_restart(reason, FailureKind.DEPENDENCY)
    elif unit.plan is not None:
        unit.start(unit.plan, because=reason)


def _reason(unit: ServiceUnit) -> str:
    """Return what happened to the unit, with the cause if the supervisor knows one."""
    if unit.state.phase is Phase.DONE:
        return f"{unit.name} ran again"
    end = unit.state.last_end
    return f"{unit.name} was restarted: {end.text}" if end else f"{unit.name} was started again"

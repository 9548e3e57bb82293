"""What the dependencies between services mean, which depends on whether the other one is a task."""

from collections.abc import Collection, Mapping

import msgspec

from toombos_cli.base.errors import Problem
from toombos_cli.manifest.tables.dependencies import Dependency, When
from toombos_cli.manifest.tables.service import Service


def settled(service: Service, services: Mapping[str, Service], disabled: Collection[str]) -> Service:
    """Return the service without the disabled ones that it depends on; each other dependency says what it waits for."""
    kept = {name: how for name, how in service.depends_on.items() if name not in disabled}
    return msgspec.structs.replace(
        service, depends_on={name: _settled(how, services.get(name)) for name, how in kept.items()}
    )


def misfit_of(service: Service, other: Service) -> Problem | None:
    """Return why the service cannot wait for the other one in this way, or None."""
    when, name = service.waits_for(other.name), other.name
    if when == "completed" and not other.is_task:
        message = f"{service.name} waits until {name} is completed, but {name} is no task: it runs until it is stopped"
        return Problem(message=message, hint=f'depends_on = {{ {name} = "ready" }}, or kind = "task" in {name}')
    if when == "ready" and other.is_task:
        message = f"{service.name} waits until {name} is ready, but {name} is a task: it runs to its end"
        return Problem(message=message, hint=f'depends_on = {{ {name} = "completed" }}')
    if service.is_task and service.restarts_with(name):
        message = f"{service.name} would be restarted with {name}, but it is a task: it runs to its end"
        return Problem(message=message, hint=f'depends_on = {{ {name} = "{when}" }}')
    return None


def _settled(how: When | Dependency, other: Service | None) -> When | Dependency:
    """Return the short form unless the service is restarted with the other one."""
    if not isinstance(how, Dependency):
        return how
    when: When = how.when or ("completed" if other is not None and other.is_task else "ready")
    return Dependency(when=when, restart=True) if how.restart else when

"""The services that a command selects, and the order in which they are started."""

from collections.abc import Iterable, Mapping

from toombos_cli.manifest.tables.service import Service, start_order


def with_dependencies(services: Mapping[str, Service], names: Iterable[str]) -> tuple[str, ...]:
    """Return the names and everything they depend on, in start order."""
    wanted: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name in services and name not in wanted:
            wanted.add(name)
            pending.extend(services[name].depends_on)
    return tuple(name for batch in start_order(dict(services)) for name in batch if name in wanted)


def default_names(services: Mapping[str, Service]) -> tuple[str, ...]:
    """Return what a bare `start` starts: all services that are not optional."""
    return tuple(name for name, service in services.items() if not service.optional)


def with_monitoring(services: Mapping[str, Service], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names (if none, the default ones) and every monitoring service."""
    monitoring = tuple(name for name, service in services.items() if service.role == "monitoring")
    return tuple(dict.fromkeys((*(names or default_names(services)), *monitoring)))

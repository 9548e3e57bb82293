"""The dependencies of services, direct and indirect."""

from collections.abc import Mapping

from toombos_cli.manifest.tables.service import Service


def with_dependencies(name: str, services: Mapping[str, Service]) -> set[str]:
    """Return the service and its dependencies, direct and indirect."""
    found: set[str] = set()
    open_names = [name]
    while open_names:
        current = open_names.pop()
        if current not in found:
            found.add(current)
            open_names += services[current].depends_on if current in services else ()
    return found

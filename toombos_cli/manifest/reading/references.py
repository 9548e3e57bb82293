"""References from the sections of a manifest to its services, and the smoke steps that need disabled services."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from toombos_cli.manifest.tables.places import PlaceAddress
from toombos_cli.manifest.tables.service import Service
from toombos_cli.manifest.tables.smoke import SmokeStep

_ITSELF = "toombos"
"""The command line also reads variables, so `used_by` may name it."""

Reference = tuple[tuple[str | int, ...], str]


def named_services(sections: Mapping[str, Any]) -> Iterator[Reference]:
    """Yield the path and the name of each reference to a service; skip tables that could not be decoded (None)."""
    for index, step in enumerate(sections.get("smoke") or ()):
        if step is not None:
            yield ("smoke", index, "service"), step.service
            yield from ((("smoke", index, "counters"), counter.service) for counter in step.counters)
    if (load := sections.get("load")) and load.service is not None:
        yield ("load", "service"), load.service
    if monitoring := sections.get("monitoring"):
        for key, items in (("rules", monitoring.rules), ("panels", monitoring.panels)):
            for index, item in enumerate(items):
                yield from ((("monitoring", key, index, "services"), name) for name in item.services)
    for place, table in (sections.get("places") or {}).items():
        if table is not None:
            yield from ((("places", place, "services", name), name) for name in table.services)
    for variable, described in (sections.get("environment") or {}).items():
        if described is not None:
            yield from ((("environment", variable, "used_by"), name) for name in described.used_by if name != _ITSELF)
            if described.service:
                yield ("environment", variable, "service"), described.service


def misfit_of_address(service: Service, address: str | PlaceAddress) -> str | None:
    """Return why a service cannot have this address at a place, or None if it can."""
    if not service.listens:
        return f"{service.name} has no port, so it has no address"
    scheme = urlsplit(address if isinstance(address, str) else address.url).scheme
    if service.speaks_http == (scheme == "tcp"):
        return f"{service.name} has scheme = '{service.scheme}', so its address cannot begin with {scheme}://"
    return None


def applicable_steps(steps: tuple[SmokeStep, ...], disabled: set[str]) -> tuple[SmokeStep, ...]:
    """Return the smoke steps without those that need a disabled service or a capture of such a step."""
    kept: list[SmokeStep] = []
    lost: set[str] = set()
    for step in steps:
        text = msgspec.json.encode(step).decode()
        needs = {step.service, *(counter.service for counter in step.counters)}
        if needs & disabled or any(f"${{{name}}}" in text for name in lost):
            lost |= step.capture.keys()
        else:
            kept.append(step)
    return tuple(kept)

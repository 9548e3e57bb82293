"""The manifest as a place has it: the same services at other addresses, without any process of this machine."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from toombos_cli.base.addresses import url_address
from toombos_cli.base.errors import UsageError
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.expectations import Expectation, header_variables
from toombos_cli.manifest.tables.places import PlaceAddress, PlaceTable
from toombos_cli.manifest.tables.service import QUESTIONS, Service, ServiceElsewhere


def at_place(manifest: Manifest, name: str) -> Manifest:
    """Return the manifest of the system at a place. Raises UsageError, with the nearest name, for an unknown one.

    Its services have the addresses of the place, or none, and its `place` is the name.
    """
    place = manifest.places.get(name)
    if place is None:
        listed = f"places: {', '.join(manifest.places)}" if manifest.places else "describe it: [places.NAME]"
        raise UsageError(f"no place is named {name!r}", hint=did_you_mean(name, manifest.places, listed))
    services: dict[str, Service] = {
        each.name: _service_at(each, place, manifest.project) for each in manifest.services.values()
    }
    allowed = manifest.load.allowed_targets
    if place.variables:
        allowed += tuple(dict.fromkeys(service.host for service in services.values() if service.listens))
    return replace(
        manifest,
        services=services,
        load=replace(manifest.load, allowed_targets=allowed),
        source=replace(manifest.source, place=name),
    )


def _service_at(service: Service, place: PlaceTable, project: Path) -> ServiceElsewhere:
    fields = {key: getattr(service, key) for key in service.__struct_fields__}
    fields |= {"unix": "", "ca_file": "", "client_cert": "", "client_key": "", "insecure": False}
    address = place.address_of(service.name, service.scheme, 0 if service.is_task else service.port)
    if address is None:
        return ServiceElsewhere(**fields | {"port": 0})
    scheme = urlsplit(address.url).scheme
    host, port = url_address(address.url)
    fields |= {"host": host, "port": port, "scheme": scheme}
    fields["env_files"] = (*service.env_files, *place.env_files)
    fields["optional"] = service.optional and service.name not in place.services
    if scheme == "https":
        fields |= _certificates(address, place, project)
    if service.speaks_http:
        kept = service.headers if place.variables else _without_variables(service.headers)
        fields["headers"] = _layered(kept, place.headers, address.headers)
        if not place.variables:
            fields |= {key: _plain(asked) for key in QUESTIONS if isinstance(asked := fields[key], Expectation)}
    return ServiceElsewhere(**fields)


def _certificates(address: PlaceAddress, place: PlaceTable, project: Path) -> dict[str, str | bool]:
    """Return the keys about TLS: those of the service's own address, or, if it has none, of the place."""
    own = any((address.ca_file, address.client_cert, address.insecure))
    given = address if own else place
    files = {key: getattr(given, key) for key in ("ca_file", "client_cert", "client_key")}
    return {key: str(project / path) for key, path in files.items() if path} | {"insecure": given.insecure}


def _layered(*layers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of all layers; a later one replaces those of the same name in any case."""
    found: dict[str, tuple[str, str]] = {}
    for layer in layers:
        found |= {name.lower(): (name, value) for name, value in layer.items()}
    return dict(found.values())


def _without_variables(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if not header_variables({name: value})}


def _plain(asked: Expectation) -> Expectation:
    return msgspec.structs.replace(asked, headers=_without_variables(asked.headers))

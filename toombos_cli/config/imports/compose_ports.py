"""The port of a Compose service: the one inside the container, because no container maps it here."""

import re
from dataclasses import dataclass

from toombos_cli.config.imports.compose_service import ComposeService
from toombos_cli.config.imports.images import IMAGES, plain_name
from toombos_cli.config.imports.node import Node
from toombos_cli.config.imports.ports import is_port
from toombos_cli.config.imports.variables import Variables

_SHORT = re.compile(
    r"(?:(?:(?P<host>\[[^\]]*\]|[^:/]*):)?(?P<published>\d*(?:-\d+)?):)?(?P<inside>\d+)(?:-\d+)?(?:/(?P<protocol>\w+))?"
)


_OPEN_TO_ALL = 1024
"""The first port that needs no root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A port inside the container, and the one that others reach it by, 0 if it is not published."""

    inside: int
    published: int


def take_ports(service: ComposeService, variables: Variables) -> None:
    """Set the port of a service from `ports`, `expose` or its well-known image, in this order."""
    mapped = [found for item in service.node["ports"].items() if (found := _mapped(item, variables))]
    texts = [variables.filled(item).partition("/")[0] for item in service.node["expose"].items()]
    mapped += [Mapped(inside=int(text), published=0) for text in texts if is_port(text)]
    image = IMAGES.get(plain_name(service.image)) if not service.node["build"] else None
    if image and not mapped:
        mapped = [Mapped(inside=image.port, published=0)]
    if not mapped:
        return
    first, *others = dict.fromkeys(mapped)
    beside = f"published as {first.published}" if first.published not in (0, first.inside) else ""
    service.draft.listen(first.inside, beside=beside)
    service.draft.spare_port = first.published
    rest = sorted({other.inside for other in others} - {first.inside})
    if rest:
        service.draft.notes.append(f"it also listens on {', '.join(map(str, rest))}")
    if first.inside < _OPEN_TO_ALL:
        service.draft.todo.append(f"port {first.inside} needs root here: let it listen on another one")


def _mapped(item: Node, variables: Variables) -> Mapped | None:
    """Return what a line of `ports` maps, None for UDP. Raise ConfigurationError for what is no mapping."""
    if isinstance(item.value, dict):
        inside = variables.filled(item["target"])
        published = variables.filled(item["published"]) if item["published"] else ""
        protocol = item["protocol"].scalar("tcp")
    else:
        found = _SHORT.fullmatch(variables.filled(item))
        if found is None:
            raise item.problem(f"{item.scalar()!r} is not a port mapping", hint='write it like "8080:80"')
        inside, published, protocol = found["inside"], found["published"] or "", found["protocol"] or "tcp"
    if protocol == "udp":
        return None
    published = published.partition("-")[0]
    if not is_port(inside) or (published and not is_port(published)):
        raise item.problem(f"{inside or published!r} is not the number of a port")
    return Mapped(inside=int(inside), published=int(published or 0))

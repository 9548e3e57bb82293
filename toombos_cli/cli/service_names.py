"""The services that a person names on a command line: each by its name, or all of a group as `@GROUP`."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from toombos_cli.base.errors import UsageError

if TYPE_CHECKING:
    from toombos_cli.manifest.tables.service import Service

_GROUP = "@"


def named_services(
    asked: Iterable[str], services: "Mapping[str, Service]", also: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the services with the given names and those of the given groups, each once, in the order given.

    `also` are further names that are accepted. Raises UsageError, which suggests the nearest name, for an unknown one.
    """
    members = groups_of(services)
    found: list[str] = []
    for name in asked:
        if name in members:
            found += members[name]
        elif name in services or name in also:
            found.append(name)
        else:
            raise _unknown(name, services, members)
    return tuple(dict.fromkeys(found))


def one_service(asked: str, services: "Mapping[str, Service]") -> str:
    """Return the one service that a name or a group stands for. Raises UsageError for more than one, or none."""
    name, *others = named_services((asked,), services)
    if others:
        hint = f"name one of {', '.join((name, *others))}"
        raise UsageError(f"{asked} is a group of {len(others) + 1} services, and one is needed", hint=hint)
    return name


def groups_of(services: "Mapping[str, Service]") -> dict[str, list[str]]:
    """Return the members of each group by what names it, such as `@web`, in the order of the services."""
    members: dict[str, list[str]] = {}
    for name, service in services.items():
        for group in service.groups:
            members.setdefault(f"{_GROUP}{group}", []).append(name)
    return members


def _unknown(name: str, services: "Mapping[str, Service]", groups: Mapping[str, list[str]]) -> UsageError:
    from toombos_cli.base.spelling import did_you_mean

    listed = f"services: {', '.join(services)}" + (f"; groups: {', '.join(groups)}" if groups else "")
    if name.startswith(_GROUP):
        plain = name.removeprefix(_GROUP)
        hint = f"did you mean {plain!r}?" if plain in services else did_you_mean(name, groups, listed)
        return UsageError(f"no group is named {name!r}", hint=hint)
    return UsageError(f"no service is named {name!r}", hint=did_you_mean(name, (*services, *groups), listed))

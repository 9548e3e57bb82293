"""Keeps the variables of the environment on this machine: a manifest may name any host, and any variable."""

from collections.abc import Iterable, Mapping

from toombos_cli.base.errors import RefusedError
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.expectations import header_variables
from toombos_cli.manifest.tables.service import Service
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.probes.reach import may_receive
from toombos_cli.probes.steps.variables import sent_by

Environment = Mapping[str, Mapping[str, str]]


def variables_sent(
    step: SmokeStep, services: Mapping[str, Service], environment: Environment
) -> dict[str, tuple[str, ...]]:
    """Return the variables that are set and that a step sends, by service: its own, and those of service headers."""
    own = environment.get(step.service, {})
    sent = {}
    for name, used in sent_by(step).items():
        headers = () if step.is_conversation or step.loopback_only else header_variables(services[name].headers)
        set_there = environment.get(name, {})
        found = [*(v for v in used if own.get(v)), *(v for v in headers if set_there.get(v))]
        sent[name] = tuple(dict.fromkeys(found))
    return sent


def refuse_to_send_variables_elsewhere(
    manifest: Manifest, steps: Iterable[SmokeStep], environment: Environment
) -> None:
    """Raise RefusedError if a step would send a variable that is set to a host that is neither here nor allowed.

    `allowed_targets` of the manifest's `[load]` table names the hosts that may be reached.
    """
    for step in steps:
        for name, sent in variables_sent(step, manifest.services, environment).items():
            service = manifest.services[name]
            host = service.host
            if not service.is_here:  # the headers of the place itself are meant for it
                sent = tuple(variable for variable in sent if variable not in header_variables(service.headers))
            if not sent or may_receive(service, is_allowed=host in manifest.load.allowed_targets):
                continue
            raise RefusedError(
                f"{step.name} would send {', '.join(sent)} to {_named(manifest, host)}: nothing was sent",
                where=str(manifest.source.path or "[[smoke]]"),
                hint=f"if it may have {'them' if len(sent) > 1 else 'it'}: "
                f"{_permission(manifest, host)} in toombos.toml",
            )


def _named(manifest: Manifest, host: str) -> str:
    place = manifest.source.place
    return f"{host} at the place {place}" if place else f"{host}, which is not this machine"


def _permission(manifest: Manifest, host: str) -> str:
    """Return what to write so that a host may have variables, and where."""
    place = manifest.source.place
    return f"variables = true under [places.{place}]" if place else f'allowed_targets = ["{host}"] under [load]'

"""Keeps the variables of the environment on this machine: a manifest may name any host, and any variable."""

from collections.abc import Iterable, Mapping

from toombos_cli.base.errors import RefusedError
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.probes import is_this_machine
from toombos_cli.smoke.variables import sent_by


def refuse_to_send_variables_elsewhere(
    manifest: Manifest, steps: Iterable[SmokeStep], environment: Mapping[str, Mapping[str, str]]
) -> None:
    """Raise RefusedError if a step would send a variable that is set to a host that is neither here nor allowed.

    `allowed_targets` of the manifest's `[load]` table names the hosts that may be reached.
    """
    sendings = [(step, service, names) for step in steps for service, names in sent_by(step).items()]
    for step, service, names in sendings:
        host = manifest.services[service].host
        sent = [name for name in names if environment.get(step.service, {}).get(name)]
        if sent and host not in manifest.load.allowed_targets and not is_this_machine(host):
            raise RefusedError(
                f"{step.name} would send {', '.join(sent)} to {host}, which is not this machine: nothing was sent",
                where=str(manifest.source.path or "[[smoke]]"),
                hint=f'if it may have {"them" if len(sent) > 1 else "it"}: allowed_targets = ["{host}"] '
                "under [load] in toombos.toml",
            )

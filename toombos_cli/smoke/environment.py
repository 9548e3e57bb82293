"""The variables of the services, as the steps of a smoke test use them."""

from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.expectations import header_variables
from toombos_cli.probes.steps.variables import ENVIRONMENT, used_by
from toombos_cli.project.mode import mode_now
from toombos_cli.settings.env_files import read_env_files
from toombos_cli.settings.values import clear_values


def read_environment(manifest: Manifest) -> dict[str, dict[str, str]]:
    """Return each service's variables in clear, in the mode that the system runs in.

    Raises ConfigurationError when a variable that a step uses cannot be decrypted, or `.env` cannot be read.
    """
    env_files, mode = read_env_files(manifest), mode_now(manifest)
    environment = {}
    for service in manifest.services.values():
        clear = clear_values(manifest, service, env_files, mode=mode)
        steps = [step for step in manifest.smoke if step.service == service.name]
        used = [name.removeprefix(ENVIRONMENT) for step in steps for name in used_by(step)]
        used += [name for step in steps for name in (step.if_set, step.if_unset) if name]
        used += header_variables(service.headers)
        clear.require(used, env_files)
        environment[service.name] = dict(clear.values)
    return environment

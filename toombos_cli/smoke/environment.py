"""The variables of the services, as the steps of a smoke test use them."""

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.manifest.model import Manifest
from toombos_cli.settings.encryption import DecryptionError, decrypt, is_encrypted
from toombos_cli.settings.values import effective_values, read_env_file


def read_environment(manifest: Manifest) -> dict[str, dict[str, str]]:
    """Return each service's variables in clear. Raises ConfigurationError when one cannot be decrypted."""
    env_file = read_env_file(manifest.project)
    environment = {}
    for service in manifest.services.values():
        values = {n: v.value for n, v in effective_values(manifest, service, env_file).items()}
        key = values.get("API_KEY_ENCRYPTION_KEY", "")
        try:
            environment[service.name] = {n: decrypt(v, key) if is_encrypted(v) else v for n, v in values.items()}
        except DecryptionError as error:
            raise ConfigurationError(
                f"an encrypted value cannot be read: {error}", where=str(env_file.path), hint="toombos config check"
            ) from None
    return environment

"""The variables that a service gets: their values, also decrypted, and the layer that each one came from."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.base.fixes import here
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import Service
from toombos_cli.settings.encryption import DecryptionError, decrypt, is_encrypted
from toombos_cli.settings.env_file import EnvFile
from toombos_cli.settings.env_file import read_env_file as read_env_file  # callers need the file to compute values

_PACKAGED_KEY_NAME = "API_KEY_ENCRYPTION_KEY"
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})


class Origin(StrEnum):
    """Where a value was set, from the strongest to the weakest."""

    MODE = "mode"
    SERVICE = "service"
    ENVIRONMENT = "environment"
    ENV_FILE = ".env"
    MANIFEST = "manifest"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One effective variable; `line` is its 1-based line in `.env` if that sets it."""

    name: str
    value: str = field(repr=False)
    origin: Origin
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearValues:
    """Decrypted values by name; `undecryptable` maps each name whose value cannot be decrypted to the reason."""

    values: Mapping[str, str] = field(repr=False)
    undecryptable: Mapping[str, str]

    def require(self, names: Iterable[str], env_file: EnvFile) -> None:
        """Raise ConfigurationError if one of these variables cannot be decrypted."""
        for name in names:
            if name in self.undecryptable:
                raise ConfigurationError(
                    f"the encrypted value of {name} cannot be read: {self.undecryptable[name]}",
                    where=str(env_file.path),
                    hint=here("config", "check"),
                )


def effective_values(
    manifest: Manifest,
    service: Service | None,
    env_file: EnvFile,
    *,
    mode: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Value]:
    """Return every variable that `service` would get in `mode`, by name; for None, what all services share.

    Strongest first: the mode, the service's own `env`, the process environment, `.env`, the service's
    `default_env`, the manifest's documented defaults. An empty value of a documented variable counts as unset, as it
    does for the services.
    """
    layers: list[tuple[Origin, Mapping[str, str]]] = [
        (Origin.DEFAULT, {name: v.default for name, v in manifest.environment.items() if v.default}),
        (Origin.MANIFEST, service.default_env if service else {}),
        (Origin.ENV_FILE, env_file.values),
        (Origin.ENVIRONMENT, os.environ if environ is None else environ),
        (Origin.SERVICE, service.env if service else {}),
        (Origin.MODE, manifest.mode_env(mode)),
    ]
    values: dict[str, Value] = {}
    for origin, layer in layers:
        for name, value in layer.items():
            if not value and name in manifest.environment:
                continue
            line = env_file.lines.get(name) if origin is Origin.ENV_FILE else None
            values[name] = Value(name=name, value=value, origin=origin, line=line)
    return values


def shared_values(
    manifest: Manifest, env_file: EnvFile, *, mode: str | None = None, environ: Mapping[str, str] | None = None
) -> dict[str, Value]:
    """Return the values that all services share, plus those from the `default_env` of services that use them."""
    values = effective_values(manifest, None, env_file, mode=mode, environ=environ)
    for service in manifest.services.values():
        for name in service.default_env.keys() & manifest.environment.keys():
            if name not in values or values[name].origin is Origin.DEFAULT:
                values[name] = effective_values(manifest, service, env_file, mode=mode, environ=environ)[name]
    return values


def clear_values(
    manifest: Manifest,
    service: Service | None,
    env_file: EnvFile,
    *,
    mode: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> ClearValues:
    """Return the decrypted effective values of a service; for None, those that all services share."""
    return decrypted(manifest, effective_values(manifest, service, env_file, mode=mode, environ=environ))


def decrypted(manifest: Manifest, values: Mapping[str, Value]) -> ClearValues:
    """Decrypt effective values with the encryption key among them."""
    key = encryption_key(manifest, values)
    clear, undecryptable = {}, {}
    for name, value in values.items():
        try:
            clear[name] = decrypt(value.value, key.value if key else "") if is_encrypted(value.value) else value.value
        except DecryptionError as error:
            undecryptable[name] = str(error)
    return ClearValues(values=clear, undecryptable=undecryptable)


def key_names(manifest: Manifest) -> tuple[str, ...]:
    """Return the variables with the role `encryption_key`, or else the name that the packaged system uses."""
    named = tuple(name for name, variable in manifest.environment.items() if variable.role == "encryption_key")
    return named or (_PACKAGED_KEY_NAME,)


def encryption_key(manifest: Manifest, values: Mapping[str, Value]) -> Value | None:
    """Return the first encryption key among effective values, or None."""
    return next((values[name] for name in key_names(manifest) if name in values), None)


def is_true(value: str | None) -> bool:
    """Report whether pydantic would read this text as true."""
    return value is not None and value.strip().lower() in _TRUE

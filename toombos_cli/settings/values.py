"""The variables that a service gets: their values, also decrypted, and the layer that each one came from."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.base.fixes import here
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import Service
from toombos_cli.settings.encryption import DecryptionError, decrypt, is_encrypted
from toombos_cli.settings.env_file import EnvFile
from toombos_cli.settings.env_files import EnvFiles

_PACKAGED_KEY_NAME = "API_KEY_ENCRYPTION_KEY"
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})


class Origin(StrEnum):
    """Where a value was set, from the strongest to the weakest."""

    MODE = "mode"
    SERVICE = "service"
    USER = "user"
    ENVIRONMENT = "environment"
    ENV_FILE = ".env"
    MANIFEST = "manifest"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One effective variable; `path` and `line`, which is 1-based, are its place if an env file sets it."""

    name: str
    value: str = field(repr=False)
    origin: Origin
    path: Path | None = None
    line: int | None = None

    def source(self, env_files: EnvFiles) -> str:
        """Return what sets it, for a person: the file's name, or the origin."""
        return env_files.at(self.path).label if self.path else self.origin.value


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearValues:
    """Decrypted values by name; `undecryptable` maps each name whose value cannot be decrypted to the reason."""

    values: Mapping[str, str] = field(repr=False)
    undecryptable: Mapping[str, str]

    def require(self, names: Iterable[str], env_files: EnvFiles) -> None:
        """Raise ConfigurationError if one of these variables cannot be decrypted."""
        for name in names:
            if name in self.undecryptable:
                raise ConfigurationError(
                    f"the encrypted value of {name} cannot be read: {self.undecryptable[name]}",
                    where=", ".join(str(file.path) for file in env_files),
                    hint=here("config", "check"),
                )


def effective_values(
    manifest: Manifest,
    service: Service | None,
    env_files: EnvFiles,
    *,
    mode: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Value]:
    """Return every variable that `service` would get in `mode`, by name; for None, what all services share.

    Strongest first: the mode, the service's own `env`, what su sets for its `user`, the process environment, the
    service's own env files, those of the system with `.env` among them, the service's `default_env`, the manifest's
    documented defaults. Of several files the last one wins. An empty value of a documented variable counts as unset,
    as it does for the services.
    """
    layers: list[tuple[Origin, EnvFile | None, Mapping[str, str]]] = [
        (Origin.DEFAULT, None, {name: v.default for name, v in manifest.environment.items() if v.default}),
        (Origin.MANIFEST, None, service.default_env if service else {}),
        *((Origin.ENV_FILE, file, file.values) for file in env_files.of(service)),
        (Origin.ENVIRONMENT, None, os.environ if environ is None else environ),
        (Origin.USER, None, _of_user(service)),
        (Origin.SERVICE, None, service.env if service else {}),
        (Origin.MODE, None, manifest.mode_env(mode)),
    ]
    values: dict[str, Value] = {}
    for origin, file, layer in layers:
        for name, value in layer.items():
            if not value and name in manifest.environment:
                continue
            place = (file.path, file.lines[name]) if file else (None, None)
            values[name] = Value(name=name, value=value, origin=origin, path=place[0], line=place[1])
    return values


def _of_user(service: Service | None) -> dict[str, str]:
    """Return the variables that su would set for the user of a service; {} for an unknown user."""
    if service is None or not service.user:
        return {}
    from toombos_cli.base.accounts import UnknownAccountError, find_account

    try:
        return find_account(service.user).environment
    except UnknownAccountError:  # its start reports that
        return {}


def shared_values(
    manifest: Manifest, env_files: EnvFiles, *, mode: str | None = None, environ: Mapping[str, str] | None = None
) -> dict[str, Value]:
    """Return the values that all services share, plus those from the `default_env` of services that use them."""
    values = effective_values(manifest, None, env_files, mode=mode, environ=environ)
    for service in manifest.services.values():
        for name in service.default_env.keys() & manifest.environment.keys():
            if name not in values or values[name].origin is Origin.DEFAULT:
                values[name] = effective_values(manifest, service, env_files, mode=mode, environ=environ)[name]
    return values


def clear_values(
    manifest: Manifest,
    service: Service | None,
    env_files: EnvFiles,
    *,
    mode: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> ClearValues:
    """Return the decrypted effective values of a service; for None, those that all services share."""
    return decrypted(manifest, effective_values(manifest, service, env_files, mode=mode, environ=environ))


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

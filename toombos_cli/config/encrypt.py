"""`config encrypt` and `config rotate-key`: encrypt the secrets in `.env`, and re-encrypt them with a new key."""

import os
import secrets
import shlex
from collections.abc import Sequence

from toombos_cli.base import locks
from toombos_cli.base.errors import ConfigurationError, Problem, UsageError
from toombos_cli.base.fixes import here
from toombos_cli.base.spelling import nearest
from toombos_cli.config.reports import SettingsChangeReport
from toombos_cli.config.rewrite import copy_beside, rewrite, with_values
from toombos_cli.manifest.model import Manifest
from toombos_cli.settings.display import shown_name
from toombos_cli.settings.encryption import DecryptionError, decrypt, encrypt, fernet_key, is_encrypted
from toombos_cli.settings.env_file import Binding, EnvFile, read_env_file
from toombos_cli.settings.strength import RANDOM_TEXT
from toombos_cli.settings.values import Origin, Value, effective_values, encryption_key, key_names

BACKUP_NAME = ".env.bak"
_KEY_BYTES = 32
_PATIENCE_S = 60.0  # for another toombos that changes .env


def run_encrypt(manifest: Manifest, names: Sequence[str]) -> SettingsChangeReport:
    """Encrypt the named variables in `.env`, or every documented secret that is there in clear text.

    No copy of the old file is kept, because it contains the clear text. Raises UsageError for a name that `.env` does
    not set, ConfigurationError if there is no usable key.
    """
    with locks.hold(manifest.project, patience_s=_PATIENCE_S):
        env_file = _existing(manifest)
        key = _key(manifest, env_file)
        chosen = _chosen(manifest, env_file, names, key.name)
        if not chosen:
            return SettingsChangeReport(action="encrypt", path=env_file.path, names=())
        # A value may refer to others as ${NAME}: encrypt the expanded value, which is what the services get.
        clear = {b: env_file.values[str(b.name)] if _counts(env_file, b) else str(b.value) for b in chosen}
        values = {binding: encrypt(value, key.value) for binding, value in clear.items()}
        rewrite(env_file.path, with_values(env_file, values), old=_text(env_file))
    return SettingsChangeReport(action="encrypt", path=env_file.path, names=_names(chosen))


def run_rotate_key(manifest: Manifest, *, new_key_from: str | None) -> SettingsChangeReport:
    """Re-encrypt every encrypted value in `.env` with a new key: a random one, or the text of an environment variable.

    A key in `.env` is replaced there. A key in the environment must be replaced by its owner, so the new key must be
    given. The old file is kept as `.env.bak` (0600). Raises ConfigurationError if a value cannot be decrypted; then
    nothing is changed.
    """
    with locks.hold(manifest.project, patience_s=_PATIENCE_S):
        env_file = _existing(manifest)
        key = _key(manifest, env_file)
        new_key = _new_key(key, new_key_from)
        values = _reencrypted(manifest, env_file, key, new_key)
        if key.origin is Origin.ENV_FILE:
            values |= dict.fromkeys(env_file.bindings_of(key.name), new_key)
        text = with_values(env_file, values)
        backup = copy_beside(env_file.path, BACKUP_NAME, _text(env_file))
        rewrite(env_file.path, text, old=_text(env_file))
    return SettingsChangeReport(
        action="rotate-key", path=env_file.path, names=_names(values), backup=backup, restart_needed=True
    )


def _existing(manifest: Manifest) -> EnvFile:
    env_file = read_env_file(manifest.project)
    if not env_file.exists:
        raise ConfigurationError("does not exist", where=str(env_file.path), hint=here("config", "init"))
    return env_file


def _key(manifest: Manifest, env_file: EnvFile) -> Value:
    """The effective encryption key. Raises ConfigurationError when there is none that can be used."""
    value = encryption_key(manifest, effective_values(manifest, None, env_file))
    if value is None:
        name = key_names(manifest)[0]
        raise ConfigurationError(
            f"{name} is not set: secrets are encrypted with it",
            where=str(env_file.path),
            hint=_old_key_needed(name) if _encrypted(env_file) else _fresh_key(name, env_file),
        )
    try:
        fernet_key(value.value)
    except DecryptionError as error:
        place = f"{env_file.path}:{value.line}" if value.line else value.origin.value
        raise ConfigurationError(f"{value.name} cannot be used: {error}", where=place) from None
    return value


def _new_key(key: Value, new_key_from: str | None) -> str:
    if new_key_from is None:
        if key.origin is not Origin.ENV_FILE:
            raise ConfigurationError(
                f"{key.name} comes from the environment, where toombos cannot replace it",
                where="environment",
                hint=f"export NEW_KEY=..., then: {here('config', 'rotate-key', '--new-key-from', 'NEW_KEY')}",
            )
        return secrets.token_urlsafe(_KEY_BYTES)
    new_key = os.environ.get(new_key_from, "")
    if new_key == key.value:
        raise UsageError(f"the new key in {new_key_from} is the same as the old one", where="environment")
    try:
        fernet_key(new_key)
    except DecryptionError as error:
        raise UsageError(f"{new_key_from}: {error}", where="environment") from None
    if not (new_key.isascii() and new_key.isprintable()) or any(c in " \"'#$\\`" for c in new_key):
        raise UsageError(f"{new_key_from} contains spaces, quotes or characters that .env readers disagree about")
    return new_key


def _chosen(manifest: Manifest, env_file: EnvFile, names: Sequence[str], key_name: str) -> list[Binding]:
    wanted = set(names) or {name for name, v in manifest.environment.items() if v.secret}
    for name in names:
        if name == key_name:
            raise UsageError(f"{name} is the encryption key itself and cannot be encrypted")
        if name not in env_file.values:
            guess = nearest(name, env_file.values)
            shown = shown_name(guess, manifest.environment) if guess else ""
            raise UsageError(f".env does not set {name}", hint=f"did you mean {shown}?" if guess else None)
    wanted.discard(key_name)
    return [b for b in env_file.bindings if b.name in wanted and b.value and not is_encrypted(b.value)]


def _fresh_key(name: str, env_file: EnvFile) -> str:
    """Return the command that appends a random key to `.env`, even if its last line has no newline."""
    newline = "" if _text(env_file)[-1:] in ("", "\n", "\r") else "\\n"
    return f"printf '{newline}%s\\n' \"{name}={RANDOM_TEXT}\" >> {shlex.quote(str(env_file.path))}"


def _old_key_needed(name: str) -> str:
    return f"set {name} to the key that they were encrypted with, or enter them again in clear text"


def _encrypted(env_file: EnvFile) -> list[Binding]:
    return [binding for binding in env_file.bindings if binding.value and is_encrypted(binding.value)]


def _reencrypted(manifest: Manifest, env_file: EnvFile, old_key: Value, new_key: str) -> dict[Binding, str]:
    values: dict[Binding, str] = {}
    problems = []
    for binding in _encrypted(env_file):
        try:
            values[binding] = encrypt(decrypt(str(binding.value), old_key.value), new_key)
        except DecryptionError as error:
            name = shown_name(str(binding.name), manifest.environment)
            message, where = f"{name} cannot be decrypted: {error}", f"{env_file.path}:{binding.line}"
            problems.append(Problem(message=message, where=where, hint=_old_key_needed(old_key.name)))
    if problems:
        raise ConfigurationError("values cannot be decrypted", problems=tuple(problems))
    return values


def _counts(env_file: EnvFile, binding: Binding) -> bool:
    return env_file.bindings_of(str(binding.name))[-1] == binding and str(binding.name) in env_file.values


def _text(env_file: EnvFile) -> str:
    return "".join(binding.original for binding in env_file.bindings)


def _names(bindings: "Sequence[Binding] | dict[Binding, str]") -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(binding.name) for binding in bindings))

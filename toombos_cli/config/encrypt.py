"""`config encrypt` and `config rotate-key`: encrypt the secrets in env files, and re-encrypt them with a new key."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from toombos_cli.base import locks
from toombos_cli.base.errors import ConfigurationError, Problem, UsageError
from toombos_cli.base.fixes import here
from toombos_cli.base.quoting import quoted
from toombos_cli.base.spelling import nearest
from toombos_cli.config.reports import SettingsChangeReport
from toombos_cli.config.rewrite import copy_beside, rewrite, with_values
from toombos_cli.manifest.model import Manifest
from toombos_cli.settings.display import shown_name
from toombos_cli.settings.encryption import DecryptionError, decrypt, encrypt, fernet_key, is_encrypted
from toombos_cli.settings.env_file import Binding, EnvFile
from toombos_cli.settings.env_files import EnvFiles, read_env_files
from toombos_cli.settings.strength import RANDOM_TEXT
from toombos_cli.settings.values import Origin, Value, effective_values, encryption_key, key_names

_BACKUP = ".bak"
_KEY_BYTES = 32
_Changes = dict[Path, tuple[EnvFile, dict[Binding, str]]]
_PATIENCE_S = 60.0  # for another toombos that changes env files


def run_encrypt(manifest: Manifest, names: Sequence[str]) -> SettingsChangeReport:
    """Encrypt the named variables in every env file, or each documented secret that is there in clear text.

    No copy of an old file is kept, because it contains the clear text. Raises UsageError for a name that no file
    sets, ConfigurationError if there is no usable key.
    """
    with locks.hold(manifest.project, patience_s=_PATIENCE_S):
        env_files = _existing(manifest)
        key = _key(manifest, env_files)
        _check_names(manifest, env_files, names, key.name)
        wanted = (set(names) or {name for name, v in manifest.environment.items() if v.secret}) - {key.name}
        changes: _Changes = {}
        for file in env_files:
            chosen = [b for b in file.bindings if b.name in wanted and b.value and not is_encrypted(b.value)]
            # A value may refer to others as ${NAME}: encrypt the expanded value, which is what the services get.
            clear = {b: file.values[str(b.name)] if _counts(file, b) else str(b.value) for b in chosen}
            if clear:
                changes[file.path] = file, {binding: encrypt(value, key.value) for binding, value in clear.items()}
        texts = _new_texts(changes)
        for path, (file, _) in changes.items():
            rewrite(path, texts[path], old=_text(file))
    return _report("encrypt", env_files, changes)


def run_rotate_key(manifest: Manifest, *, new_key_from: str | None) -> SettingsChangeReport:
    """Re-encrypt every encrypted value in env files with a new key: a random one, or that of an environment variable.

    A key in an env file is replaced there. A key in the environment must be replaced by its owner, so the new key must
    be given. Each old file is kept as `.env.bak` (0600). Raises ConfigurationError if a value cannot be decrypted;
    then nothing is changed.
    """
    with locks.hold(manifest.project, patience_s=_PATIENCE_S):
        env_files = _existing(manifest)
        key = _key(manifest, env_files)
        new_key = _new_key(key, new_key_from)
        changes = _reencrypted(manifest, env_files, key, new_key)
        if key.path is not None:
            file, values = changes.get(key.path, (env_files.at(key.path), {}))
            changes[key.path] = file, values | dict.fromkeys(file.bindings_of(key.name), new_key)
        texts = _new_texts(changes)
        for path, (file, _) in changes.items():
            copy_beside(path, f"{path.name}{_BACKUP}", _text(file))
        for path, (file, _) in changes.items():
            rewrite(path, texts[path], old=_text(file))
    return _report("rotate-key", env_files, changes)


def _report(action: str, env_files: EnvFiles, changes: _Changes) -> SettingsChangeReport:
    names = dict.fromkeys(str(binding.name) for _, values in changes.values() for binding in values)
    path, *further = changes or (env_files.main.path,)
    rotated = action == "rotate-key" and bool(changes)
    return SettingsChangeReport(
        action=action,
        path=path,
        further=tuple(further),
        names=tuple(names),
        backup=path.resolve().with_name(f"{path.name}{_BACKUP}") if rotated else None,
        restart_needed=rotated,
    )


def _new_texts(changes: _Changes) -> dict[Path, str]:
    """Return the new text of each file. Raises OperationError, before any file is changed, if one cannot be made."""
    return {path: with_values(file, values) for path, (file, values) in changes.items()}


def _existing(manifest: Manifest) -> EnvFiles:
    env_files = read_env_files(manifest)
    if not any(file.exists for file in env_files):
        raise ConfigurationError("does not exist", where=str(env_files.main.path), hint=here("config", "init"))
    return env_files


def _key(manifest: Manifest, env_files: EnvFiles) -> Value:
    """The effective encryption key. Raises ConfigurationError when there is none that can be used."""
    value = encryption_key(manifest, effective_values(manifest, None, env_files))
    if value is None:
        name, main = key_names(manifest)[0], env_files.main
        raise ConfigurationError(
            f"{name} is not set: secrets are encrypted with it",
            where=str(main.path),
            hint=_old_key_needed(name) if any(map(_encrypted, env_files)) else _fresh_key(name, main),
        )
    try:
        fernet_key(value.value)
    except DecryptionError as error:
        place = f"{value.path}:{value.line}" if value.line else value.origin.value
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


def _check_names(manifest: Manifest, env_files: EnvFiles, names: Sequence[str], key_name: str) -> None:
    written = {name for file in env_files for name in file.values}
    for name in names:
        if name == key_name:
            raise UsageError(f"{name} is the encryption key itself and cannot be encrypted")
        if name not in written:
            guess = nearest(name, written)
            shown = shown_name(guess, manifest.environment) if guess else ""
            where = " or ".join(file.label for file in env_files)
            raise UsageError(f"{where} does not set {name}", hint=f"did you mean {shown}?" if guess else None)


def _fresh_key(name: str, env_file: EnvFile) -> str:
    """Return the command that appends a random key to `.env`, even if its last line has no newline."""
    newline = "" if _text(env_file)[-1:] in ("", "\n", "\r") else "\\n"
    return f"printf '{newline}%s\\n' \"{name}={RANDOM_TEXT}\" >> {quoted(env_file.path)}"


def _old_key_needed(name: str) -> str:
    return f"set {name} to the key that they were encrypted with, or enter them again in clear text"


def _encrypted(env_file: EnvFile) -> list[Binding]:
    return [binding for binding in env_file.bindings if binding.value and is_encrypted(binding.value)]


def _reencrypted(manifest: Manifest, env_files: EnvFiles, old_key: Value, new_key: str) -> _Changes:
    changes: _Changes = {}
    problems = []
    for file, binding in [(one, binding) for one in env_files for binding in _encrypted(one)]:
        try:
            new = encrypt(decrypt(str(binding.value), old_key.value), new_key)
            changes.setdefault(file.path, (file, {}))[1][binding] = new
        except DecryptionError as error:
            name = shown_name(str(binding.name), manifest.environment)
            message, where = f"{name} cannot be decrypted: {error}", f"{file.path}:{binding.line}"
            problems.append(Problem(message=message, where=where, hint=_old_key_needed(old_key.name)))
    if problems:
        raise ConfigurationError("values cannot be decrypted", problems=tuple(problems))
    return changes


def _counts(env_file: EnvFile, binding: Binding) -> bool:
    return env_file.bindings_of(str(binding.name))[-1] == binding and str(binding.name) in env_file.values


def _text(env_file: EnvFile) -> str:
    return "".join(binding.original for binding in env_file.bindings)

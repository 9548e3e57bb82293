"""`config init`: a first `.env`, private, in dry-run mode, with fresh random secrets; or a first `toombos.toml`."""

import os
import secrets
import tomllib
from pathlib import Path

from toombos_cli.base.errors import OperationError, RefusedError
from toombos_cli.config.reports import ChangeReport
from toombos_cli.config.template import render_env, safe_mode
from toombos_cli.manifest import FILE_NAME
from toombos_cli.manifest.model import Manifest
from toombos_cli.settings.env_file import ENV_FILE

_SECRET_BYTES = 32


def run_init(manifest: Manifest) -> ChangeReport:
    """Writes `.env` (0600). Raises RefusedError when there is one already, OperationError when it cannot be written."""
    generated = {n: secrets.token_urlsafe(_SECRET_BYTES) for n, v in manifest.environment.items() if v.generate}
    values = safe_mode(manifest) | generated
    path = _create(manifest.project / ENV_FILE, render_env(manifest, values), mode=0o600, hint="toombos config check")
    return ChangeReport(action="init", path=path, names=tuple(values))


def run_init_manifest(directory: Path) -> ChangeReport:
    """Writes a `toombos.toml` to begin with. Raises RefusedError and OperationError as run_init does."""
    text = Path(__file__).with_name("starter.toml").read_text("utf-8")
    path = _create(directory / FILE_NAME, text, mode=0o666, hint="toombos start --preview")
    return ChangeReport(action="init-manifest", path=path, names=tuple(tomllib.loads(text)["services"]))


def _create(path: Path, text: str, *, mode: int, hint: str) -> Path:
    try:
        _write_new(path, text, mode)
    except FileExistsError:
        raise RefusedError(f"{path.name} exists and is never overwritten", where=str(path), hint=hint) from None
    except OSError as error:
        raise OperationError(f"{path.name} cannot be written: {error.strerror}", where=str(path)) from None
    return path


def _write_new(path: Path, text: str, mode: int) -> None:
    """A whole new file or none: linked into place when it is complete. Raises OSError, FileExistsError included."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    finally:
        partial.unlink()

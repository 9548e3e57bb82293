"""`config init`: a first `.env`, private, in dry-run mode, with fresh random secrets."""

import os
import secrets
from pathlib import Path

from toombos_cli.config.reports import ChangeReport
from toombos_cli.config.template import render_env, safe_mode
from toombos_cli.env_file import ENV_FILE
from toombos_cli.errors import OperationError, RefusedError
from toombos_cli.manifest.model import Manifest

_SECRET_BYTES = 32


def run_init(manifest: Manifest) -> ChangeReport:
    """Writes `.env` (0600). Raises RefusedError when there is one already, OperationError when it cannot be written."""
    path = manifest.project / ENV_FILE
    generated = {n: secrets.token_urlsafe(_SECRET_BYTES) for n, v in manifest.environment.items() if v.generate}
    values = safe_mode(manifest) | generated
    text = render_env(manifest, values)
    try:
        _create(path, text)
    except FileExistsError:
        raise RefusedError(
            ".env exists and is never overwritten", where=str(path), hint="toombos config check"
        ) from None
    except OSError as error:
        raise OperationError(f".env cannot be written: {error.strerror}", where=str(path)) from None
    return ChangeReport(action="init", path=path, names=tuple(values))


def _create(path: Path, text: str) -> None:
    """A whole new file or none: linked into place when it is complete. Raises OSError, FileExistsError included."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    finally:
        partial.unlink()

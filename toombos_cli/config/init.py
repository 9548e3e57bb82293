"""`config init`: create a private `.env` in dry-run mode with random secrets, or a first `toombos.toml`."""

import secrets
from pathlib import Path

from toombos_cli.base.errors import OperationError, RefusedError
from toombos_cli.base.files import PRIVATE, create_file
from toombos_cli.base.fixes import here
from toombos_cli.base.untrusted import decode_untrusted_toml
from toombos_cli.config.imports.formats import files_to_take_over
from toombos_cli.config.reports import SettingsChangeReport
from toombos_cli.config.template import render_env, safe_mode
from toombos_cli.manifest import FILE_NAME
from toombos_cli.manifest.model import Manifest
from toombos_cli.settings.env_file import ENV_FILE

_SECRET_BYTES = 32


def run_init(manifest: Manifest) -> SettingsChangeReport:
    """Write `.env` (0600). Raises RefusedError if it already exists, OperationError if it cannot be written."""
    generated = {n: secrets.token_urlsafe(_SECRET_BYTES) for n, v in manifest.environment.items() if v.generate}
    values = safe_mode(manifest) | generated
    path = _create(
        manifest.project / ENV_FILE, render_env(manifest, values), mode=PRIVATE, hint=here("config", "check")
    )
    return SettingsChangeReport(action="init", path=path, names=tuple(values))


def run_init_manifest(directory: Path) -> SettingsChangeReport:
    """Write a first `toombos.toml`. Raises RefusedError and OperationError like run_init."""
    text = Path(__file__).with_name("starter.toml").read_text("utf-8")
    path = _create(directory / FILE_NAME, text, mode=None, hint=here("start", "--preview"))
    names = tuple(decode_untrusted_toml(text)["services"])
    found = files_to_take_over(directory)
    return SettingsChangeReport(action="init-manifest", path=path, names=names, to_take_over=found)


def _create(path: Path, text: str, *, mode: int | None, hint: str) -> Path:
    try:
        create_file(path, text.encode(), mode=mode)
    except FileExistsError:
        raise RefusedError(f"{path.name} exists and is never overwritten", where=str(path), hint=hint) from None
    except OSError as error:
        raise OperationError(f"{path.name} cannot be written: {error.strerror}", where=str(path)) from None
    return path

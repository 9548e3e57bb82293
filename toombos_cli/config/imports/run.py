"""`config init --from FILE`: makes a `toombos.toml`, and a private `.env` for the secrets, from another tool's file."""

import os
from pathlib import Path

from toombos_cli.base.errors import ConfigurationError, OperationError, RefusedError, ToombosError
from toombos_cli.base.files import PRIVATE, create_file, replace_file
from toombos_cli.base.fixes import here
from toombos_cli.base.programs import find_program
from toombos_cli.config.imports.formats import read_system
from toombos_cli.config.imports.secrets import Secrets
from toombos_cli.config.imports.settling import settle
from toombos_cli.config.imports.shell import braced
from toombos_cli.config.imports.writer import render
from toombos_cli.config.reports import ImportReport, MissingProgram, OpenTask
from toombos_cli.manifest import FILE_NAME
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.reading.loader import parse_manifest
from toombos_cli.settings.env_file import ENV_FILE, read_env_file


def run_import(source: Path, directory: Path, *, force: bool) -> ImportReport:
    """Write the manifest of a directory from a foreign file, and `.env` if there is none and secrets were found.

    Raise UsageError and ConfigurationError for the foreign file, RefusedError if there is a manifest that `force` does
    not give up, OperationError if a file cannot be written.
    """
    path = directory / FILE_NAME
    env_file = read_env_file(directory)
    base = os.path.relpath(source.resolve().parent, directory.resolve())
    kind, foreign, system = read_system(source, env_file, braced(base))
    if os.path.lexists(path) and not force:
        hint = here("config", "init", "--from", str(source), "--force")
        raise RefusedError(f"{FILE_NAME} exists and is not overwritten without --force", where=str(path), hint=hint)
    settle(system, foreign)
    secrets = Secrets(env_file=env_file)
    secrets.take(system)
    shown = source.name if base == "." else f"{base}/{source.name}"
    text = render(system, secrets, source=shown)
    manifest = _loaded(text, directory)
    backup = _write(path, text, secrets)
    return ImportReport(
        source=source,
        format=str(kind),
        path=path,
        backup=backup,
        services=tuple(draft.name for draft in system.services.values()),
        left_out=tuple(draft.name for draft in system.services.values() if draft.keys.get("enabled") is False),
        env_file=env_file.path if secrets.new else None,
        secrets=tuple(secrets.new),
        secrets_to_add=tuple(dict.fromkeys(secrets.to_add)),
        env_file_is_open=secrets.is_open(),
        open_tasks=tuple(
            OpenTask(service=d.name, text=todo) for d in system.services.values() for todo in (*d.todo, *d.unsaid)
        ),
        missing_programs=_missing(manifest),
    )


class UnloadableImportError(ToombosError):
    """The manifest that was made cannot be loaded, which is a bug of the import. Nothing was written."""

    exit_code = 70


def _loaded(text: str, directory: Path) -> Manifest:
    try:
        return parse_manifest(text, directory)
    except ConfigurationError as error:
        first = error.problems[0]
        line = (first.where or "").rpartition(":")[2]
        written = text.split("\n")[int(line) - 1].strip() if line.isdecimal() else ""
        raise UnloadableImportError(
            f"a bug in toombos: the manifest it made does not load: {first.message}",
            where=f"line {line} of it: {written}",
            hint="report it, with the part of the file that this line came from",
        ) from None


def _write(path: Path, text: str, secrets: Secrets) -> Path | None:
    """Write both files, the secrets first, and return the copy of the manifest that was replaced, if there was one."""
    env_path = path.with_name(ENV_FILE)
    backup = None
    try:
        if secrets.new:
            create_file(env_path, secrets.text.encode(), mode=PRIVATE)
        if path.exists():
            backup = path.with_name(f"{FILE_NAME}.bak")
            replace_file(backup, path.read_bytes(), durable=True, mode=None)
            replace_file(path, text.encode(), durable=True, mode=None)
        else:
            create_file(path, text.encode(), mode=None)
    except FileExistsError as error:
        raise RefusedError("a file of this name appeared meanwhile", where=str(error.filename2 or path)) from None
    except OSError as error:
        raise OperationError(f"cannot be written: {error.strerror}", where=str(path)) from None
    return backup


def _missing(manifest: Manifest) -> tuple[MissingProgram, ...]:
    return tuple(
        MissingProgram(service=service.name, program=service.command[0])
        for service in manifest.services.values()
        if not _is_there(service.command[0], Path(service.cwd))
    )


def _is_there(program: str, directory: Path) -> bool:
    return os.access(directory / program, os.X_OK) if "/" in program else find_program(program) is not None

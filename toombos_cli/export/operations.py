"""`toombos export`: write the files of an engine, check them, or compare them with those on disk."""

import difflib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from toombos_cli.base.errors import OperationError, RefusedError
from toombos_cli.base.files import PRIVATE, replace_file
from toombos_cli.export import compose, kubernetes, systemd
from toombos_cli.export.build import system_of
from toombos_cli.export.checks import check_files
from toombos_cli.export.model import MARK, Exported, ExportedFile, ExportedSystem, ExportEngine, LeftOut
from toombos_cli.export.reports import ExportReport, FileRow, FileState, ToolCheck
from toombos_cli.export.secret_words import holds
from toombos_cli.manifest.model import Manifest
from toombos_cli.settings.env_files import read_env_files
from toombos_cli.settings.known_secrets import known_secrets

ENGINES: Mapping[ExportEngine, Callable[[ExportedSystem], Exported]] = {
    ExportEngine.SYSTEMD: systemd.export,
    ExportEngine.COMPOSE: compose.export,
    ExportEngine.KUBERNETES: kubernetes.export,
}
_READABLE = 0o644


def default_output(project: Path, engine: ExportEngine) -> Path:
    """Return where the files go unless the user names another directory."""
    return project / "export" / engine


def run_export(
    manifest: Manifest, engine: ExportEngine, *, output: Path | None, check: bool, with_secrets: bool = False
) -> ExportReport:
    """Write the files, or with `check` and without `output` only let the engine's own tools judge them.

    Files that a tool refuses are not written. Raise RefusedError for a file that is not an exported one,
    OperationError, ConfigurationError.
    """
    directory = (output or default_output(manifest.project, engine)).absolute()
    exported, left_out = _export(manifest, engine, directory, with_secrets=with_secrets)
    checks: tuple[ToolCheck, ...] = ()
    if check:
        with tempfile.TemporaryDirectory(prefix="toombos-") as name:
            _write(Path(name), exported.files)
            checks = check_files(engine, Path(name), exported.files)
    only_checked = check and output is None
    report = ExportReport(
        engine=engine,
        output=None if only_checked else directory,
        files=tuple(FileRow(path=file.path, state=FileState.CHECKED) for file in exported.files),
        left_out=left_out,
        checks=checks,
        commands=exported.commands,
    )
    if only_checked or report.exit_code():
        return report
    _refuse_foreign(directory, exported.files)
    return replace(report, files=(*_write(directory, exported.files), *_obsolete(directory, exported.files)))


def run_diff(manifest: Manifest, engine: ExportEngine, directory: Path, *, with_secrets: bool = False) -> ExportReport:
    """Compare what would be exported with the files in a directory; nothing is written. Raise as run_export."""
    directory = directory.absolute()
    exported, left_out = _export(manifest, engine, directory, with_secrets=with_secrets)
    rows = [_compared(directory, file) for file in exported.files]
    differences = {file.path: text for file in exported.files if (text := _difference(directory, file))}
    return ExportReport(
        engine=engine,
        output=directory,
        files=(*rows, *_obsolete(directory, exported.files)),
        left_out=left_out,
        differences=differences,
    )


def _export(
    manifest: Manifest, engine: ExportEngine, directory: Path, *, with_secrets: bool
) -> tuple[Exported, tuple[LeftOut, ...]]:
    system = system_of(manifest, engine, directory, with_secrets=with_secrets)
    exported = ENGINES[engine](system)
    _refuse_leaks(manifest, exported.files)
    return exported, (*system.left_out, *exported.left_out)


def _refuse_leaks(manifest: Manifest, files: tuple[ExportedFile, ...]) -> None:
    """Raise RefusedError if a file holds a known secret, which the way it was made does not allow."""
    for name, value in known_secrets(manifest, read_env_files(manifest), mode=None, environ={}):
        for file in files:
            if not file.private and holds(file.text, value):
                raise RefusedError(
                    f"the value of {name} would stand in {file.path}, so nothing was written",
                    hint=f"write it as a variable in toombos.toml, with its value in .env: {name}=...",
                )


def _write(directory: Path, files: tuple[ExportedFile, ...]) -> list[FileRow]:
    rows = []
    try:
        for file in files:
            path = directory / file.path
            same = _text_of(path) == file.text
            if not same:
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, file.text.encode(), durable=True, mode=PRIVATE if file.private else _READABLE)
            rows.append(FileRow(path=file.path, state=FileState.UNCHANGED if same else FileState.WRITTEN))
    except OSError as error:
        raise OperationError(
            f"the files cannot be written: {error.strerror}", where=str(error.filename or directory)
        ) from None
    return rows


def _refuse_foreign(directory: Path, files: tuple[ExportedFile, ...]) -> None:
    for file in files:
        if os.path.lexists(directory / file.path) and MARK not in (_text_of(directory / file.path) or ""):
            raise RefusedError(
                "is not a file that toombos exported, and is not overwritten",
                where=str(directory / file.path),
                hint="give another directory with --output",
            )


def _obsolete(directory: Path, files: tuple[ExportedFile, ...]) -> list[FileRow]:
    """Return the exported files of earlier times that the manifest no longer gives; nothing removes them."""
    now = {directory / file.path for file in files}
    if not directory.is_dir():
        return []
    present = (path for path in sorted(directory.rglob("*")) if path.is_file() and path not in now)
    obsolete = [path for path in present if MARK in (_text_of(path) or "")]
    return [FileRow(path=str(path.relative_to(directory)), state=FileState.OBSOLETE) for path in obsolete]


def _compared(directory: Path, file: ExportedFile) -> FileRow:
    text = _text_of(directory / file.path)
    if text is None:
        return FileRow(path=file.path, state=FileState.MISSING)
    return FileRow(path=file.path, state=FileState.UNCHANGED if text == file.text else FileState.DIFFERS)


def _difference(directory: Path, file: ExportedFile) -> str:
    text = _text_of(directory / file.path)
    if text is None or file.private:
        return ""
    before, after = text.splitlines(keepends=True), file.text.splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, f"{file.path} (on disk)", file.path))


def _text_of(path: Path) -> str | None:
    """Return the text of a file, or None if there is no such file of text."""
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError):
        return None

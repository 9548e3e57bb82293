"""The env files of a system: `.env` and the `env_files` of its manifest, and those of single services."""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toombos_cli.base.fixes import advice, command
from toombos_cli.base.trust import NotTrustedError
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.env_files import OPTIONAL
from toombos_cli.manifest.tables.service import Service
from toombos_cli.settings.env_file import ENV_FILE, EnvFile, UnreadableEnvFileError, label_of, read_env_file, read_one


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFiles:
    """The files that services get variables from, weakest first. `own` are those of single services, by name."""

    shared: tuple[EnvFile, ...]
    own: Mapping[str, tuple[EnvFile, ...]] = field(default_factory=dict)

    def of(self, service: Service | None) -> tuple[EnvFile, ...]:
        """Return the files of one service, weakest first; for None, those that all services share."""
        return (*self.shared, *self.own.get(service.name, ())) if service else self.shared

    @property
    def main(self) -> EnvFile:
        """The project's `.env`."""
        return next(file for file in self.shared if file.label == ENV_FILE)

    def __iter__(self) -> Iterator[EnvFile]:
        """Yield every file once: `.env` first, then as the manifest names them."""
        files = (self.main, *self.shared, *(file for own in self.own.values() for file in own))
        yield from {file.path: file for file in reversed(files)}.values().__reversed__()

    def at(self, path: Path | None) -> EnvFile:
        """Return the file with this path; `.env` if there is none."""
        return next((file for file in self if file.path == path), self.main)

    def readers(self, file: EnvFile) -> tuple[str, ...]:
        """Return the services that alone read a file; () if all services do."""
        if any(file.path == shared.path for shared in self.shared):
            return ()
        return tuple(name for name, files in self.own.items() if any(file.path == own.path for own in files))


def read_env_files(manifest: Manifest) -> EnvFiles:
    """Return the env files of a system. Raises as `read_one`, and UnreadableEnvFileError for a missing one."""
    return _LayerReader(manifest.project, {}).files(manifest)


def read_what_can_be(manifest: Manifest) -> tuple[EnvFiles, Mapping[Path, UnreadableEnvFileError]]:
    """Return the env files, empty if they cannot be read, and the error of each of those."""
    failed: dict[Path, UnreadableEnvFileError] = {}
    return _LayerReader(manifest.project, failed, lenient=True).files(manifest), failed


def env_file_paths(manifest: Manifest) -> tuple[Path, ...]:
    """Return the path of every file that the manifest reads besides `.env`, whether it exists or not."""
    names = [*manifest.env_files, *(name for service in manifest.services.values() for name in service.env_files)]
    paths = dict.fromkeys(_path(manifest.project, name) for name in names)
    return tuple(path for path in paths if path != manifest.project / ENV_FILE)


def digest(env_files: EnvFiles) -> str:
    """Return a hash of the files' contents, which shows whether one of them has changed; "" if there is none."""
    contents = []
    for file in env_files:
        with contextlib.suppress(OSError):
            contents.append((file.label, hashlib.sha256(file.path.read_bytes()).hexdigest()))
    if len(contents) == 1 and contents[0][0] == ENV_FILE:
        return contents[0][1]
    return hashlib.sha256(repr(contents).encode()).hexdigest() if contents else ""


@dataclass(frozen=True, slots=True)
class _LayerReader:
    """Reads files in layers. `failed` gets the errors, which are raised unless `lenient`."""

    project: Path
    failed: dict[Path, UnreadableEnvFileError]
    lenient: bool = False

    def files(self, manifest: Manifest) -> EnvFiles:
        names = manifest.env_files
        if not any(_path(self.project, name) == self.project / ENV_FILE for name in names):
            names = (ENV_FILE, *names)
        shared = self._layers(names, {})
        below = _values(shared)
        own = {
            name: self._layers(service.env_files, below)
            for name, service in manifest.services.items()
            if service.env_files
        }
        return EnvFiles(shared=shared, own=own)

    def _layers(self, names: Iterable[str], below: Mapping[str, str]) -> tuple[EnvFile, ...]:
        files: list[EnvFile] = []
        for name in names:
            files.append(self._read(name, {**below, **_values(files)}))
        return tuple(files)

    def _read(self, name: str, below: Mapping[str, str]) -> EnvFile:
        path = _path(self.project, name)
        try:
            if path == self.project / ENV_FILE and not below:
                return read_env_file(self.project)
            file = read_one(self.project, path, below=below)
            if not (file.exists or name.endswith(OPTIONAL) or file.label == ENV_FILE):
                raise _missing(path, name)
        except UnreadableEnvFileError as error:
            if not self.lenient:
                raise
            self.failed[path] = error
            return EnvFile(path=path, label=label_of(self.project, path), values={}, lines={})
        except NotTrustedError as error:
            if not self.lenient:
                raise
            fix = command("chmod", "600", str(path), safe=True)
            self.failed[path] = UnreadableEnvFileError(str(error), path, fix)
            return EnvFile(path=path, label=label_of(self.project, path), values={}, lines={})
        return file


def _values(files: Iterable[EnvFile]) -> dict[str, str]:
    return {name: value for file in files for name, value in file.values.items()}


def _path(project: Path, name: str) -> Path:
    return project / name.removesuffix(OPTIONAL)


def _missing(path: Path, name: str) -> UnreadableEnvFileError:
    """Return the error for a missing file, with the most similar name beside it, or how to make it optional."""
    from toombos_cli.base.spelling import nearest

    try:
        beside = [other.name for other in path.parent.iterdir() if not other.name.startswith(ENV_FILE)]
        guess = nearest(path.name, beside)
    except OSError:
        guess = None
    fix = advice(f'create it, or write "{name}{OPTIONAL}" in toombos.toml if it may be missing')
    if guess is not None:
        fix = advice(f"did you mean {path.with_name(guess)}?")
    return UnreadableEnvFileError("does not exist, but env_files names it", path, fix)

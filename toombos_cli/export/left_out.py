"""What the files of an engine leave out, of all that the manifest and the env files say, each with its reason."""

from collections.abc import Iterator

import msgspec

from toombos_cli.export.fates import SECTIONS, SERVICE, Left
from toombos_cli.export.model import ExportedService, ExportEngine, LeftOut
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import DEFAULTS, Limits, RestartTable, Service
from toombos_cli.settings.encryption import is_encrypted
from toombos_cli.settings.env_file import Binding
from toombos_cli.settings.env_files import EnvFiles

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_ACT_UNWRITTEN = ("logs", "backup")
"""Sections that count even if they are not written."""


def left_out_of(
    manifest: Manifest, engine: ExportEngine, services: tuple[ExportedService, ...], env_files: EnvFiles
) -> Iterator[LeftOut]:
    """Yield what is left out: sections, keys, conditions of probes, addresses, and variables of env files."""
    yield from _sections(manifest, engine)
    for service in services:
        yield from _keys(manifest.services[service.name], engine)
        yield from _probes(service, engine)
        yield from _addresses(service, engine)
    yield from _values(env_files, engine)


def _sections(manifest: Manifest, engine: ExportEngine) -> Iterator[LeftOut]:
    for field in msgspec.structs.fields(Manifest):
        fate = SECTIONS[field.name].of(engine) if field.name in SECTIONS else None
        default = (
            field.default_factory() if field.default is msgspec.NODEFAULT and not field.required else field.default
        )
        says_something = getattr(manifest, field.name) != default or field.name in _ACT_UNWRITTEN
        if isinstance(fate, Left) and says_something:
            yield LeftOut(what=field.name, reason=fate.reason)


def _keys(service: Service, engine: ExportEngine) -> Iterator[LeftOut]:
    for key in _set_keys(service):
        fate = SERVICE[key].of(engine)
        if isinstance(fate, Left):
            yield LeftOut(what=f"services.{service.name}.{key}", reason=fate.reason)


def _set_keys(service: Service) -> Iterator[str]:
    """Yield the keys of a service that differ from their defaults, those of the tables inside on their own."""
    for key, default in DEFAULTS.items():
        value = getattr(service, key)
        if value == default:
            continue
        if isinstance(value, RestartTable | Limits):
            for field in msgspec.structs.fields(type(value)):
                inner = getattr(value, field.name)
                if inner != field.default:
                    yield f"{key}.{field.name}"
        else:
            yield key


def _probes(service: ExportedService, engine: ExportEngine) -> Iterator[LeftOut]:
    if engine is ExportEngine.SYSTEMD:
        return  # toombos itself asks
    seen = set()
    for question, probe in service.probes.items():
        if getattr(service.service, question) is None or probe is None:
            continue
        for key, reason in probe.lost:
            what = f"services.{service.name}.{key if key == 'health_answer' else f'{question}.{key}'}"
            if what not in seen:
                seen.add(what)
                yield LeftOut(what=what, reason=reason)


def _addresses(service: ExportedService, engine: ExportEngine) -> Iterator[LeftOut]:
    """Yield the texts of a container that name this machine: inside, it is the container itself."""
    if engine is ExportEngine.SYSTEMD:
        return
    reason = "it names this machine, which in a container is the container itself: write {host} or {services.NAME.host}"
    texts = {"command": " ".join(service.service.command)}
    texts |= {f"env.{name}": value for name, value in service.settings.items()}
    texts |= {f"default_env.{name}": value for name, value in service.defaults.items()}
    for key, text in texts.items():
        if any(place in text for place in _LOOPBACK):
            yield LeftOut(what=f"services.{service.name}.{key}", reason=reason)


def _values(env_files: EnvFiles, engine: ExportEngine) -> Iterator[LeftOut]:
    """Yield the variables of the env files that an engine reads in another way, without their values."""
    for file in env_files:
        for binding in file.bindings:
            reason = _read_otherwise(binding, engine) if binding.name and binding.value else ""
            if reason:
                yield LeftOut(what=f"{file.label}: {binding.name}", reason=reason)


def _read_otherwise(binding: Binding, engine: ExportEngine) -> str:
    """Return how an engine reads an assignment that toombos reads in another way, "" if both read the same."""
    value, written = binding.value or "", binding.text.partition("=")[2].strip()
    is_quoted = written[:1] in ("'", '"') and written.endswith(written[0])
    if is_encrypted(value):
        return "it is encrypted, and only toombos decrypts it: the service gets the `enc:` text"
    if "${" in value and engine is not ExportEngine.COMPOSE:
        return "it uses ${...}, which the engine does not fill in: write the value"
    if binding.text.startswith("export ") and engine is not ExportEngine.COMPOSE:
        return "the engine does not read a line that begins with export: remove that word"
    if engine is ExportEngine.KUBERNETES and written != value:
        return "kubectl reads the rest of the line as it is: write the value without quotes, escapes and comments"
    if engine is ExportEngine.SYSTEMD and written != value and not is_quoted:
        return "systemd reads a comment behind a value as a part of it: put the comment on a line of its own"
    if engine is not ExportEngine.SYSTEMD and any(place in value for place in _LOOPBACK):
        return "it names this machine, which in a container is the container itself"
    return ""

"""`config show`: every setting with its value, masked if it may be a secret, and its origin."""

from collections.abc import Iterator
from dataclasses import replace

from toombos_cli.config.reports import ShownValue, ShowReport
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import Service
from toombos_cli.settings.databases import CONVENTIONAL_NAME
from toombos_cli.settings.display import shown_manifest_value, shown_name, shown_value
from toombos_cli.settings.env_files import EnvFiles, read_env_files
from toombos_cli.settings.values import Origin, Value, effective_values, shared_values

_OWN = (Origin.SERVICE, Origin.MANIFEST, Origin.ENV_FILE)


def run_show(manifest: Manifest, *, service: str | None, mode: str | None) -> ShowReport:
    """Return the documented settings and everything else that the env files set, for one service or as shared by all.

    A variable that a service's own table or file sets has a row for that service too. Raises ConfigurationError when
    an env file cannot be read.
    """
    env_files = read_env_files(manifest)
    if service is None:
        values = shared_values(manifest, env_files, mode=mode)
        names = list(manifest.environment)
    else:
        values = effective_values(manifest, manifest.services[service], env_files, mode=mode)
        used = (name for name, v in manifest.environment.items() if not v.used_by or service in v.used_by)
        names = list(
            dict.fromkeys(
                (
                    *used,
                    *manifest.services[service].env,
                    *manifest.services[service].default_env,
                    *manifest.mode_env(mode),
                )
            )
        )
    files = env_files.of(manifest.services[service] if service else None)
    names += [name for file in files for name in file.values if name not in {*manifest.environment, *names}]
    names = list(dict.fromkeys(names))
    asked = manifest.services[service] if service else None
    shown = [_shown(manifest, env_files, name, values.get(name), asked) for name in names]
    if service is None:
        shown += _own(manifest, env_files, mode, {*names, CONVENTIONAL_NAME})
    return ShowReport(env_file=env_files.main.path, service=service, mode=mode, values=tuple(shown))


def _own(manifest: Manifest, env_files: EnvFiles, mode: str | None, names: set[str]) -> Iterator[ShownValue]:
    """Yield what single services are given by their own tables and files, except host and port."""
    shared = shared_values(manifest, env_files, mode=mode)
    bound = {name for name, variable in manifest.environment.items() if variable.role in ("bind_host", "bind_port")}
    for service in manifest.services.values():
        values = effective_values(manifest, service, env_files, mode=mode)
        in_files = {name for file in env_files.own.get(service.name, ()) for name in file.values}
        for name in sorted(values.keys() & (names | in_files) - bound):
            if values[name].origin in _OWN and values[name] != shared.get(name):
                yield replace(_shown(manifest, env_files, name, values[name], service), service=service.name)


def _shown(
    manifest: Manifest, env_files: EnvFiles, name: str, value: Value | None, service: Service | None = None
) -> ShownValue:
    variable = manifest.environment.get(name)
    setting = [file for file in env_files.of(service) if name in file.values]
    if value is not None and value.path is not None:
        setting = setting[: max(i for i, file in enumerate(setting) if file.path == value.path)]
    beaten = setting[-1] if setting and value and value.origin not in (Origin.MANIFEST, Origin.DEFAULT) else None
    by_manifest = value is not None and value.origin in (Origin.MODE, Origin.SERVICE, Origin.MANIFEST)
    show = shown_manifest_value if by_manifest else shown_value
    return ShownValue(
        name=shown_name(name, manifest.environment),
        value=None if value is None else show(name, value.value, variable),
        source="unset" if value is None else value.source(env_files),
        line=None if value is None else value.line,
        secret=variable is None or variable.secret,
        overrides_file=beaten.label if beaten else None,
        overrides_line=beaten.lines[name] if beaten else None,
    )

"""`config show`: every setting with its value, masked if it may be a secret, and its origin."""

from collections.abc import Iterator
from dataclasses import replace

from toombos_cli.config.reports import ShownValue, ShowReport
from toombos_cli.manifest.model import Manifest
from toombos_cli.settings.databases import CONVENTIONAL_NAME
from toombos_cli.settings.display import shown_manifest_value, shown_name, shown_value
from toombos_cli.settings.env_file import EnvFile
from toombos_cli.settings.values import Origin, Value, effective_values, read_env_file, shared_values


def run_show(manifest: Manifest, *, service: str | None, mode: str | None) -> ShowReport:
    """Return the documented settings and everything else that `.env` sets, for one service or as shared by all.

    A variable that a service's own table sets has a row for that service too. Raises ConfigurationError when `.env`
    cannot be read.
    """
    env_file = read_env_file(manifest.project)
    if service is None:
        values = shared_values(manifest, env_file, mode=mode)
        names = list(manifest.environment)
    else:
        values = effective_values(manifest, manifest.services[service], env_file, mode=mode)
        used = (name for name, v in manifest.environment.items() if not v.used_by or service in v.used_by)
        names = list(dict.fromkeys((*used, *manifest.services[service].env, *manifest.services[service].default_env)))
    names += [name for name in env_file.values if name not in manifest.environment and name not in names]
    shown = [_shown(manifest, env_file, name, values.get(name)) for name in names]
    if service is None:
        shown += _own(manifest, env_file, mode, {*names, CONVENTIONAL_NAME})
    return ShowReport(env_file=env_file.path, service=service, mode=mode, values=tuple(shown))


def _own(manifest: Manifest, env_file: EnvFile, mode: str | None, names: set[str]) -> Iterator[ShownValue]:
    """What single services are given by their own tables, without host and port, which every service has its own of."""
    shared = shared_values(manifest, env_file, mode=mode)
    bound = {name for name, variable in manifest.environment.items() if variable.role in ("bind_host", "bind_port")}
    for service in manifest.services.values():
        values = effective_values(manifest, service, env_file, mode=mode)
        for name in sorted(values.keys() & names - bound):
            if values[name].origin in (Origin.SERVICE, Origin.MANIFEST) and values[name] != shared.get(name):
                yield replace(_shown(manifest, env_file, name, values[name]), service=service.name)


def _shown(manifest: Manifest, env_file: EnvFile, name: str, value: Value | None) -> ShownValue:
    variable = manifest.environment.get(name)
    beaten = value is not None and value.origin in (Origin.MODE, Origin.SERVICE, Origin.ENVIRONMENT)
    by_manifest = value is not None and value.origin in (Origin.MODE, Origin.SERVICE, Origin.MANIFEST)
    show = shown_manifest_value if by_manifest else shown_value
    return ShownValue(
        name=shown_name(name, manifest.environment),
        value=None if value is None else show(name, value.value, variable),
        source="unset" if value is None else value.origin.value,
        line=None if value is None else value.line,
        secret=variable is None or variable.secret,
        overrides_line=env_file.lines.get(name) if beaten else None,
    )

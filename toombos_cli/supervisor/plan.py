"""Turns manifest, env files, environment and mode into the plan that the supervisor carries out."""

import hashlib
from collections.abc import Mapping

from toombos_cli.base.own_records import encode_own
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.expectations import ProbeSetting
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.mode import asks_for_dry_run
from toombos_cli.project.state import EnvFileStamp
from toombos_cli.settings.env_files import EnvFiles, digest, read_env_files
from toombos_cli.settings.values import Origin, Value, decrypted, effective_values
from toombos_cli.supervisor.protocol import ServicePlan, SystemPlan


def build_plan(manifest: Manifest, *, mode: str | None) -> SystemPlan:
    """Return the plan for every service of the manifest. Raises ConfigurationError for an unreadable env file."""
    env_files = read_env_files(manifest)
    services = {
        name: _plan_service(manifest, service, env_files, mode=mode) for name, service in manifest.services.items()
    }
    return SystemPlan(
        mode=mode,
        dry_run=all(planned.dry_run for planned in services.values()),
        env_file=stamp(env_files),
        logs=manifest.logs,
        services=services,
    )


def stamp(env_files: EnvFiles) -> EnvFileStamp:
    """Return the stamp of the env files, which shows later whether one of them has changed."""
    path = env_files.main.path
    try:
        mtime_ns = path.stat().st_mtime_ns
    except OSError:
        mtime_ns = 0
    return EnvFileStamp(path=str(path), mtime_ns=mtime_ns, sha256=digest(env_files))


def _plan_service(manifest: Manifest, service: Service, env_files: EnvFiles, *, mode: str | None) -> ServicePlan:
    values = effective_values(manifest, service, env_files, mode=mode)
    environment = {name: v.value for name, v in values.items() if v.origin is not Origin.DEFAULT}
    # Without it, the last output of a Python service that dies would be lost in its buffer.
    environment.setdefault("PYTHONUNBUFFERED", "1")
    # The rest of the environment differs between terminals and does not configure the service.
    known = manifest.environment
    configured = {name: v.value for name, v in values.items() if v.origin is not Origin.ENVIRONMENT or name in known}
    fingerprint = hashlib.sha256(encode_own((service, sorted(configured.items())))).hexdigest()[:16]
    dry_run = asks_for_dry_run(manifest, values, mode)
    return ServicePlan(
        service=service,
        environment=environment,
        fingerprint=fingerprint,
        dry_run=dry_run,
        setting=_probe_setting(manifest, service, values),
    )


def _probe_setting(manifest: Manifest, service: Service, values: Mapping[str, Value]) -> ProbeSetting:
    """Return the variables in clear for a service whose probes use some."""
    if not service.needs_variables:
        return ProbeSetting()
    clear = decrypted(manifest, values).values
    return ProbeSetting(values=dict(clear), may_leave=service.host in manifest.load.allowed_targets)

"""Turns manifest, `.env`, environment and mode into the plan that the supervisor carries out."""

import hashlib
from collections.abc import Mapping

from toombos_cli.base.own_records import encode_own
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.expectations import ProbeSetting
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.mode import asks_for_dry_run
from toombos_cli.project.state import EnvFileStamp
from toombos_cli.settings.env_file import EnvFile, read_env_file
from toombos_cli.settings.values import Origin, Value, decrypted, effective_values
from toombos_cli.supervisor.protocol import ServicePlan, SystemPlan


def build_plan(manifest: Manifest, *, mode: str | None) -> SystemPlan:
    """Return the plan for every service of the manifest. Raises ConfigurationError for an unreadable `.env`."""
    env_file = read_env_file(manifest.project)
    services = {
        name: _plan_service(manifest, service, env_file, mode=mode) for name, service in manifest.services.items()
    }
    return SystemPlan(
        mode=mode,
        dry_run=all(planned.dry_run for planned in services.values()),
        env_file=stamp(env_file),
        logs=manifest.logs,
        services=services,
    )


def stamp(env_file: EnvFile) -> EnvFileStamp:
    """Return the stamp of `.env`, which shows later whether it has changed."""
    try:
        return EnvFileStamp(
            path=str(env_file.path),
            mtime_ns=env_file.path.stat().st_mtime_ns,
            sha256=hashlib.sha256(env_file.path.read_bytes()).hexdigest(),
        )
    except OSError:
        return EnvFileStamp(path=str(env_file.path), mtime_ns=0, sha256="")


def _plan_service(manifest: Manifest, service: Service, env_file: EnvFile, *, mode: str | None) -> ServicePlan:
    values = effective_values(manifest, service, env_file, mode=mode)
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

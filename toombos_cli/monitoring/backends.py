"""How monitoring can run on this machine, as native programs or as containers, and what is missing for either."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from toombos_cli.base.errors import OperationError
from toombos_cli.base.files import replace_file
from toombos_cli.base.plain_files import read_plain
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import Service
from toombos_cli.monitoring.compose import IMAGES
from toombos_cli.monitoring.files import COMPOSE_FILE, directory_of

_ENGINE_TIMEOUT_S = 10.0
_COMPOSE_TIMEOUT_S = 600.0  # the first `up` pulls images
_PACKAGES = {
    "prometheus": "prometheus",
    "alertmanager": "prometheus-alertmanager",
    "host": "prometheus-node-exporter",
    "grafana": "grafana",
}


class BackendKind(StrEnum):
    """The ways to run monitoring."""

    NATIVE = "native"
    COMPOSE = "compose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A monitoring service that cannot run here, and the command that installs it."""

    service: str
    reason: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """The chosen way and the reason for it, the services that run this way, and those that cannot run."""

    kind: BackendKind
    reason: str
    contained: tuple[str, ...]
    supervised: tuple[str, ...]
    missing: tuple[Missing, ...]


def choose_backend(manifest: Manifest) -> Backend:
    """Return the way the manifest asks for; with `auto`, containers if an engine is available, else native programs.

    The alert receiver is always a native, supervised process. Raise OperationError, with the command that installs
    what is missing, if Prometheus cannot run at all.
    """
    wanted = manifest.monitoring.backend
    engine = None if wanted == "native" else engine_problem()
    if wanted == "compose" and engine is not None:
        raise OperationError(f"containers cannot be used: {engine}", hint="toombos monitoring up --backend native")
    if wanted != "native" and engine is None:
        services = [service.name for service in monitoring_services(manifest)]
        return Backend(
            kind=BackendKind.COMPOSE,
            reason="a container engine is available" if wanted == "auto" else "as requested",
            contained=tuple(name for name in services if name in IMAGES),
            supervised=tuple(name for name in services if name not in IMAGES),
            missing=(),
        )
    missing = missing_natively(manifest)
    absent = {item.service for item in missing}
    if "prometheus" in absent:
        others = f", and containers cannot be used: {engine}" if engine else ""
        command = manifest.services["prometheus"].command[0]
        raise OperationError(
            f"Prometheus is not installed ({command} was not found){others}",
            hint=f"apt-get install {' '.join(_PACKAGES[name] for name in ('prometheus', 'alertmanager', 'host'))}",
        )
    return Backend(
        kind=BackendKind.NATIVE,
        reason="as requested" if wanted == "native" else f"native programs are installed, and {engine}",
        contained=(),
        supervised=tuple(service.name for service in monitoring_services(manifest) if service.name not in absent),
        missing=missing,
    )


def engine_problem() -> str | None:
    """Return why no container engine with `compose` can be used here, or None if one is available."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    for argv, problem in (
        (("docker", "version", "--format", "{{.Server.Version}}"), "no docker engine responds"),
        (("docker", "compose", "version"), "docker has no compose plugin"),
    ):
        try:
            done = subprocess.run(argv, capture_output=True, timeout=_ENGINE_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            return problem
        if done.returncode != 0:
            return problem
    return None


def compose(project: Path, *arguments: str) -> str:
    """Run `docker compose ARGUMENTS` on the generated file and return its output. Raise OperationError."""
    argv = _compose_argv(project, arguments)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_COMPOSE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OperationError(f"docker compose could not be run: {error}") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise OperationError(f"docker compose {arguments[0]} failed: {last}", hint=" ".join(argv))
    return done.stdout


def compose_lines(project: Path, *arguments: str) -> Iterator[str]:
    """Yield the lines of `docker compose ARGUMENTS` as they are printed. Raise OperationError."""
    argv = _compose_argv(project, arguments)
    try:
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as running:
            try:
                for line in running.stdout or ():
                    yield line.rstrip("\n")
            finally:
                running.terminate()
    except OSError as error:
        raise OperationError(f"docker compose could not be run: {error}") from None


def _compose_argv(project: Path, arguments: tuple[str, ...]) -> tuple[str, ...]:
    return ("docker", "compose", "--file", str(directory_of(project) / COMPOSE_FILE), *arguments)


def remember(project: Path, kind: BackendKind) -> None:
    """Notes which way `up` took, for `down`, `logs` and `reload`."""
    replace_file(directory_of(project) / "backend", kind.value.encode(), durable=True)


def remembered(project: Path) -> BackendKind:
    """Return the way the last `up` used, or NATIVE if there was none."""
    try:
        return BackendKind(read_plain(directory_of(project) / "backend").decode())
    except (OSError, ValueError):
        return BackendKind.NATIVE


def monitoring_services(manifest: Manifest) -> tuple[Service, ...]:
    """Return the manifest's services with the role `monitoring`, in its order."""
    return tuple(service for service in manifest.services.values() if service.role == "monitoring")


def missing_natively(manifest: Manifest) -> tuple[Missing, ...]:
    """Return the monitoring services whose programs are not installed on this machine."""
    return tuple(_missing(service) for service in monitoring_services(manifest) if not _is_installed(service))


def _is_installed(service: Service) -> bool:
    return shutil.which(service.command[0], path=service.env.get("PATH")) is not None


def _missing(service: Service) -> Missing:
    program, package = service.command[0], _PACKAGES.get(service.name)
    hint = f"apt-get install {package}" if package else f"install {program}"
    if service.name == "grafana":
        hint += "  # from Grafana's own package repository: Debian has none"
    return Missing(service=service.name, reason=f"{program} is not installed", hint=hint)

"""`start --plan`: what would be started, in which order and how, without starting it."""

from dataclasses import dataclass
from typing import ClassVar

from toombos_cli.base.results import Report, Verdict
from toombos_cli.manifest.model import DRY_RUN, Manifest
from toombos_cli.settings.display import shown_manifest_value
from toombos_cli.settings.env_file import read_env_file
from toombos_cli.settings.values import Origin, effective_values
from toombos_cli.supervisor.operations import present_state
from toombos_cli.supervisor.ordering import default_names, with_dependencies
from toombos_cli.supervisor.plan import is_dry_run

_SHOWN = (Origin.MODE, Origin.SERVICE, Origin.MANIFEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedService:
    """One service as it would be started. `environment` is what toombos itself sets, not what it passes on.

    `pid` is its process where it runs already: `start` then leaves it alone.
    """

    name: str
    command: tuple[str, ...]
    cwd: str
    host: str
    port: int | None
    log: str
    depends_on: dict[str, str]
    environment: dict[str, str]
    pid: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport(Report):
    """The services in start order."""

    kind: ClassVar[str] = "plan"
    asked_for: ClassVar[bool] = True

    services: tuple[PlannedService, ...]
    dry_run: bool
    mode: str
    """`dry-run` or `live`; "" for a system that knows no dry run."""

    @property
    def verdict(self) -> Verdict:
        """SKIP when there is nothing to start; a plan that cannot be made is an error."""
        return Verdict.PASS if self.services else Verdict.SKIP


def run_plan(manifest: Manifest, names: tuple[str, ...], *, dry_run: bool) -> PlanReport:
    """The plan of a start of these services (none named: all that are not optional) and their dependencies.

    The mode is that of the system where it runs already, as for `run_start`. Raises ConfigurationError for an
    unreadable `.env`, OperationError when the supervisor does not answer.
    """
    env_file = read_env_file(manifest.project)
    before = present_state(manifest.project)
    pids = {name: state.pid for name, state in before.services.items() if state.pid} if before else {}
    mode = DRY_RUN if dry_run else (before.mode if before and pids else None)
    planned = []
    for name in with_dependencies(manifest.services, names or default_names(manifest.services)):
        service = manifest.services[name]
        values = effective_values(manifest, service, env_file, mode=mode)
        planned.append(
            PlannedService(
                name=name,
                command=service.command,
                cwd=service.cwd,
                host=service.host,
                port=service.port or None,
                log=service.log,
                depends_on=dict(service.depends_on),
                environment={
                    key: shown_manifest_value(key, v.value, manifest.environment.get(key))
                    for key, v in values.items()
                    if v.origin in _SHOWN
                },
                pid=pids.get(name),
            )
        )
    dry = is_dry_run(manifest, env_file, mode=mode)
    said = "" if DRY_RUN not in manifest.modes else "dry-run" if dry else "live"
    return PlanReport(services=tuple(planned), dry_run=dry, mode=said)

"""`start --preview`: what would be started, how and in which order, and what prevents it, without starting it."""

from dataclasses import dataclass
from typing import ClassVar

from toombos_cli.base.errors import Problem
from toombos_cli.base.results import Report, Verdict
from toombos_cli.manifest.model import DRY_RUN, Manifest
from toombos_cli.project.mode import asks_for_dry_run
from toombos_cli.settings.display import shown_manifest_value
from toombos_cli.settings.env_files import read_env_files
from toombos_cli.settings.values import Origin, effective_values
from toombos_cli.supervisor.ordering import default_names, with_dependencies
from toombos_cli.supervisor.plan import build_plan
from toombos_cli.supervisor.protocol import ServiceFailure
from toombos_cli.supervisor.reports import FailureRow
from toombos_cli.supervisor.running_system import mode_to_join, other_spellings, present_state
from toombos_cli.supervisor.spawning import failures_of

_SHOWN = (Origin.MODE, Origin.SERVICE, Origin.USER, Origin.MANIFEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewedService:
    """One service as it would be started. `environment` is what toombos itself sets, not what it passes on.
    `run` is when a task runs, None for a service.

    `pid` is its process if it already runs: `start` then leaves it alone.
    """

    name: str
    kind: str
    run: str | None
    command: tuple[str, ...]
    cwd: str
    host: str
    port: int | None
    log: str
    depends_on: dict[str, str]
    environment: dict[str, str]
    pid: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPreview(Report):
    """The services in start order. `failures` is what is known beforehand to prevent the start: nothing would run."""

    kind: ClassVar[str] = "start_preview"
    asked_for: ClassVar[bool] = True

    services: tuple[PreviewedService, ...]
    dry_run: bool
    """Whether every service would be asked to run dry."""
    mode: str | None
    mode_text: str
    failures: tuple[FailureRow, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """FAIL if nothing could be started, SKIP if there is nothing to start."""
        return Verdict.FAIL if self.failures else Verdict.PASS if self.services else Verdict.SKIP

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What prevents the start."""
        return tuple(failure.problem for failure in self.failures)


def preview_start(manifest: Manifest, names: tuple[str, ...], *, mode: str | None) -> StartPreview:
    """Return what a start of these services (no names: all that are not optional) would start, with dependencies.

    If the system already runs, the mode is that of the system. Raises as `run_start`.
    """
    env_files = read_env_files(manifest)
    before = present_state(manifest.project, manifest.services)
    pids = {name: state.pid for name, state in before.services.items() if state.pid} if before else {}
    mode = mode_to_join(manifest, before, mode)
    plan = build_plan(manifest, mode=mode)
    previewed: list[PreviewedService] = []
    failures: list[ServiceFailure] = []
    dry_run = True
    for name in with_dependencies(manifest.services, names or default_names(manifest.services)):
        service = manifest.services[name]
        if name not in pids:
            failures += failures_of(plan.services[name])
        values = effective_values(manifest, service, env_files, mode=mode)
        dry_run = dry_run and asks_for_dry_run(manifest, values, mode)
        previewed.append(
            PreviewedService(
                name=name,
                kind=service.kind,
                run=service.run if service.is_task else None,
                command=service.command,
                cwd=service.cwd,
                host=service.host,
                port=service.port or None,
                log=service.log,
                depends_on={other: service.waits_for(other) for other in service.depends_on},
                environment={
                    key: shown_manifest_value(key, v.value, manifest.environment.get(key))
                    for key, v in values.items()
                    if v.origin in _SHOWN
                },
                pid=pids.get(name),
            )
        )
    asked = DRY_RUN if dry_run else mode
    text = f"mode {asked}" if asked else "live mode" if DRY_RUN in manifest.modes else ""
    return StartPreview(
        services=tuple(previewed),
        dry_run=dry_run,
        mode=mode,
        mode_text=text,
        failures=tuple(map(FailureRow.of, failures)),
        notes=other_spellings(manifest),
    )

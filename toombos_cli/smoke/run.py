"""The smoke test: waits for the services, runs one or several rounds, and sums them up."""

import time
from collections.abc import Mapping

from toombos_cli.base.errors import RefusedError
from toombos_cli.base.locks import hold_alone
from toombos_cli.base.redaction import Redactor, secrets_of
from toombos_cli.base.results import WRONG, Verdict
from toombos_cli.manifest.model import DRY_RUN, Manifest
from toombos_cli.project.ready_wait import wait_until_ready
from toombos_cli.project.service_probe import settings_of
from toombos_cli.smoke.egress import refuse_to_send_variables_elsewhere
from toombos_cli.smoke.permission import refuse_to_write_at_a_place
from toombos_cli.smoke.plan import SmokePlan
from toombos_cli.smoke.report import FlakyStep, SmokeReport, StepResult
from toombos_cli.smoke.round import Notify, Round
from toombos_cli.smoke.schema import Contract
from toombos_cli.smoke.sockets import SocketWatch
from toombos_cli.smoke.system import TestedSystem


def run_smoke(
    manifest: Manifest,
    plan: SmokePlan,
    *,
    environment: Mapping[str, Mapping[str, str]],
    allow_live: bool = False,
    rounds: int = 1,
    wait_s: float = 0.0,
    deep: bool = False,
    notify: Notify = lambda result: None,
) -> SmokeReport:
    """Run the plan's steps `rounds` times, after waiting at most `wait_s` seconds until all services are ready.

    `deep` then fuzzes each service that has an OpenAPI document. `environment` maps service names to variables; the
    secrets among them never appear in the output. Raises LockedError while another smoke test of the project runs, and
    RefusedError before anything is written to a system that does not say that it is in dry-run mode, or to a place that
    does not allow it, or a variable is sent to another machine.
    """
    started = time.monotonic()
    system = TestedSystem(
        project=manifest.project,
        services=manifest.services,
        environment=environment,
        has_dry_run=DRY_RUN in manifest.modes,
        allowed_targets=manifest.load.allowed_targets,
        settings=settings_of(manifest, manifest.services),
        place=manifest.source.place,
        may_write=manifest.place is None or manifest.place.writes,
    )
    taken = manifest.smoke if deep else (*plan.proofs, *plan.steps)
    refuse_to_send_variables_elsewhere(manifest, taken, environment)
    refuse_to_write_at_a_place(manifest, plan, allow_live=allow_live)
    redactor = _redactor(manifest, environment)
    services = (manifest.services[name] for name in plan.services)
    wait_until_ready(manifest, [service for service in services if not service.optional], wait_s)
    looked_at = (step.service for step in plan.steps if step.loopback_only and manifest.services[step.service].is_here)
    watched = {name: manifest.services[name] for name in looked_at}
    contracts: dict[str, Contract] = {}
    results: list[tuple[StepResult, ...]] = []
    left_behind: dict[str, None] = {}
    with hold_alone(manifest.project / "run" / "smoke.lock", "smoke test"), SocketWatch(watched) as sockets:
        for _ in range(rounds):
            one = Round(
                system,
                plan,
                sockets=sockets,
                contracts=contracts,
                notify=lambda result: notify(redactor.value(result)),
            )
            try:
                steps, left = one.run(allow_live=allow_live)
            except RefusedError as error:
                error.problems = redactor.value(error.problems)
                raise
            results.append(redactor.value(steps))
            left_behind |= dict.fromkeys(redactor.value(left))
        if deep:
            fuzzed = _fuzz(manifest, environment, one.proven)
            results = [steps + redactor.value(fuzzed) for steps in results]
    return SmokeReport(
        place=manifest.source.place,
        steps=_worst_of_each(results),
        rounds=rounds,
        failed_rounds=sum(any(step.verdict in WRONG for step in steps) for steps in results),
        flaky=_flaky(results),
        left_behind=tuple(left_behind),
        duration_s=round(time.monotonic() - started, 3),
    )


def _fuzz(
    manifest: Manifest, environment: Mapping[str, Mapping[str, str]], proven: frozenset[str]
) -> tuple[StepResult, ...]:
    from toombos_cli.smoke.deep import PREFIX, run_deep

    why_not = "writes, and has not said that it is in dry-run mode"
    return tuple(
        run_deep(service, manifest.smoke, environment[service.name])
        if service.name in proven
        else StepResult(name=PREFIX + service.name, service=service.name, verdict=Verdict.SKIP, detail=why_not)
        for service in manifest.services.values()
        if service.openapi is not None
    )


def _worst_of_each(results: list[tuple[StepResult, ...]]) -> tuple[StepResult, ...]:
    """Return each step's first failure, or its result in the last round."""
    return tuple(
        next((step for step in same if step.verdict in WRONG), same[-1]) for same in zip(*results, strict=True)
    )


def _flaky(results: list[tuple[StepResult, ...]]) -> tuple[FlakyStep, ...]:
    """Return the steps that passed in some rounds and failed in others."""
    flaky = []
    for same in zip(*results, strict=True):
        failed = sum(step.verdict in WRONG for step in same)
        passed = sum(step.verdict in (Verdict.PASS, Verdict.WARN) for step in same)
        if failed and passed:
            ratio = round(failed / (failed + passed), 4)
            flaky.append(FlakyStep(name=same[0].name, passed=passed, failed=failed, failure_ratio=ratio))
    return tuple(flaky)


def _redactor(manifest: Manifest, environment: Mapping[str, Mapping[str, str]]) -> Redactor:
    declared = {name for name, variable in manifest.environment.items() if variable.secret}
    known = {(n, v) for values in environment.values() for n, v in values.items() if n in declared}
    return Redactor(sorted(known.union(*map(secrets_of, environment.values()))))

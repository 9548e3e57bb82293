"""One round of the smoke test: the health of the services, the proof of dry-run mode, then the steps in order."""

import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from toombos_cli.base.errors import RefusedError
from toombos_cli.base.fixes import toombos
from toombos_cli.base.results import Verdict
from toombos_cli.base.time_limits import TimeIsUpError
from toombos_cli.manifest.tables.service import Service
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.probes import Reason, health_verdict
from toombos_cli.probes.health import NOTHING
from toombos_cli.probes.steps.variables import RUN_ID, MissingVariableError
from toombos_cli.project.own_processes import last_state
from toombos_cli.project.own_requests import OwnRequests
from toombos_cli.project.port_owner import refused_listeners
from toombos_cli.project.service_probe import probe_service, why_left_out
from toombos_cli.smoke.cleanup import Cleanups
from toombos_cli.smoke.counters import UnreadableCounterError
from toombos_cli.smoke.egress import variables_sent
from toombos_cli.smoke.exchange import Exchanges
from toombos_cli.smoke.plan import HEALTH, SmokePlan
from toombos_cli.smoke.report import StepResult
from toombos_cli.smoke.schema import Contract
from toombos_cli.smoke.sockets import SocketWatch
from toombos_cli.smoke.system import TestedSystem

Notify = Callable[[StepResult], None]


def _how_to_go_on(system: TestedSystem) -> str:
    at = ("--at", system.place) if system.place else ()
    live = toombos(system.project, "smoke", *at, "--allow-live")
    if system.place or not system.has_dry_run:
        return f"{live}   (runs the read-only steps)"
    stop, start = toombos(system.project, "stop"), toombos(system.project, "start", "--dry-run")
    return f"{stop} && {start}   (or: {live}, for the read-only steps)"


class Round:
    """The state of one round. A step that cannot run is skipped with a reason."""

    def __init__(
        self,
        system: TestedSystem,
        plan: SmokePlan,
        *,
        sockets: SocketWatch,
        contracts: dict[str, Contract],
        notify: Notify,
    ) -> None:
        self._system = system
        self._plan = plan
        self._sockets = sockets
        self._notify = notify
        self._unhealthy: dict[str, str] = {}
        self._unknown: set[str] = set()
        self._proven: set[str] = set()
        self._exchanges = Exchanges(
            system,
            (*plan.proofs, *plan.steps),
            contracts=contracts,
            request_id=OwnRequests.of(system.project).new_id("smoke"),
            run_id={RUN_ID: secrets.token_hex(6)},
        )
        self._results: list[StepResult] = []

    @property
    def proven(self) -> frozenset[str]:
        """The services that have said that they are in dry-run mode, and may be written to."""
        return frozenset(self._proven) if self._system.may_write else frozenset()

    def run(self, *, allow_live: bool) -> tuple[tuple[StepResult, ...], tuple[str, ...]]:
        """Return the results in order, and what was left behind. Raises RefusedError for a system that is live."""
        services, receiving = self._system.services, self._receiving()
        asked = {name: services[name] for name in (*self._plan.services, *receiving)}
        taken = refused_listeners(self._system.project, asked, receiving)
        for name, service in asked.items():
            if name in taken:
                self._done(self._no_request_to(service, taken[name]))
            elif name in self._plan.services:
                self._done(self._check_health(service))
        for step in self._plan.proofs:
            self._done(self._prove(step, allow_live=allow_live))
        healthy = tuple(step for step in self._plan.steps if step.service not in self._unhealthy)
        # It sends requests, which an unhealthy service would delay.
        cleanups = Cleanups(healthy, self._exchanges.known)
        try:
            for step in self._plan.steps:
                self._done(self._take(step, cleanups))
        finally:
            left_behind = cleanups.run()
        return tuple(self._results), left_behind

    def _receiving(self) -> frozenset[str]:
        """Return the services that get variables of the environment, also those of which only a counter is read."""
        steps = (*self._plan.proofs, *self._plan.steps)
        sent = [variables_sent(step, self._system.services, self._system.environment) for step in steps]
        return frozenset(name for each in sent for name, variables in each.items() if variables)

    def _prove(self, step: SmokeStep, *, allow_live: bool) -> StepResult:
        """Check that the service says that it is in dry-run mode. A service that responds otherwise counts as live."""
        result = self._take(step)
        if step.name in self._exchanges.fulfilled:
            self._proven.add(step.service)
        elif result.got and allow_live:
            return replace(result, verdict=Verdict.WARN, detail="not in dry-run mode: only read-only steps are run")
        elif result.got and any(s.is_writing for s in self._plan.steps):
            raise RefusedError(
                f"{step.service} does not say that it is in dry-run mode: expected {result.expected}, "
                f"got {result.got}; nothing was sent to it",
                where=result.request,
                hint=_how_to_go_on(self._system),
            )
        return result

    def _done(self, result: StepResult) -> None:
        self._results.append(result)
        self._notify(result)

    def _no_request_to(self, service: Service, complaint: str) -> StepResult:
        """Return a failure, and skip the steps: they might send a key to the stranger."""
        self._unhealthy[service.name] = "not healthy"
        return StepResult(
            name=HEALTH + service.name,
            service=service.name,
            verdict=Verdict.FAIL,
            expected="healthy",
            got=f"{Reason.WRONG_OWNER}: {complaint}",
        )

    def _check_health(self, service: Service) -> StepResult:
        setting = self._system.settings.get(service.name, NOTHING)
        started = time.monotonic()
        result = probe_service(service, self._system.project, setting=setting)
        took_ms = (time.monotonic() - started) * 1000
        state = last_state(self._system.project, self._system.services) if service.optional else None
        if result.reason is Reason.NOT_KNOWN:
            self._unknown.add(service.name)
        why_not = why_left_out(service, result, state) if result.reason is not Reason.NOT_KNOWN else result.detail
        verdict = health_verdict(result.reason, result.cause) if why_not is None else Verdict.SKIP
        if verdict not in (Verdict.PASS, Verdict.WARN):
            self._unhealthy[service.name] = "not healthy" if why_not is None else "not started"
        wrong = verdict in (Verdict.FAIL, Verdict.ERROR)
        return StepResult(
            name=HEALTH + service.name,
            service=service.name,
            verdict=verdict,
            duration_ms=round(result.latency_ms or took_ms, 3),
            request=_health_request(service),
            expected="healthy" if wrong else "",
            got=f"{result.reason}: {result.detail}" if wrong else "",
            detail=why_not or ("" if wrong else result.detail),
        )

    def _take(self, step: SmokeStep, cleanups: Cleanups | None = None) -> StepResult:
        """Run one step and return its result; every expected error becomes a result."""
        why_not = self._obstacle(step)
        if why_not:
            return StepResult(name=step.name, service=step.service, verdict=Verdict.SKIP, detail=why_not)
        started = time.monotonic()
        try:
            result = self._isolation(step) if step.loopback_only else self._exchanges.take(step, cleanups)
        except MissingVariableError as missing:
            detail = f"needs ${{{missing.name}}}, which no step has captured"
            return StepResult(name=step.name, service=step.service, verdict=Verdict.SKIP, detail=detail)
        except (UnreadableCounterError, ValueError) as error:
            result = StepResult(name=step.name, service=step.service, verdict=Verdict.ERROR, detail=str(error))
        except TimeIsUpError:
            detail = "its conditions could not be judged in time: is a regular expression or a JSON path too slow?"
            result = StepResult(name=step.name, service=step.service, verdict=Verdict.ERROR, detail=detail)
        return replace(result, duration_ms=round((time.monotonic() - started) * 1000, 3))

    def _obstacle(self, step: SmokeStep) -> str:
        """Return why the step is skipped, or "" if it is not."""
        environment = self._system.environment.get(step.service, {})
        if step.if_set and not environment.get(step.if_set):
            return f"applies only if {step.if_set} is set"
        if step.if_unset and environment.get(step.if_unset):
            return f"applies only if {step.if_unset} is not set"
        needed = dict.fromkeys((step.service, *(counter.service for counter in step.counters)))
        if unknown := [name for name in needed if name in self._unknown]:
            return f"{' and '.join(unknown)} cannot be asked from here"
        if step.loopback_only and self._system.place:
            return "not known here: the sockets of another place cannot be seen"
        if unhealthy := [f"{name} is {self._unhealthy[name]}" for name in needed if name in self._unhealthy]:
            return " and ".join(unhealthy)
        if step.is_writing and not self._system.may_write:
            return f"writes, and the place {self._system.place} does not allow it"
        if step.is_writing and step.service not in self._proven:
            if not any(proof.service == step.service for proof in self._plan.proofs):
                return f"writes, and no step with proves_dry_run checks {step.service} (or: writes = false)"
            return f"writes, and {step.service} has not said that it is in dry-run mode"
        return ""

    def _isolation(self, step: SmokeStep) -> StepResult:
        outside, unseen = self._sockets.outside(step.service), self._sockets.unseen(step.service)
        base = StepResult(
            name=step.name, service=step.service, verdict=Verdict.PASS, request=f"sockets of {step.service}"
        )
        if unseen:
            return replace(
                base, verdict=Verdict.ERROR, detail=f"the sockets of {step.service} cannot be seen: {unseen}"
            )
        expected = "no socket beyond this machine"
        if outside:
            return replace(base, verdict=Verdict.FAIL, expected=expected, got=", ".join(outside))
        return replace(base, expected=expected)


def _health_request(service: Service) -> str:
    expectation = service.expectation("health")
    if expectation.command:
        return f"run {expectation.command[0]}"
    if not service.listens:
        return "look for its process"
    if service.scheme == "tcp":
        return f"connect {service.url}"
    return f"{expectation.method} {service.place}{expectation.path}"

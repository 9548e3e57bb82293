"""Selects, orders and checks the steps of the smoke test before the first request is sent."""

from dataclasses import dataclass

from toombos_cli.base.errors import ConfigurationError, Problem, UsageError
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.smoke.variables import ENVIRONMENT, RUN_ID, used_by

HEALTH = "health-"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokePlan:
    """The steps to run: first the health of `services`, then the steps that prove dry-run mode, then the rest."""

    services: tuple[str, ...]
    proofs: tuple[SmokeStep, ...]
    steps: tuple[SmokeStep, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all steps, in order."""
        return *(HEALTH + name for name in self.services), *(step.name for step in (*self.proofs, *self.steps))


def make_plan(manifest: Manifest, only: tuple[str, ...] = ()) -> SmokePlan:
    """Return the manifest's steps, or the steps named in `only` and the steps that they need.

    Raises ConfigurationError for steps that cannot work, UsageError for an unknown name in `only`.
    """
    _check(manifest)
    steps = manifest.smoke
    plan = SmokePlan(
        services=tuple(manifest.services),
        proofs=tuple(step for step in steps if step.proves_dry_run),
        steps=tuple(step for step in steps if not step.proves_dry_run),
    )
    if not only:
        return plan
    for name in only:
        if name not in plan.names:
            raise UsageError(
                f"no smoke step is named {name!r}",
                hint=did_you_mean(name, plan.names, f"steps: {', '.join(plan.names)}"),
            )
    wanted = _with_needs(steps, only)
    services = {step.service for step in wanted}
    return SmokePlan(
        services=tuple(s for s in plan.services if s in services or HEALTH + s in only),
        proofs=tuple(
            s for s in plan.proofs if s in wanted or any(w.is_writing and w.service == s.service for w in wanted)
        ),
        steps=tuple(step for step in plan.steps if step in wanted),
    )


def _with_needs(steps: tuple[SmokeStep, ...], only: tuple[str, ...]) -> list[SmokeStep]:
    """Return the named steps and, recursively, the steps whose captures they use."""
    capturing = {name: step for step in steps for name in step.capture}
    wanted: list[SmokeStep] = []
    pending = [step for step in steps if step.name in only]
    while pending:
        step = pending.pop()
        if step not in wanted:
            wanted.append(step)
            pending += [capturing[name] for name in used_by(step) if name in capturing]
    return wanted


def _check(manifest: Manifest) -> None:
    problems: list[Problem] = []
    where = str(manifest.source.path) if manifest.source.path else "toombos.toml (packaged)"
    captured: set[str] = set()
    names: set[str] = set()

    def complain(message: str, wrong: str, known: tuple[str, ...]) -> None:
        problems.append(Problem(message=message, where=where, hint=did_you_mean(wrong, known)))

    for step in manifest.smoke:
        if step.name in names:
            problems.append(Problem(message=f"two smoke steps are named {step.name!r}", where=where))
        names.add(step.name)
        for service in (step.service, *(counter.service for counter in step.counters)):
            if service not in manifest.services:
                message = f"smoke step {step.name}: no service is named {service!r}"
                complain(message, service, tuple(manifest.services))
        available = captured | (step.capture.keys() if step.cleanup else set())
        for name in used_by(step):
            if name != RUN_ID and not name.startswith(ENVIRONMENT) and name not in available:
                complain(f"smoke step {step.name}: no earlier step captures ${{{name}}}", name, tuple(available))
        captured |= step.capture.keys()
    if problems:
        raise ConfigurationError("the smoke steps are invalid", problems=tuple(problems))

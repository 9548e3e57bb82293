"""Selects, orders and checks the steps of the smoke test before the first request is sent."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from toombos_cli.base.errors import ConfigurationError, Problem, UsageError
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import Service
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.probes.steps.variables import is_fixed, used_before, used_by

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
    check_steps(manifest)
    steps = manifest.smoke
    plan = SmokePlan(
        services=tuple(name for name, service in manifest.services.items() if not service.is_task),
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
    """Return the named steps and, recursively, the steps whose captures they use: for each, the last one before it."""
    ordered = in_order(steps)
    wanted: list[SmokeStep] = []
    pending = [step for step in ordered if step.name in only]
    while pending:
        step = pending.pop()
        if step not in wanted:
            wanted.append(step)
            earlier = ordered[: ordered.index(step)]
            for name in used_by(step):
                pending += [other for other in earlier if name in other.capture][-1:]
    return wanted


def in_order(steps: tuple[SmokeStep, ...]) -> list[SmokeStep]:
    """Return the steps in the order in which they run: first those that prove dry-run mode."""
    return sorted(steps, key=lambda step: not step.proves_dry_run)


def check_steps(manifest: Manifest) -> None:
    """Check that every step can work with what those before it capture.

    Raises ConfigurationError with each mistake and its line.
    """
    problems: list[Problem] = []
    captured: set[str] = set()
    names: set[str] = set()
    for step in in_order(manifest.smoke):
        found = list(_complaints(step, manifest, captured))
        if step.name in names:
            found.append(Problem(message=f"two smoke steps are named {step.name!r}"))
        names.add(step.name)
        problems += [replace(problem, where=_place(manifest, step)) for problem in found]
        captured |= step.capture.keys()
    if problems:
        raise ConfigurationError("the smoke steps are invalid", problems=tuple(problems))


def _complaints(step: SmokeStep, manifest: Manifest, captured: set[str]) -> Iterator[Problem]:
    """Yield what is wrong with a step after others have captured these names."""
    for service in (step.service, *(counter.service for counter in step.counters)):
        if service not in manifest.services:
            hint = did_you_mean(service, tuple(manifest.services))
            yield Problem(message=f"smoke step {step.name}: no service is named {service!r}", hint=hint)
    before = set(used_before(step))
    for name in used_by(step):
        available = captured if name in before else captured | step.capture.keys()
        if not is_fixed(name) and name not in available:
            hint = did_you_mean(name, tuple(available))
            yield Problem(message=f"smoke step {step.name}: no earlier step captures ${{{name}}}", hint=hint)
    if step.service in manifest.services and (complaint := _misfit(step, manifest.services[step.service])):
        yield Problem(message=f"smoke step {step.name}: {complaint}")


def _place(manifest: Manifest, step: SmokeStep) -> str:
    """Return the file, and the line of the step's table in it."""
    from toombos_cli.manifest.reading.layers import packaged_layers, read_layers

    layers = read_layers(manifest.source.path) if manifest.source.path else packaged_layers()
    for layer in layers:
        tables = layer.tree.get("smoke", [])
        line = next((layer.lines.get(("smoke", i)) for i, t in enumerate(tables) if t.get("name") == step.name), None)
        if line is not None:
            return f"{layer.label}:{line}"
    return layers[0].label


def _misfit(step: SmokeStep, service: Service) -> str:
    """Return why the step cannot be sent to a service of this kind, or ""."""
    if step.path and service.scheme == "tcp":
        return f"{service.name} has scheme = 'tcp', so it has no paths: use send and expect"
    if step.is_conversation and service.scheme != "tcp":
        return f"send and expect are for services with scheme = 'tcp', and {service.name} speaks {service.scheme}"
    return ""

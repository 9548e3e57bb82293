"""Python modules and packages: whether every service's module can be found, and whether package versions agree."""

import os
import sys
from collections.abc import Iterator
from functools import partial

import msgspec

from toombos_cli.base.executables import executable_of, why_not_run
from toombos_cli.diagnose.facts.interpreters import find_module, hook_in, is_interpreter, search_of
from toombos_cli.diagnose.facts.source import Fact, Facts


class ModuleFound(msgspec.Struct, frozen=True, kw_only=True):
    """A module that a service is started with; `origin` is "" if its interpreter does not find it.

    `problem` says why the interpreter cannot be run, `unknown` why it is not known where it looks.
    """

    service: str
    interpreter: str
    module: str
    origin: str = ""
    problem: str = ""
    unknown: str = ""


class PackageProblem(msgspec.Struct, frozen=True, kw_only=True):
    """A requirement that is not met; `found` is None if the package is missing."""

    package: str
    needs: str
    found: str | None


class PackageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The modules of services that are started as `python -m MODULE`, and the packages of toombos' own interpreter."""

    interpreter: str
    version: str
    modules: tuple[ModuleFound, ...] = ()
    problems: tuple[PackageProblem, ...] = ()
    checked: int = 0
    python_path: str = ""


def _gather(facts: Facts) -> PackageFacts:
    problems, checked = _check_packages()
    return PackageFacts(
        interpreter=sys.executable,
        version=sys.version.split()[0],
        modules=tuple(_find_modules(facts)),
        problems=tuple(problems),
        checked=checked,
        python_path=os.environ.get("PYTHONPATH", ""),
    )


def _find_modules(facts: Facts) -> Iterator[ModuleFound]:
    """Yield the modules of all services that an interpreter is started with. Runs nothing."""
    for service in facts.manifest.services.values():
        command = service.command
        if "-m" not in command or service.optional or not is_interpreter(command):
            continue
        at = command.index("-m")
        module = command[at + 1] if at + 1 < len(command) else ""
        environment = os.environ | service.env
        found = partial(ModuleFound, service=service.name, interpreter=command[0], module=module)
        flaw = why_not_run(command[0], directory=service.cwd, path=environment.get("PATH"))
        program = executable_of(command[0], directory=service.cwd, path=environment.get("PATH"))
        if flaw or program is None:
            yield found(problem=f"{command[0]} {flaw.why if flaw else 'was not found'}")
            continue
        program = os.path.normpath(os.path.join(service.cwd, program))  # noqa: PTH118  (normpath takes a str)
        search = search_of(program, command[1:at], service.cwd, environment.get("PYTHONPATH", ""))
        origin = find_module(module, search.path)
        hook = "" if origin else hook_in(search.path)
        yield found(origin=origin, unknown=search.unknown or (f"{hook} may add modules when it is run" if hook else ""))


def _check_packages() -> tuple[list[PackageProblem], int]:
    """Return what `pip check` would report about toombos' requirements, direct or not, and how many were checked."""
    from importlib.metadata import PackageNotFoundError, distribution

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    problems: list[PackageProblem] = []
    seen: set[str] = set()
    pending = [("toombos", Requirement("toombos"))]
    while pending:
        wanted_by, requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            problems.append(PackageProblem(package=wanted_by, needs=str(requirement), found=None))
            continue
        if not requirement.specifier.contains(found.version, prereleases=True):
            problems.append(PackageProblem(package=wanted_by, needs=str(requirement), found=found.version))
        if name in seen:
            continue
        seen.add(name)
        for text in found.requires or ():
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                pending.append((name, needed))
    return problems, len(seen)


PACKAGES: Fact[PackageFacts] = Fact("packages", PackageFacts, _gather)

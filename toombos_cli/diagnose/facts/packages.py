"""Python modules and packages: whether every service's module can be found, and whether package versions agree."""

import os
import subprocess
import sys
from collections.abc import Iterator

import msgspec

from toombos_cli.diagnose.facts.source import Fact, Facts
from toombos_cli.manifest.tables.service import Service

_TIMEOUT_S = 2.5
_FIND = """
import sys, importlib.util
for name in sys.argv[1:]:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:
        found = None
    print(name, (found.origin or "namespace") if found else "-", sep="\\t")
"""


class ModuleFound(msgspec.Struct, frozen=True, kw_only=True):
    """A module that a service is started with; `origin` is "" if its interpreter does not find it."""

    service: str
    interpreter: str
    module: str
    origin: str = ""
    problem: str = ""


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
    """Yield the modules of all services. Runs each interpreter once per directory."""
    groups: dict[tuple[tuple[str, ...], str], list[tuple[Service, str]]] = {}
    for service in facts.manifest.services.values():
        if "-m" in service.command and not service.optional:
            at = service.command.index("-m")
            module = service.command[at + 1] if at + 1 < len(service.command) else ""
            groups.setdefault((service.command[:at], service.cwd), []).append((service, module))
    for (interpreter, directory), members in groups.items():
        origins, problem = _ask(interpreter, directory, [module for _, module in members])
        for service, module in members:
            yield ModuleFound(
                service=service.name,
                interpreter=interpreter[0],
                module=module,
                origin=origins.get(module, "").removeprefix("-"),
                problem=problem,
            )


def _ask(interpreter: tuple[str, ...], directory: str, modules: list[str]) -> tuple[dict[str, str], str]:
    try:
        done = subprocess.run(
            [*interpreter, "-c", _FIND, *modules],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {}, f"{interpreter[0]} cannot be run: {getattr(error, 'strerror', None) or 'it did not end in time'}"
    rows = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    return {row[0]: row[1] for row in rows}, "" if done.returncode == 0 else f"{interpreter[0]} ended with an error"


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

"""Whether the interpreters find the services' modules and packages."""

from collections.abc import Iterator

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import Fix, advice, command
from toombos_cli.diagnose.facts.packages import PACKAGES
from toombos_cli.diagnose.facts.source import Facts

_GROUP = "python"


def path(facts: Facts) -> Iterator[Finding]:
    """The interpreter of each service can be run; PYTHONPATH is mentioned if it is set."""
    found = facts.get(PACKAGES)
    for problem in dict.fromkeys(module.problem for module in found.modules if module.problem):
        services = ", ".join(m.service for m in found.modules if m.problem == problem)
        yield fail(
            f"{problem} ({services})",
            Evidence(source=found.interpreter, text="the interpreter of toombos"),
            cause="the service cannot be started",
            fix=advice("name an existing interpreter in [services.NAME] command of toombos.toml, or use {python}"),
        )
    yield ok(f"Python {found.version} at {found.interpreter}" + (", PYTHONPATH is set" if found.python_path else ""))


def modules(facts: Facts) -> Iterator[Finding]:
    """The module that each service is started with can be found from its directory."""
    found = facts.get(PACKAGES).modules
    if not found:
        yield skip("no service is started as python -m MODULE")
    for module in found:
        if module.unknown:
            yield skip(f"{module.service}: {module.unknown}")
        elif not module.origin and not module.problem:
            yield fail(
                f"{module.service}: {module.interpreter} finds no module {module.module}",
                Evidence(source=module.interpreter, text=f"import {module.module}"),
                service=module.service,
                cause="the package is not installed there, or the service's cwd or PYTHONPATH is wrong",
                fix=advice(
                    "install it with that interpreter (pip install -e .), "
                    f"or correct cwd in [services.{module.service}]"
                ),
            )


def missing(facts: Facts) -> Iterator[Finding]:
    """Every package that is required is installed."""
    found = facts.get(PACKAGES)
    absent = [problem for problem in found.problems if problem.found is None]
    for problem in absent:
        yield fail(
            f"{problem.package} needs {problem.needs}, which is not installed",
            Evidence(source=found.interpreter, text=problem.needs),
            cause="code that imports it fails",
            fix=_install(found.interpreter, problem.needs),
        )
    if not absent:
        yield ok(f"{found.checked} packages are installed")


def versions(facts: Facts) -> Iterator[Finding]:
    """Installed versions meet the requirements (as `pip check` does)."""
    found = facts.get(PACKAGES)
    for problem in found.problems:
        if problem.found is not None:
            yield warn(
                f"{problem.package} needs {problem.needs}, but {problem.found} is installed",
                Evidence(source=found.interpreter, text=problem.needs),
                cause="it may fail because the versions differ",
                fix=_install(found.interpreter, problem.needs),
            )


def _install(interpreter: str, requirement: str) -> Fix:
    return command(interpreter, "-m", "pip", "install", requirement.partition(";")[0].strip())


CHECKS = (
    Check(id="py.path", title="interpreters can be run", group=_GROUP, run=path),
    Check(id="py.import", title="services' modules are found", group=_GROUP, run=modules, follows=("py.path",)),
    Check(id="deps.missing", title="required packages are installed", group=_GROUP, run=missing),
    Check(id="deps.check", title="packages are compatible", group=_GROUP, run=versions, follows=("deps.missing",)),
)

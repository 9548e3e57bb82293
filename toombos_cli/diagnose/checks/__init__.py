"""All checks, causes before symptoms: a finding can be explained only by an earlier check."""

from collections.abc import Iterator

from toombos_cli.base.findings import Check
from toombos_cli.diagnose.checks import (
    access,
    certificates,
    clocks,
    configuration,
    data,
    database,
    health,
    kernel,
    logs,
    monitoring,
    names,
    network,
    places,
    ports,
    processes,
    python,
    readiness,
    redis,
    resources,
    supervision,
)
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.diagnose.plugins import registered

_ENTRY_POINTS = "toombos.checks"

CHECKS: tuple[Check[Facts], ...] = (
    *configuration.CHECKS,
    *resources.CHECKS,
    *clocks.CHECKS,
    *places.CHECKS,
    *python.CHECKS,
    *names.CHECKS,
    *database.CHECKS,
    *redis.CHECKS,
    *supervision.CHECKS,
    *kernel.CHECKS,
    *ports.CHECKS,
    *kernel.ENVIRONMENT,
    *processes.CHECKS,
    *certificates.CHECKS,
    *network.CHECKS,
    *health.STATUS,
    *readiness.CHECKS,
    *health.SPEED,
    *logs.CHECKS,
    *access.CHECKS,
    *data.CHECKS,
    *monitoring.CHECKS,
)


def all_checks() -> tuple[tuple[Check[Facts], ...], tuple[str, ...]]:
    """Return the built-in checks and those of other packages, and the problems of those that cannot be loaded.

    Other packages register a Check or a tuple of them in the entry point group `toombos.checks`.
    """
    found, problems = list(CHECKS), []
    for entry in registered(_ENTRY_POINTS):
        try:
            added = tuple(_checks_of(entry.load()))
        except Exception as error:  # a broken plug-in must not stop the built-in checks
            problems.append(f"{entry.value}: {type(error).__name__}")
            continue
        known = {check.id for check in found}
        problems += [f"{entry.value}: the id {check.id} is taken" for check in added if check.id in known]
        found += [check for check in added if check.id not in known]
    return tuple(found), tuple(problems)


def _checks_of(loaded: object) -> Iterator[Check[Facts]]:
    for item in loaded if isinstance(loaded, tuple | list) else (loaded,):
        if not isinstance(item, Check):
            raise TypeError(type(item).__name__)
        yield item

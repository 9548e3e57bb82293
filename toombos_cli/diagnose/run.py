"""Gathers the facts, runs the checks, and finds the root causes."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from toombos_cli.base.errors import UsageError
from toombos_cli.base.findings import Check, Finding
from toombos_cli.base.fixes import here
from toombos_cli.base.redaction import Redactor
from toombos_cli.base.results import Verdict
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.diagnose.checks import all_checks
from toombos_cli.diagnose.checks.at_place import as_known_here
from toombos_cli.diagnose.facts import FACTS, SETTINGS
from toombos_cli.diagnose.facts.source import Facts, FactUnavailableError, LiveFacts
from toombos_cli.diagnose.report import DiagnoseReport
from toombos_cli.diagnose.roots import fold, root_findings
from toombos_cli.diagnose.silence import SILENCE_ID, silenced, unknown_silences
from toombos_cli.manifest.model import Manifest

_GUIDES = ("docs/dry-run-guide.md", "docs/monitoring-runbook.md")


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingFilter:
    """What to show: `only` names groups and ids, `services` services; () means all."""

    only: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The report, and the facts it is based on."""

    report: DiagnoseReport
    facts: Facts
    redactor: Redactor


def run_diagnose(manifest: Manifest, *, searched_from: Path, selection: FindingFilter = FindingFilter()) -> Diagnosis:
    """Diagnose the system that runs here. Raise UsageError for an unknown group or id."""
    checks, problems = all_checks()
    if manifest.place is not None:
        checks = as_known_here(checks)
    wanted = chosen(checks, selection.only)
    facts = LiveFacts(manifest, start=searched_from)
    if not selection.only:
        facts.start(fact for fact in FACTS if manifest.place is None or fact.from_afar)
    redactor = _redactor(facts)
    report = judge(facts, checks, wanted, redactor, services=selection.services, problems=problems)
    return Diagnosis(report=report, facts=facts, redactor=redactor)


def judge(
    facts: Facts,
    checks: tuple[Check[Facts], ...],
    wanted: tuple[Check[Facts], ...],
    redactor: Redactor,
    *,
    services: tuple[str, ...] = (),
    problems: tuple[str, ...] = (),
) -> DiagnoseReport:
    """Return the report of the wanted checks. Checks that may explain them also run, so that the roots are right."""
    begun = time.perf_counter()
    needed = _with_causes(checks, wanted)
    found = tuple(f for check in needed for f in replace(check, run=partial(_found, check)).findings(facts))
    found += tuple(_unusable(problem) for problem in problems)
    found = tuple(silenced(finding, facts.manifest.diagnose.silenced) for finding in found)
    found += tuple(unknown_silences(facts.manifest, checks))
    folded = fold(tuple(redactor.value(finding) for finding in found), needed, facts.manifest.services)
    ids = {check.id for check in wanted} | {"plugins", SILENCE_ID}
    shown = tuple(f for f in folded if f.id in ids and (not services or not f.service or f.service in services))
    roots = root_findings(shown, needed)
    return DiagnoseReport(
        project=facts.manifest.project,
        findings=shown,
        roots=tuple(dict.fromkeys(root.id for root in roots)),
        root_findings=roots,
        duration_s=round(time.perf_counter() - begun, 3),
        checked_at=datetime.fromtimestamp(facts.now, UTC).isoformat(timespec="seconds"),
        further_help=_further_help(facts.manifest) if facts.manifest.place is None else (),
        place=facts.manifest.source.place,
        support=facts.manifest.alerts.support,
    )


def chosen(checks: tuple[Check[Facts], ...], only: Iterable[str]) -> tuple[Check[Facts], ...]:
    """Return the checks of the named groups and ids, or all. Raise UsageError with the nearest name."""
    names = tuple(only)
    known = dict.fromkeys([*(check.group for check in checks), *(check.id for check in checks)])
    for name in names:
        if name not in known:
            groups = ", ".join(dict.fromkeys(check.group for check in checks))
            raise UsageError(
                f"no check or group is named {name!r}", hint=did_you_mean(name, known, f"groups: {groups}")
            )
    return tuple(check for check in checks if not names or check.group in names or check.id in names)


def _with_causes(checks: tuple[Check[Facts], ...], wanted: tuple[Check[Facts], ...]) -> tuple[Check[Facts], ...]:
    by_id = {check.id: check for check in checks}
    found: set[str] = set()
    pending = [check.id for check in wanted]
    while pending:
        name = pending.pop()
        if name in by_id and name not in found:
            found.add(name)
            pending += by_id[name].follows
    return tuple(check for check in checks if check.id in found)


def _found(check: Check[Facts], facts: Facts) -> Iterator[Finding]:
    try:
        yield from check.run(facts)
    except FactUnavailableError as error:
        yield Finding(verdict=Verdict.ERROR, reason=f"could not be judged: {error}")


def _further_help(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """Return where else to look and the commands that show it: only what this system has."""
    guides = [guide for guide in _GUIDES if (manifest.project / guide).is_file()]
    monitored = any(service.role == "monitoring" for service in manifest.services.values())
    return (
        *([(" and ".join(guides), "")] if guides else []),
        ("the logs", str(here("logs", "--errors"))),
        *([("the dashboards", str(here("monitoring", "status")))] if monitored else []),
        ("this report with all its facts, without secrets", str(here("diagnose", "--bundle", "FILE"))),
    )


def _unusable(problem: str) -> Finding:
    return Finding(
        id="plugins",
        group="plugins",
        title="checks from other packages",
        verdict=Verdict.ERROR,
        reason=f"cannot be used: {problem}",
    )


def _redactor(facts: LiveFacts) -> Redactor:
    """Return the redactor that knows the configured secrets, or, without a configuration, one that goes by names."""
    try:
        return facts.get(SETTINGS).redactor
    except FactUnavailableError:
        return Redactor()

"""Root causes: which finding follows from which, so that one fault is reported as one cause and not as ten symptoms.

A check names the checks that would explain it (`follows`). A wrong finding follows from a wrong finding of such a
check if both concern the same service, if the cause concerns a dependency of that service, or if the cause concerns
no service (but the machine or the configuration).
"""

from collections.abc import Mapping
from dataclasses import replace

from toombos_cli.base.findings import WRONG, Check, Finding
from toombos_cli.base.results import Verdict
from toombos_cli.diagnose.dependencies import with_dependencies
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.manifest.tables.service import Service

_SEVERITY = {Verdict.FAIL: 0, Verdict.WARN: 1}


def fold(
    findings: tuple[Finding, ...], checks: tuple[Check[Facts], ...], services: Mapping[str, Service]
) -> tuple[Finding, ...]:
    """Return the findings, each wrong one that follows from another marked with its root's id (`explained_by`)."""
    order = {check.id: depth for depth, check in enumerate(checks)}
    follows = {check.id: check.follows for check in checks}
    wrong = sorted((f for f in findings if f.verdict in WRONG), key=lambda f: order.get(f.id, 0))
    by_id = {f.id: f for f in reversed(wrong)}
    roots = {id(f): by_id[f.explained_by] for f in wrong if f.explained_by in by_id}  # set by the check itself
    for finding in wrong:  # causes come before their symptoms in CHECKS, so a cause's own root is already known
        if finding.explained_by:
            continue
        causes = [c for c in wrong if c is not finding and _explains(c, finding, follows, order, services)]
        if causes:
            # Prefer a fault of the service itself, then one of a dependency, then one of the whole system.
            own = [c for c in causes if c.service and c.service == finding.service and id(c) not in roots]
            cause = own[0] if own else min(causes, key=lambda c: not c.service)
            roots[id(finding)] = roots.get(id(cause), cause)
    return tuple(replace(f, explained_by=roots[id(f)].id) if id(f) in roots else f for f in findings)


def root_findings(findings: tuple[Finding, ...], checks: tuple[Check[Facts], ...]) -> tuple[Finding, ...]:
    """Return the wrong findings that no other explains: failures before warnings, then causes before symptoms."""
    order = {check.id: depth for depth, check in enumerate(checks)}
    roots = [f for f in findings if f.verdict in WRONG and not f.explained_by]
    return tuple(sorted(roots, key=lambda f: (_SEVERITY[f.verdict], order.get(f.id, len(order)))))


def _explains(
    cause: Finding,
    symptom: Finding,
    follows: Mapping[str, tuple[str, ...]],
    order: Mapping[str, int],
    services: Mapping[str, Service],
) -> bool:
    if cause.id not in follows.get(symptom.id, ()):
        return False
    if order[cause.id] > order[symptom.id]:
        return False
    if cause.verdict is Verdict.WARN and symptom.verdict is Verdict.FAIL and not cause.service:
        return False  # a warning about the whole system does not explain why a service failed
    return not cause.service or not symptom.service or cause.service in with_dependencies(symptom.service, services)

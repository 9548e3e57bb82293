"""Root causes: which finding follows from which, so that one fault is reported as one cause and not as ten symptoms.

A check names the checks that would explain it (`follows`). A wrong finding follows from a wrong finding of such a
check if both concern the same service, if the cause concerns a dependency of that service, or if the cause concerns
no service (but the machine or the configuration). A finding that no check explains may name the one about the
service's own log that does, as `ID:SERVICE` (`Finding.explained_by`): a log may be the symptom of one service's trouble
and the cause of another's.
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
    """Return the findings, each wrong one that follows from another marked with its root's id (`explained_by`).

    A root is as severe as the worst symptom that is explained by the service's own log.
    """
    order = {check.id: depth for depth, check in enumerate(checks)}
    follows = {check.id: check.follows for check in checks}
    wrong = sorted((f for f in findings if f.verdict in WRONG), key=lambda f: order.get(f.id, 0))
    causes = _Causes()
    for finding in wrong:  # causes come before their symptoms in CHECKS, so a cause's own root is already known
        name, _, service = finding.explained_by.partition(":")
        named = [c for c in wrong if c.id == name and (not service or c.service == service)]
        if named and not service:
            causes.set(finding, named[0])
            continue
        candidates = [
            c for c in wrong if _explains(c, finding, follows, order, services) and causes.root(c) is not finding
        ]
        if candidates:
            # Prefer a fault of the service itself, then one of a dependency, then one of the whole system.
            own = [c for c in candidates if c.service and c.service == finding.service and causes.is_root(c)]
            causes.set(finding, own[0] if own else min(candidates, key=lambda c: not c.service))
        elif named and causes.root(named[0]) is not finding:
            causes.set(finding, named[0], raises_it=True)
    return tuple(causes.marked(finding) for finding in findings)


class _Causes:
    """Which finding is explained by which other one."""

    def __init__(self) -> None:
        self._by: dict[int, Finding] = {}
        self._raised: set[int] = set()

    def set(self, finding: Finding, cause: Finding, *, raises_it: bool = False) -> None:
        self._by[id(finding)] = cause
        if raises_it and finding.verdict is Verdict.FAIL:
            self._raised.add(id(cause))

    def is_root(self, finding: Finding) -> bool:
        return id(finding) not in self._by

    def root(self, finding: Finding) -> Finding:
        while id(finding) in self._by:
            finding = self._by[id(finding)]
        return finding

    def marked(self, finding: Finding) -> Finding:
        """Return the finding with the id of its root."""
        root = self.root(finding)
        verdict = Verdict.FAIL if id(finding) in self._raised else finding.verdict
        return replace(finding, verdict=verdict, explained_by="" if root is finding else root.id)


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

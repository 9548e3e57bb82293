"""Checks and their findings, for both `config check` and `diagnose` (docs: CONTRACT of the JSON `findings`).

A `Check` is a pure function of facts that yields findings; `fail`, `warn`, `ok` and `skip` make them.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from toombos_cli.base.errors import type_and_place
from toombos_cli.base.fixes import Fix
from toombos_cli.base.results import Case, Verdict, worst

FactsT = TypeVar("FactsT")

WRONG = (Verdict.FAIL, Verdict.WARN)
"""The verdicts that ask for a fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Where a finding can be seen: a file, process or URL, the 1-based line, and the text there (never a secret)."""

    source: str
    line: int | None = None
    text: str = ""

    @property
    def place(self) -> str:
        """`source:line`, as editors and terminals understand it."""
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a check found. Its check fills in `id`, `group`, `title` and `duration_ms`.

    Several findings may share an id; their evidence distinguishes them. `reason` says what is wrong in one sentence,
    `cause` why it matters or how it happened. `explained_by` is the id of the finding that this one follows from, ""
    for a root. A check may set it to `ID:SERVICE`, which holds if no other check explains the finding.
    """

    id: str = ""
    group: str = ""
    title: str = ""
    verdict: Verdict
    service: str = ""
    reason: str = ""
    evidence: tuple[Evidence, ...] = ()
    cause: str = ""
    fix: Fix | None = None
    explained_by: str = ""
    duration_ms: float = 0.0

    def case(self) -> Case:
        """Return the finding as a case, as JUnit and similar formats show it."""
        where = ", ".join(e.place for e in self.evidence)
        parts = (
            f"{where}: {self.reason}" if where else self.reason,
            self.cause,
            f"fix: {self.fix}" if self.fix else "",
        )
        seen = next((e for e in self.evidence if e.line is not None), None)
        return Case(
            file=seen.source if seen else "",
            line=seen.line if seen else None,
            name=f"{self.id} ({self.service})" if self.service else self.id,
            verdict=self.verdict,
            duration_s=self.duration_ms / 1000,
            detail="\n".join(part for part in parts if part),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Generic[FactsT]):
    """One check: a pure function of facts that yields what is wrong, or nothing if all is well.

    `--only` accepts `group` besides ids. `follows` are the ids of checks whose failure explains a failure of this one.
    """

    id: str
    title: str
    group: str
    run: Callable[[FactsT], Iterable[Finding]]
    follows: tuple[str, ...] = ()

    def findings(self, facts: FactsT) -> tuple[Finding, ...]:
        """Run the check and return at least one finding: PASS if it yields nothing, ERROR if it crashes."""
        begun = time.perf_counter()
        try:
            found = tuple(self.run(facts)) or (ok(""),)
        except Exception as error:
            found = (Finding(verdict=Verdict.ERROR, reason=f"the check itself failed: {type_and_place(error)}"),)
        duration_ms = round((time.perf_counter() - begun) * 1000, 3)
        return tuple(
            replace(finding, id=self.id, group=self.group, title=self.title, duration_ms=duration_ms)
            for finding in found
        )


def fail(
    reason: str,
    *evidence: Evidence,
    service: str = "",
    cause: str = "",
    fix: Fix | None = None,
    explained_by: str = "",
) -> Finding:
    """Return a FAIL with its fix."""
    return Finding(
        verdict=Verdict.FAIL,
        reason=reason,
        evidence=evidence,
        service=service,
        cause=cause,
        fix=fix,
        explained_by=explained_by,
    )


def warn(
    reason: str,
    *evidence: Evidence,
    service: str = "",
    cause: str = "",
    fix: Fix | None = None,
    explained_by: str = "",
) -> Finding:
    """Return a WARN with its fix."""
    found = fail(reason, *evidence, service=service, cause=cause, fix=fix, explained_by=explained_by)
    return replace(found, verdict=Verdict.WARN)


def ok(reason: str, *evidence: Evidence, service: str = "") -> Finding:
    """Return a PASS that says what was found."""
    return Finding(verdict=Verdict.PASS, reason=reason, evidence=evidence, service=service)


def skip(reason: str) -> Finding:
    """Return a SKIP: there is nothing to judge here."""
    return Finding(verdict=Verdict.SKIP, reason=reason)


def unjudged(reason: str, *, service: str = "") -> Finding:
    """Return an ERROR: it is not known whether something is wrong."""
    return Finding(verdict=Verdict.ERROR, reason=reason, service=service)


def overall(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict of all findings together."""
    return worst(finding.verdict for finding in findings)

"""The diagnosis as a self-contained HTML page, in the style of the page of a load test."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toombos_cli.base.findings import Finding, overall
from toombos_cli.base.results import WORST_FIRST, Verdict
from toombos_cli.render.diagnose_markdown import summary
from toombos_cli.render.page import render_page
from toombos_cli.render.presentable import presentable
from toombos_cli.render.verdicts import WORDS

if TYPE_CHECKING:
    from toombos_cli.diagnose.report import DiagnoseReport


@dataclass(frozen=True, slots=True, kw_only=True)
class _CheckGroup:
    """The findings of a group of checks, the worst first."""

    name: str
    findings: list[Finding]
    verdict: Verdict
    counts: dict[Verdict, int]


def document(report: "DiagnoseReport") -> str:
    """Return the page, UTF-8 text, with all external values escaped."""
    report = presentable(report)
    return render_page(
        "diagnose.html.j2",
        report=report,
        words=WORDS,
        summary=summary(report),
        counts=_counts(report.findings),
        roots=[(root, report.symptoms_of(root)) for root in report.root_findings],
        groups=_groups(report.findings),
    )


def _counts(findings: Iterable[Finding]) -> dict[Verdict, int]:
    """Return the number of findings of each verdict that occurs, the worst first."""
    found = Counter(finding.verdict for finding in findings)
    return {verdict: found[verdict] for verdict in WORST_FIRST if found[verdict]}


def _groups(findings: Iterable[Finding]) -> list[_CheckGroup]:
    """Return the groups, the worst first and otherwise in the order of the checks."""
    by_name: dict[str, list[Finding]] = {}
    for finding in findings:
        by_name.setdefault(finding.group, []).append(finding)
    groups = [
        _CheckGroup(
            name=name,
            findings=sorted(members, key=lambda finding: WORST_FIRST.index(finding.verdict)),
            verdict=overall(members),
            counts=_counts(members),
        )
        for name, members in by_name.items()
    ]
    return sorted(groups, key=lambda group: WORST_FIRST.index(group.verdict))

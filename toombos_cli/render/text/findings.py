"""Findings of `config check`: what is wrong, with place, cause and fix; findings that others explain are folded."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from toombos_cli.base.findings import Evidence, Finding
from toombos_cli.base.results import Verdict
from toombos_cli.render.formats import Output
from toombos_cli.render.table import Column, print_table
from toombos_cli.render.verdicts import STYLES, VERDICT, WORDS, word

if TYPE_CHECKING:
    from rich.console import Console

    from toombos_cli.config.reports import CheckReport

UNWELL = (Verdict.FAIL, Verdict.ERROR, Verdict.WARN)
_INDENT = 6


def show(report: "CheckReport", output: Output) -> None:
    """Print the problems, worst first, then a summary; with --verbose, also a table of the checks that passed."""
    ordered = sorted(report.findings, key=lambda finding: _order(finding.verdict))
    ids = {finding.id for finding in report.findings if finding.verdict in UNWELL}
    for finding in ordered:
        folded = finding.explained_by in ids and not output.verbose
        if finding.verdict in UNWELL and not folded:
            print_finding(finding, output.stdout)
    if output.verbose:
        print_findings([finding for finding in ordered if finding.verdict not in UNWELL], output.stdout)
    if not output.verbose:
        _print_folded(report.findings, ids, output.stdout)
    if not output.quiet:
        counts = Counter(finding.verdict for finding in report.findings)
        parts = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict])
        mode = f" (checked for the mode {report.mode})" if report.mode else ""
        judged = f"{report.env_file}" if report.env_file_exists else f"{report.env_file.parent}, without a .env"
        output.stdout.print(f"{judged}: {parts}{mode}", soft_wrap=True)


_COLUMNS = (
    VERDICT,
    Column(name="CHECK"),
    Column(name="SERVICE", drop=1),
    Column(name="FINDING", fold=True),
)


def print_findings(findings: Sequence[Finding], console: "Console") -> None:
    """Print a table of the findings, each in one sentence."""
    rows = [(word(one.verdict), one.id, one.service or "-", one.reason or one.title) for one in findings]
    if rows:
        print_table(console, _COLUMNS, rows)


def print_finding(finding: Finding, console: "Console", *, before_cause: str = "") -> None:
    """Print one finding: verdict and reason, evidence, cause, and the fix on an unwrapped line of its own.

    `before_cause` is an additional line between evidence and cause.
    """
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(padding=(0, 1, 0, 0))
    head.add_column(width=_INDENT - 1)
    head.add_column(overflow="fold")
    reason = Text.assemble((finding.id, "bold"), f": {finding.reason or finding.title}")
    head.add_row(Text(WORDS[finding.verdict], style=STYLES[finding.verdict]), reason)
    console.print(head)
    for evidence in finding.evidence:
        console.print(f"{' ' * _INDENT}{_place(evidence)}", style="dim", soft_wrap=True)
    if before_cause:
        console.print(Padding(Text(before_cause, style="dim"), (0, 0, 0, _INDENT), expand=False))
    if finding.cause:
        console.print(Padding(Text(finding.cause), (0, 0, 0, _INDENT), expand=False))
    if finding.fix:
        lead = "" if finding.fix.command else "-> "
        console.print(f"{' ' * _INDENT}{lead}{finding.fix}", style="cyan", soft_wrap=True)


def _print_folded(findings: tuple[Finding, ...], ids: set[str], console: "Console") -> None:
    folded = [f for f in findings if f.verdict in UNWELL and f.explained_by in ids]
    for cause in dict.fromkeys(finding.explained_by for finding in folded):
        names = Counter(finding.id for finding in folded if finding.explained_by == cause)
        what = ", ".join(f"{name} ({count})" for name, count in names.items())
        console.print(f"{' ' * _INDENT}{cause} also explains {what}: --verbose lists them", soft_wrap=True)


def _place(evidence: Evidence) -> str:
    return f"{evidence.place}  {evidence.text}" if evidence.text else evidence.place


def _order(verdict: Verdict) -> int:
    return (*UNWELL, Verdict.PASS, Verdict.SKIP).index(verdict)

"""The view of a diagnosis: the roots with evidence, cause and fix, on a terminal with the most urgent one last."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from toombos_cli.base.findings import Finding
from toombos_cli.base.results import Verdict
from toombos_cli.render.console import write_document
from toombos_cli.render.diagnose_markdown import explained, summary
from toombos_cli.render.formats import Output
from toombos_cli.render.text.findings import UNWELL, print_finding, print_findings

if TYPE_CHECKING:
    from toombos_cli.diagnose.report import DiagnoseReport


def show(report: "DiagnoseReport", output: Output) -> None:
    """Print a table of the roots, then each one, the most urgent last, next to the prompt.

    With --verbose all other findings stand before them; without it only what could not be judged.
    """
    if not output.stdout.is_terminal:
        write_document(output.stdout, "".join(f"{line}\n" for line in _lines(report, verbose=output.verbose)))
        return
    console = output.stdout
    others = [finding for finding in report.findings if finding not in report.root_findings]
    if output.verbose:
        print_findings([finding for finding in others if finding.verdict not in UNWELL], console)
    shown = UNWELL if output.verbose else () if output.quiet else (Verdict.ERROR,)
    for finding in others:
        if finding.verdict in shown:
            print_finding(finding, console)
    print_findings(report.root_findings, console)
    for root in reversed(report.root_findings):
        symptoms = report.symptoms_of(root)
        print_finding(root, console, before_cause=f"explains: {explained(symptoms)}" if symptoms else "")
    if not output.quiet:
        console.print(summary(report), soft_wrap=True)


def _lines(report: "DiagnoseReport", *, verbose: bool) -> Iterator[str]:
    """Yield the lines of a report in a file or a pipe, which has the most urgent root first and no line cut."""
    yield f"Diagnosis: {report.verdict.value.upper()}"
    where = f"{report.project} at {report.place}" if report.place else report.project
    yield f"{where}, {report.checked_at}: {summary(report)}"
    for root in report.root_findings:
        yield ""
        yield from _root(root, report.symptoms_of(root))
    if errors := [finding for finding in report.findings if finding.verdict is Verdict.ERROR]:
        yield from ("", "Could not be judged:", *(f"  {finding.id}: {finding.reason}" for finding in errors))
    if verbose:
        yield from ("", "All checks:", *map(_checked, report.findings))
    if report.root_findings and (report.further_help or report.support):
        yield from ("", "Further help:")
        yield from (f"  {what}: {command}" if command else f"  {what}" for what, command in report.further_help)
        yield from (f"  {line}" for line in report.support)


def _root(root: Finding, symptoms: tuple[Finding, ...]) -> Iterator[str]:
    yield f"{root.verdict.value.upper()} {root.id}: {root.reason or root.title}"
    for evidence in root.evidence:
        yield f"  {evidence.place}" + (f"  {evidence.text}" if evidence.text else "")
    if symptoms:
        yield f"  explains: {explained(symptoms)}"
    if root.cause:
        yield f"  cause: {root.cause}"
    if root.fix:
        yield f"  fix: {root.fix}"


def _checked(finding: Finding) -> str:
    service = f" ({finding.service})" if finding.service else ""
    return f"  {finding.verdict.value.upper()} {finding.id}{service}: {finding.reason or finding.title}"

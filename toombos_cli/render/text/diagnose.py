"""The view of a diagnosis: on a terminal the roots with evidence, cause and fix; elsewhere the same as Markdown."""

from typing import TYPE_CHECKING

from toombos_cli.base.results import Verdict
from toombos_cli.render.console import write_document
from toombos_cli.render.diagnose_markdown import document, explained, summary
from toombos_cli.render.formats import Output
from toombos_cli.render.text.findings import UNWELL, print_finding, print_findings

if TYPE_CHECKING:
    from toombos_cli.diagnose.report import DiagnoseReport


def show(report: "DiagnoseReport", output: Output) -> None:
    """Print a table of the roots, then each one, the most urgent last, next to the prompt.

    With --verbose all other findings stand before them; without it only what could not be judged.
    """
    if not output.stdout.is_terminal:
        write_document(output.stdout, document(report, verbose=output.verbose))
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

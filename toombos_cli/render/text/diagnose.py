"""The view of a diagnosis: on a terminal each root with evidence, cause and fix; elsewhere the same as Markdown."""

from typing import TYPE_CHECKING

from toombos_cli.base.results import Verdict
from toombos_cli.render.console import write_document
from toombos_cli.render.diagnose_markdown import document, explained, summary
from toombos_cli.render.formats import Output
from toombos_cli.render.text.findings import print_finding

if TYPE_CHECKING:
    from toombos_cli.diagnose.report import DiagnoseReport


def show(report: "DiagnoseReport", output: Output) -> None:
    """Print the roots, the most urgent last, next to the prompt; with --verbose all other findings before them."""
    if not output.stdout.is_terminal:
        write_document(output.stdout, document(report, verbose=output.verbose))
        return
    console = output.stdout
    if output.verbose:
        for finding in report.findings:
            if finding not in report.root_findings:
                print_finding(finding, console)
    elif not output.quiet:
        for finding in report.findings:
            if finding.verdict is Verdict.ERROR:
                print_finding(finding, console)
    for root in reversed(report.root_findings):
        symptoms = report.symptoms_of(root)
        print_finding(root, console, before_cause=f"explains: {explained(symptoms)}" if symptoms else "")
    if not output.quiet:
        console.print(summary(report), soft_wrap=True)

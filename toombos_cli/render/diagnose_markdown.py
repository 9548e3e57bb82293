"""The diagnosis as Markdown, ready for a ticket or a chat, without cut lines: what others wrote is in code spans."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from toombos_cli.base.errors import UsageError
from toombos_cli.base.findings import WRONG, Finding
from toombos_cli.base.results import Report, Verdict
from toombos_cli.render.console import write_document
from toombos_cli.render.formats import Output
from toombos_cli.render.presentable import presentable

if TYPE_CHECKING:
    from toombos_cli.diagnose.report import DiagnoseReport

_NAMED_SERVICES = 5


def show(report: Report, output: Output, exit_code: int) -> None:
    """Print a diagnosis. Raise UsageError for another report."""
    from toombos_cli.diagnose.report import DiagnoseReport

    del exit_code
    if not isinstance(report, DiagnoseReport):
        raise UsageError(f"{output.command} has no Markdown output")
    write_document(output.stdout, document(report, verbose=output.verbose))


def document(report: "DiagnoseReport", *, verbose: bool = False) -> str:
    """Return the whole report; `verbose` adds all findings."""
    return "\n".join(_lines(presentable(report), verbose=verbose)) + "\n"


def summary(report: "DiagnoseReport") -> str:
    """Return one line: the number of causes, and of findings of each verdict."""
    counts = Counter(finding.verdict for finding in report.findings)
    parts = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict])
    folded = sum(1 for f in report.findings if f.verdict in WRONG and f.explained_by)
    number = len(report.root_findings)
    if not number:
        causes = (
            "nothing is wrong" if not counts[Verdict.ERROR] else "nothing wrong was found, but not all could be judged"
        )
    else:
        causes = f"{number} cause{'s' if number > 1 else ''}"
    return f"{causes}: {parts}" + (f"; {folded} follow from another" if folded else "")


def explained(symptoms: tuple[Finding, ...]) -> str:
    """Return what follows from a root, by check and service; many services are only counted."""
    by_id: dict[str, Counter[str]] = {}
    for symptom in symptoms:
        by_id.setdefault(symptom.id, Counter())[symptom.service] += 1
    parts: list[str] = []
    for name, services in by_id.items():
        if len(services) > _NAMED_SERVICES:
            parts.append(f"{name} ({len(services)} services)")
            continue
        for service, count in services.items():
            parts.append(name + (f" ({service})" if service else "") + (f" x{count}" if count > 1 else ""))
    return ", ".join(parts)


def _lines(report: "DiagnoseReport", *, verbose: bool) -> Iterator[str]:
    yield f"# Diagnosis: {report.verdict.value.upper()}"
    yield ""
    yield f"{quoted(str(report.project))}, {report.checked_at}: {summary(report)}"
    for root in report.root_findings:
        yield ""
        yield from _root(report, root)
    errors = [finding for finding in report.findings if finding.verdict is Verdict.ERROR]
    if errors:
        yield from ("", "## Could not be judged", "")
        yield from (f"- {finding.id}: {quoted(finding.reason)}" for finding in errors)
    if verbose:
        yield from ("", "## All checks", "")
        yield from (
            f"- {f.verdict.value.upper()} {f.id}" + (f" ({quoted(f.service)})" if f.service else "") + f": {_said(f)}"
            for f in report.findings
        )
    if report.root_findings:
        yield from _footer(report)


def _root(report: "DiagnoseReport", root: Finding) -> Iterator[str]:
    yield f"## {root.verdict.value.upper()} {root.id}: {_said(root)}"
    yield ""
    for evidence in root.evidence:
        yield f"- {code_span(evidence.place)}" + (f" {quoted(evidence.text)}" if evidence.text else "")
    symptoms = report.symptoms_of(root)
    if symptoms:
        yield f"- explains {quoted(explained(symptoms))}"
    if root.cause:
        yield ""
        yield f"Cause: {quoted(root.cause)}"
    if root.fix:
        yield ""
        if root.fix.command:
            yield from ("Fix:", "", "```sh", root.fix.command, "```")
        else:
            yield f"Fix: {quoted(root.fix.advice)}"


def _said(finding: Finding) -> str:
    return quoted(finding.reason or finding.title)


def _footer(report: "DiagnoseReport") -> Iterator[str]:
    yield from ("", "## Further help", "")
    lines = [f"{what}: {code_span(command)}" if command else what for what, command in report.further_help]
    lines += map(quoted, report.support)
    yield from (f"{number}. {line}" for number, line in enumerate(lines, start=1))


def escaped(text: str) -> str:
    """Escape all markup in a line of text, which may come from a log."""
    return re.sub(r"([\\`*_\[\]<>|&~])", r"\\\1", text)


def quoted(text: str) -> str:
    """Return the text, as a code span if it has markup."""
    return code_span(text) if escaped(text) != text else text


def code_span(text: str) -> str:
    """Return the text as a code span, with a fence that does not occur in it."""
    fence = fence_around(text, least=1)
    return f"{fence}{text}{fence}" if "`" not in text else f"{fence} {text} {fence}"


def fence_around(text: str, *, least: int = 3) -> str:
    """Return backticks, more than the text has in a row."""
    return "`" * max(least, max(map(len, re.findall("`+", text)), default=0) + 1)

"""Texts to send, filled in as far as possible: an incident's status update and an issue."""

from typing import TYPE_CHECKING

from toombos_cli.base.fixes import here
from toombos_cli.base.text import duration
from toombos_cli.render.console import write_document
from toombos_cli.render.diagnose_markdown import code_span, escaped, fence_around
from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.diagnose.incident import IncidentReport
    from toombos_cli.diagnose.issue import IssueReport

_FILL_IN = "[fill in]"


def show_incident(report: "IncidentReport", output: Output) -> None:
    """Print the status update, without terminal markup."""
    write_document(output.stdout, "\n".join(_incident(report)) + "\n")


def show_issue(report: "IssueReport", output: Output) -> None:
    """Print the issue template, without terminal markup."""
    write_document(output.stdout, "\n".join(_issue(report)) + "\n")


def _incident(report: "IncidentReport") -> list[str]:
    lines = [f"Subject: [INCIDENT] {report.name} - {report.status}", ""]
    if report.severity:
        who = report.contact
        told = f": {who.name}, within {who.response}, by {who.method}" if who else ""
        lines += [f"Severity: {report.severity}{told}", ""]
    lines += ["Timeline:"]
    lines += [f"- {event.at} - {event.text}" for event in report.timeline] or [f"- {_FILL_IN}: issue detected"]
    resolved = report.status == "RESOLVED"
    lines += [f"- {_FILL_IN} - Fix applied: {fix}" for fix in report.fixes]
    lines += [f"- {_FILL_IN} - Services restored"] if not resolved else []
    lines += ["", "Impact:", f"- Affected services: {', '.join(report.affected) or 'none'}"]
    lines += [
        f"- Duration: {_FILL_IN if report.duration_s is None else duration(report.duration_s)}",
        f"- User impact: {report.impact or _FILL_IN}",
    ]
    lines += ["", "Next steps:"]
    lines += [f"- {fix}" for fix in report.fixes] or [f"- {_FILL_IN}: action items"]
    lines += [f"- {_FILL_IN}: follow-up tasks", f"- {_FILL_IN}: prevention measures"]
    return [*lines, "", f"Status: {report.status}"]


def _issue(report: "IssueReport") -> list[str]:
    lines = ["**Environment:**", f"- Version: {report.version}", f"- Deployment: {report.deployment or _FILL_IN}"]
    lines += [
        f"- OS: {report.system or _FILL_IN}",
        "",
        "**Issue Description:**",
        escaped(report.description) or _FILL_IN,
    ]
    lines += ["", "**Steps to Reproduce:**", *(f"{number}. {_FILL_IN}" for number in (1, 2, 3))]
    lines += ["", "**Expected Result:**", _FILL_IN, "", "**Actual Result:**"]
    for root in report.causes:
        lines.append(f"- {root.verdict.value.upper()} {root.id}: {escaped(root.reason or root.title)}")
        lines += [f"  - {code_span(e.place)}" + (f": {escaped(e.text)}" if e.text else "") for e in root.evidence]
        lines += [f"  - cause: {escaped(root.cause)}"] if root.cause else []
    lines += [_FILL_IN] if not report.causes else []
    fence = fence_around("".join(report.logs))
    lines += ["", "**Logs/Screenshots:**", fence, *(report.logs or ("no error in the logs",)), fence]
    lines += ["", "**Additional Context:**", *(f"- {escaped(text)}" for text in report.context)]
    lines += [f"- attach the bundle of `{here('diagnose', '--bundle', 'FILE')}`: it holds no secrets"]
    return lines + ([f"- send to: {', '.join(report.support)}"] if report.support else [])

"""The status update of an incident, to send as it is once the marked lines are filled in."""

from typing import TYPE_CHECKING

from toombos_cli.base.text import duration
from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.diagnose.incident import IncidentReport

_FILL_IN = "[fill in]"


def show(report: "IncidentReport", output: Output) -> None:
    """Prints the text, without markup of the terminal."""
    output.stdout.file.write("\n".join(_lines(report)) + "\n")


def _lines(report: "IncidentReport") -> list[str]:
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
    lasted = _FILL_IN if report.duration_s is None else duration(report.duration_s)
    lines += [
        f"- Duration: {lasted}",
        f"- User impact: {report.impact or _FILL_IN}",
    ]
    lines += ["", "Next steps:"]
    lines += [f"- {fix}" for fix in report.fixes] or [f"- {_FILL_IN}: action items"]
    lines += [f"- {_FILL_IN}: follow-up tasks", f"- {_FILL_IN}: prevention measures"]
    return [*lines, "", f"Status: {report.status}"]
